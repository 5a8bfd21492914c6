#!/bin/sh
# install-deps.sh - installs the packages that building and testing need and that are missing, through
# apt-get, as root or with sudo. Without either it prints the line to run and stops.
# Usage: install-deps.sh [report|aarch64|bdw]    only what the laboratory's report, the check for aarch64, or the clients of
# the other collector's library (tests/bdw/clients) need beyond that
set -eu

missing=
options=
need() { # need PACKAGE TEST...
  package=$1
  shift
  "$@" >/dev/null 2>&1 || missing="$missing $package"
}
header() { echo "#include <$1>" | ${CC:-gcc} -E - ; }

if [ "${1:-}" = report ]; then
  need gnuplot-nox command -v gnuplot
elif [ "${1:-}" = aarch64 ]; then
  need gcc-aarch64-linux-gnu command -v aarch64-linux-gnu-gcc
  need libc6-dev-arm64-cross test -e /usr/aarch64-linux-gnu/include/stdio.h
  need qemu-user command -v qemu-aarch64
  need libatomic-ops-dev test -e /usr/include/atomic_ops.h
elif [ "${1:-}" = bdw ]; then
  options=--no-install-recommends # nix-bin recommends a service and users of its own
  need libgc1 test -e "/usr/lib/$(gcc -print-multiarch)/libgc.so.1"
  need libgc-dev test -e /usr/include/gc/gc.h
  need guile-3.0 command -v guile
  need ecl command -v ecl
  need neko command -v nekotools
  need w3m command -v w3m
  need stalin command -v stalin
  need poke command -v poke
  need parser3-cgi command -v parser3
  need chase command -v chase
  need gobjc command -v "$(gcc -print-prog-name=cc1obj)"
  need nix-bin command -v nix-instantiate
  need crystal command -v crystal
  need time test -x /usr/bin/time
else
  need gcc command -v gcc
  need g++ command -v g++
  need binutils command -v objcopy
  need libc6-dev test -e /usr/include/stdio.h
  need pkg-config command -v pkg-config
  need python3 command -v python3
  need lua5.4 command -v lua5.4
  need man-db command -v man
  need mandoc command -v mandoc
  need python3-prometheus-client test -d /usr/lib/python3/dist-packages/prometheus_client
  need clang command -v clang
  need valgrind command -v valgrind
  need clang-format command -v clang-format
  if command -v gcc >/dev/null 2>&1; then
    need libatomic-ops-dev header atomic_ops.h
    need check header check.h
    need systemtap-sdt-dev header sys/sdt.h
    need libjemalloc-dev header jemalloc/jemalloc.h
    need libsqlite3-dev header sqlite3.h
    need liblua5.4-dev header lua5.4/lua.h
    need libcjson-dev header cjson/cJSON.h
    need libxml2-dev test -e /usr/include/libxml2/libxml/parser.h
    need libgc-dev header gc/gc.h
  else
    missing="$missing libatomic-ops-dev check systemtap-sdt-dev libjemalloc-dev"
    missing="$missing libsqlite3-dev liblua5.4-dev libcjson-dev libxml2-dev libgc-dev"
  fi
fi
[ -n "$missing" ] || exit 0

echo "installing:$missing"
export DEBIAN_FRONTEND=noninteractive
if [ "$(id -u)" = 0 ]; then
  sudo=
elif command -v sudo >/dev/null 2>&1 && sudo -n true 2>/dev/null; then
  sudo=sudo
else
  echo "missing packages; as root, run: apt-get update && apt-get install -y$missing" >&2
  exit 1
fi
if ! command -v apt-get >/dev/null 2>&1; then
  echo "no apt-get here; install the equivalents of:$missing" >&2
  exit 1
fi
# shellcheck disable=SC2086
$sudo apt-get update -qq && $sudo apt-get install -y -qq $options $missing >/dev/null
