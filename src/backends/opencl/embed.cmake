# cmake -DFILES=a.cl;b.cl -DOUTPUT=x.cpp -P embed.cmake: the texts of the files as one C++ source.
set(rows)
foreach(file IN LISTS FILES)
  get_filename_component(name ${file} NAME_WE)
  file(READ ${file} text)
  string(APPEND rows "      {\"${name}\", R\"opencl(${text})opencl\"},\n")
endforeach()
file(WRITE ${OUTPUT} "// Generated from src/backends/opencl/kernels.
#include \"backends/opencl/sources.h\"

namespace maru::opencl {

std::span<const Source> all_sources() {
  static constexpr Source all[] = {
${rows}  };
  return all;
}

}  // namespace maru::opencl
")
