set(backend_rank 90)
set(backend_by_name_only true)  # they stand for machines that are not here

# Profiles travel inside of the library, as text.
file(GLOB board_profiles CONFIGURE_DEPENDS ${folder}/profiles/*.json)
set(board_texts ${CMAKE_CURRENT_BINARY_DIR}/board_profiles.cpp)
add_custom_command(OUTPUT ${board_texts}
                   COMMAND ${CMAKE_COMMAND} "-DFILES=${board_profiles}" -DOUTPUT=${board_texts} -P ${folder}/embed.cmake
                   DEPENDS ${board_profiles} ${folder}/embed.cmake
                   COMMENT "Embedding the profiles of the virtual boards" VERBATIM)
list(APPEND backend_sources ${board_texts})
