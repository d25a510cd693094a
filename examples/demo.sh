#!/usr/bin/env bash
# From a fresh clone on a bare Debian 12 machine to an answer about a picture: installs what is missing,
# builds the programs, and asks the bundled model what examples/data/shapes.png shows.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

{
  examples/setup.sh
  cmake --preset release -DTESSERA_TESTS=OFF -DTESSERA_BENCH=OFF
  cmake --build --preset release
} >&2

set -x
build/bin/qwen3vl -m examples/data/shapes-vl --image examples/data/shapes.png -p "Describe this image." --greedy
