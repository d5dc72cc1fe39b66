# libmaru's side of the CUDA backend needs nothing of CUDA. Its module, libmaru_cuda.so, is built where nvcc is found,
# and opened when maru runs. MARU_CUDA_ARCHITECTURES: the GPUs it is for, as CMAKE_CUDA_ARCHITECTURES has them.
set(backend_rank 40)  # before the cpu: "auto" means this one where there is a GPU
set(MARU_CUDA_ARCHITECTURES "" CACHE STRING "GPUs to build the CUDA module for, separated by ;. Empty: all from 7.5 on")
option(MARU_CUDA "Build the CUDA module where nvcc is found" ON)

set_property(SOURCE ${folder}/module.cpp APPEND PROPERTY COMPILE_DEFINITIONS
             MARU_CUDA_MODULE_FOLDER="${CMAKE_INSTALL_FULL_LIBDIR}")

if(NOT MARU_CUDA OR MARU_SANITIZE)  # the sanitizers know nothing of GPUs, and NVIDIA's runtime nothing of them
  return()
endif()
# nvcc is often where its installer put it, and not on the PATH.
find_program(MARU_NVCC nvcc HINTS $ENV{CUDACXX} $ENV{CUDA_HOME}/bin $ENV{CUDA_PATH}/bin /usr/local/cuda/bin)
mark_as_advanced(MARU_NVCC)
if(NOT MARU_NVCC)
  message(STATUS "CUDA module: not built, there is no nvcc")
  return()
endif()
# Clusters of blocks came with 11.8.
execute_process(COMMAND ${MARU_NVCC} --version OUTPUT_VARIABLE nvcc_version)
string(REGEX MATCH "release ([0-9.]+)" nvcc_version "${nvcc_version}")
if(NOT CMAKE_MATCH_1 OR CMAKE_MATCH_1 VERSION_LESS 11.8)
  message(STATUS "CUDA module: not built, ${MARU_NVCC} is of CUDA ${CMAKE_MATCH_1} and 11.8 is wanted")
  return()
endif()
if(NOT CMAKE_CUDA_COMPILER)
  set(CMAKE_CUDA_COMPILER ${MARU_NVCC})
endif()
set(cuda_architectures "${MARU_CUDA_ARCHITECTURES}")
if(NOT cuda_architectures)
  # Each generation that this nvcc knows, Jetson's Orin (87) and Thor (101, since CUDA 13 110) included; the last also as
  # PTX, for what comes later.
  execute_process(COMMAND ${MARU_NVCC} --list-gpu-arch OUTPUT_VARIABLE known OUTPUT_STRIP_TRAILING_WHITESPACE)
  string(REGEX MATCHALL "[0-9]+" known "${known}")
  foreach(wanted IN ITEMS 75 80 86 87 89 90 100 101 110 120)
    if(wanted IN_LIST known)
      list(APPEND cuda_architectures ${wanted}-real)
      set(newest ${wanted})
    endif()
  endforeach()
  list(APPEND cuda_architectures ${newest}-virtual)
endif()
if(NOT CMAKE_CUDA_ARCHITECTURES)
  set(CMAKE_CUDA_ARCHITECTURES ${cuda_architectures})
endif()
enable_language(CUDA)

# CUDA's runtime is linked statically: users need NVIDIA's driver and nothing else.
file(GLOB cuda_kernels CONFIGURE_DEPENDS ${folder}/module/*.cu ${folder}/kernels/*.cu)
add_library(maru_cuda MODULE ${cuda_kernels})
target_include_directories(maru_cuda PRIVATE ${CMAKE_CURRENT_SOURCE_DIR})
set_target_properties(maru_cuda PROPERTIES CUDA_ARCHITECTURES "${cuda_architectures}" CUDA_STANDARD 17
                                           CUDA_RUNTIME_LIBRARY Static CUDA_VISIBILITY_PRESET hidden
                                           LIBRARY_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/lib)
install(TARGETS maru_cuda LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
message(STATUS "CUDA module: built by ${MARU_NVCC} for ${cuda_architectures}")
