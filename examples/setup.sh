#!/usr/bin/env bash
# Installs the Debian 12 packages that are missing: what building takes and, with `tests`, what tests/run.sh
# takes besides. Says and does nothing when all are there.
# usage: setup.sh [tests]
set -euo pipefail

packages=(
  cmake g++ ninja-build pkg-config
  libcli11-dev libjpeg-dev libopenblas-openmp-dev libpng-dev libutf8proc-dev libwebp-dev libxxhash-dev
  nlohmann-json3-dev
)
if [[ ${1:-} == tests ]]; then
  packages+=(
    libbenchmark-dev libgmock-dev libgtest-dev
    clang-16 libclang-rt-16-dev libomp-16-dev # ThreadSanitizer, with an OpenMP that it understands
    ccache clang-format-14 python3
  )
fi

if ! command -v dpkg-query >/dev/null; then
  echo "setup.sh: not a Debian system; needed, under whatever names it has here: ${packages[*]}" >&2
  exit 0
fi
missing=()
for package in "${packages[@]}"; do
  status=$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null || true)
  [[ $status == installed ]] || missing+=("$package")
done
if ((${#missing[@]} == 0)); then
  exit 0
fi

echo "installing ${missing[*]}" >&2
as_root=()
if ((EUID != 0)); then
  as_root=(sudo)
fi
"${as_root[@]}" apt-get -q update
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q install -y --no-install-recommends "${missing[@]}"
