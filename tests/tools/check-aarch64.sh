#!/bin/sh
# check-aarch64.sh [FOLDER] - cross-builds the library and its tests for aarch64 and runs, under qemu's emulation of a process, the tests that
# can be run there: docs/portability.md says which cannot, and why.
# Needs gcc-aarch64-linux-gnu, libc6-dev-arm64-cross and qemu-user (install-deps.sh aarch64), and network for apt-get: the
# Check library for arm64 is unpacked in FOLDER (build/aarch64-root), not installed.
set -eu
cd "$(dirname "$0")/../.."
root=${1:-$PWD/build/aarch64-root}
for tool in aarch64-linux-gnu-gcc qemu-aarch64; do
  command -v $tool >/dev/null 2>&1 || { echo "check-aarch64: no $tool here (sh tests/tools/install-deps.sh aarch64)"; exit 1; }
done

# A list of packages of its own: the system's architectures stay what they are.
fetch() {
  mkdir -p "$root/apt/partial"
  apt="-qq -o APT::Architectures=arm64 -o APT::Architecture=arm64 -o Dir::State::Lists=$root/apt -o APT::Sandbox::User=root"
  # shellcheck disable=SC2086
  apt-get $apt update && (cd "$root" && apt-get $apt download check libsubunit-dev)
  for package in "$root"/*.deb; do dpkg -x "$package" "$root"; done
}
[ -e "$root/usr/include/check.h" ] || fetch
# Only headers are used of libatomic_ops: it is inline functions for this compiler.
for name in atomic_ops.h atomic_ops; do ln -sfn "/usr/include/$name" "$root/usr/include/$name"; done
export CPATH="$root/usr/include" PKG_CONFIG_SYSROOT_DIR="$root"
export PKG_CONFIG_LIBDIR="$root/usr/lib/aarch64-linux-gnu/pkgconfig" PKG_CONFIG_ALLOW_SYSTEM_CFLAGS=1

objdir=build/debug-aarch64-linux-gnu
programs=$(sed '/^#/d; s/ .*//' tests/tools/aarch64-tests.txt | sort -u | sed "s|^|$objdir/|")
make -s -j"$(nproc)" CC=aarch64-linux-gnu-gcc all >/dev/null
# shellcheck disable=SC2086
make -s -j"$(nproc)" CC=aarch64-linux-gnu-gcc BUILD=debug $programs >/dev/null

# The emulator keeps a record per page of what is mapped, so the address space must be small: the library takes less when
# it is refused more.
export HOLDFAST_TEST_RUNNER="qemu-aarch64 -R 20G -L /usr/aarch64-linux-gnu" HOLDFAST_TEST_TIMEOUT=120
passed=0
failed=0
while read -r name case; do
  case $name in "#"*) continue ;; esac
  log=$(env ${case:+CK_RUN_CASE="$case"} sh tests/run.sh "$objdir/$name") && passed=$((passed + 1)) || failed=$((failed + 1))
  echo "$log" | sed '$d'
done <tests/tools/aarch64-tests.txt
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
