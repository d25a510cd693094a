#!/usr/bin/env bash
# Runs a test program with TESSERA_ISA=LEVEL; leaves with 77 (CTest: skipped) where this CPU lacks the level.
# usage: at_isa_level.sh LEVEL PROGRAM [ARGUMENT]...
set -euo pipefail

level=$1
shift
case $level in
  scalar) needs=() ;;
  x86_avx2) needs=(avx2 fma f16c) ;;
  *) echo "unknown level $level" >&2; exit 2 ;;
esac
for flag in "${needs[@]}"; do
  grep -qw "$flag" /proc/cpuinfo || { echo "skipped: this CPU has no $flag"; exit 77; }
done
TESSERA_ISA=$level exec "$@"
