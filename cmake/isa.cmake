# The only place with instruction-set flags. A file named ….LEVEL.cpp or LEVEL.cpp, LEVEL a name of
# tensor/isa_levels.inc, is compiled for that level and for nothing above it. Sealed files share no inline code
# with the rest (ARCHITECTURE.md), so no instruction of theirs can leak into code that runs before the check.
set(TESSERA_ISA_FLAGS_x86_avx2 -mavx2 -mfma -mf16c)
set(TESSERA_ISA_FLAGS_x86_avxvnni ${TESSERA_ISA_FLAGS_x86_avx2} -mavxvnni)
set(TESSERA_ISA_FLAGS_x86_avx512 ${TESSERA_ISA_FLAGS_x86_avx2} -mavx512f -mavx512bw -mavx512dq -mavx512vl
    -mprefer-vector-width=512)
set(TESSERA_ISA_FLAGS_x86_avx512vnni ${TESSERA_ISA_FLAGS_x86_avx512} -mavx512vnni)
set(TESSERA_ISA_FLAGS_x86_avx512bf16 ${TESSERA_ISA_FLAGS_x86_avx512vnni} -mavx512bf16)
set(TESSERA_ISA_FLAGS_x86_amx ${TESSERA_ISA_FLAGS_x86_avx512bf16} -mamx-tile -mamx-int8 -mamx-bf16)
# g++ 12 takes the undefined operand inside its own AVX-512 intrinsics for a mistake of ours.
set(TESSERA_ISA_WARNINGS $<$<CXX_COMPILER_ID:GNU>:-Wno-maybe-uninitialized;-Wno-uninitialized>)

# tessera_kernels(FOLDER LEVEL...): adds FOLDER/LEVEL.cpp for each level that the target processor can have.
function(tessera_kernels folder)
  foreach(level ${ARGN})
    if(level MATCHES "^x86_" AND NOT CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
      continue()
    endif()
    set(source ${folder}/${level}.cpp)
    target_sources(tessera PRIVATE ${source})
    set_source_files_properties(${source} TARGET_DIRECTORY tessera PROPERTIES
      COMPILE_OPTIONS "${TESSERA_ISA_FLAGS_${level}};${TESSERA_ISA_WARNINGS}"
      INTERPROCEDURAL_OPTIMIZATION OFF SKIP_PRECOMPILE_HEADERS ON SKIP_UNITY_BUILD_INCLUSION ON)
  endforeach()
endfunction()
