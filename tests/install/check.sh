#!/usr/bin/env bash
# Installs a built tree into a fresh prefix and uses it as a stranger would: each public header compiled
# alone, then examples/find_package through CMake and through pkg-config.
# usage: check.sh BUILD_DIR
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
prefix=$work/prefix
cxx=${CXX:-c++}

cmake --install "$1" --prefix "$prefix" >/dev/null

find "$prefix/include/tessera" -name '*.h' | while read -r header; do
  echo "compile alone: ${header#"$prefix"/}"
  "$cxx" -std=c++20 -Wall -Wextra -Werror -fsyntax-only -I"$prefix/include/tessera" \
    -include "$header" -x c++ /dev/null
done

echo "find_package"
cmake -G Ninja -S "$root/examples/find_package" -B "$work/app" -DCMAKE_PREFIX_PATH="$prefix"
cmake --build "$work/app"
"$work/app/app"

echo "pkg-config"
export PKG_CONFIG_PATH="$prefix/lib/pkgconfig:$prefix/lib64/pkgconfig"
read -ra flags <<<"$(pkg-config --cflags --libs tessera)"
"$cxx" -std=c++20 "$root/examples/find_package/main.cpp" -o "$work/by_pkg_config" "${flags[@]}" \
  -Wl,-rpath,"$(pkg-config --variable=libdir tessera)"
"$work/by_pkg_config"
