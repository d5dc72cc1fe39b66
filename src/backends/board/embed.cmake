# cmake -DFILES=a.json;b.json -DOUTPUT=x.cpp -P embed.cmake: the texts of the files as one C++ source.
set(rows)
foreach(file IN LISTS FILES)
  file(READ ${file} text)
  string(APPEND rows "      R\"profile(${text})profile\",\n")
endforeach()
file(WRITE ${OUTPUT} "// Generated from src/backends/board/profiles.
#include \"backends/board/profile.h\"

namespace maru::board {

std::span<const std::string_view> profile_texts() {
  static constexpr std::string_view all[] = {
${rows}  };
  return all;
}

}  // namespace maru::board
")
