# cmake --install: the library, its public headers under include/tessera, and what find_package(tessera) and
# pkg-config need. Every path is relative, so an installed tree may be moved.
include(CMakePackageConfigHelpers)
set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/tessera)

install(TARGETS tessera EXPORT tessera-targets
        FILE_SET HEADERS DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/tessera)
install(EXPORT tessera-targets NAMESPACE tessera:: DESTINATION ${package_dir})
configure_package_config_file(cmake/tessera-config.cmake.in tessera-config.cmake
                              INSTALL_DESTINATION ${package_dir})
write_basic_package_version_file(tessera-config-version.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/tessera-config.cmake
              ${CMAKE_CURRENT_BINARY_DIR}/tessera-config-version.cmake
        DESTINATION ${package_dir})

# A shared library brings its dependencies along; the user of a static one links them too.
if(BUILD_SHARED_LIBS)
  set(pc_requires "")
  set(pc_libs "")
  set(pc_cflags "")
else()
  set(pc_requires "libpng libjpeg libxxhash libutf8proc")
  if(TESSERA_WEBP)
    string(APPEND pc_requires " libwebp")
  endif()
  if(TESSERA_OPENBLAS)
    string(APPEND pc_requires " openblas")
  endif()
  set(pc_libs ${OpenMP_CXX_FLAGS})
  set(pc_cflags -DTESSERA_STATIC)
endif()
file(RELATIVE_PATH pc_prefix /${CMAKE_INSTALL_LIBDIR}/pkgconfig /)
configure_file(cmake/tessera.pc.in tessera.pc @ONLY)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/tessera.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
