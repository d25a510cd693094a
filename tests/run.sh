#!/usr/bin/env bash
# Builds everything and checks it, from a bare Debian 12 machine on: the suite in a release build, again at
# forced instruction sets, under sanitizers and without OpenBLAS, and an installed copy used by a stranger.
# Ends with CTest's summary and its exit status. About half an hour on two cores the first time.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
exec </dev/null

examples/setup.sh tests

export CTEST_PARALLEL_LEVEL
CTEST_PARALLEL_LEVEL=$(nproc)
if command -v ccache >/dev/null; then
  export CMAKE_C_COMPILER_LAUNCHER=ccache CMAKE_CXX_COMPILER_LAUNCHER=ccache
fi

cmake --preset release -DTESSERA_WERROR=ON
cmake --build --preset release
exec ctest --preset release -C all-builds
