# Warnings and sanitizers for our own targets. No flag here changes arithmetic or the instruction set:
# ISA flags stand in cmake/isa.cmake alone.
function(tessera_compile_options target)
  target_compile_options(${target} PRIVATE -Wall -Wextra -Wshadow $<$<BOOL:${TESSERA_WERROR}>:-Werror>)
  if(TESSERA_SANITIZE)
    # Without the checks of null, object-size and vptr: a fifth of the time to compile, for what crashes anyway.
    target_compile_options(${target} PRIVATE -fsanitize=${TESSERA_SANITIZE} -fno-sanitize-recover=all
                                             -fno-sanitize=null,object-size,vptr -fno-omit-frame-pointer)
    target_link_options(${target} PUBLIC -fsanitize=${TESSERA_SANITIZE})
  endif()
endfunction()
