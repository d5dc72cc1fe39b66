# Wants the OpenCL headers and the loader that finds the drivers; the drivers themselves are looked for when it runs.
find_package(OpenCL QUIET)
if(NOT TARGET OpenCL::OpenCL)
  set(backend_skip "the OpenCL headers or loader are missing (ocl-icd-opencl-dev, opencl-headers)")
  return()
endif()
list(APPEND backend_libraries OpenCL::OpenCL)
list(APPEND backend_packages OpenCL)
list(APPEND backend_pc OpenCL)
set(backend_rank 60)  # behind the cpu: "auto" means this one only where it is asked for

# Kernels travel inside of the library, as text.
file(GLOB opencl_kernels CONFIGURE_DEPENDS ${folder}/kernels/*.cl)
set(opencl_texts ${CMAKE_CURRENT_BINARY_DIR}/opencl_sources.cpp)
add_custom_command(OUTPUT ${opencl_texts}
                   COMMAND ${CMAKE_COMMAND} "-DFILES=${opencl_kernels}" -DOUTPUT=${opencl_texts} -P ${folder}/embed.cmake
                   DEPENDS ${opencl_kernels} ${folder}/embed.cmake
                   COMMENT "Embedding the OpenCL kernels" VERBATIM)
list(APPEND backend_sources ${opencl_texts})
