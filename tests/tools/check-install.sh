#!/bin/sh
# check-install.sh - installs into a scratch folder and builds a program against it there, shared and static,
# with nothing but what holdfast.pc says; C and C++.
set -eu
cd "$(dirname "$0")/../.."
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
make -s install PREFIX="$scratch/usr" >/dev/null
cat >"$scratch/use.c" <<'C'
#include <gc_alloc.h>
#include <gc_debug.h>
#include <gc_frag.h>
#include <gc_stats.h>
#include <gc_weak.h>
#include <stdio.h>
int main(void) {
  static struct gc_frag frag;
  struct gc_stats stats;
  int *n = (int *)gc_calloc(10, sizeof *n);
  if (n == NULL || n[9] != 0) return 1;
  gc_collect();
  gc_read_stats(&stats);
  gc_read_frag(&frag);
  return stats.num_gc == 1 && frag.total.objects == stats.heap_objects ? 0 : 1;
}
C
export PKG_CONFIG_PATH="$scratch/usr/lib/pkgconfig"
cp "$scratch/use.c" "$scratch/use.cc"
gcc -Wall -Wextra -Werror $(pkg-config --cflags holdfast) "$scratch/use.c" -o "$scratch/shared" $(pkg-config --libs holdfast)
LD_LIBRARY_PATH="$scratch/usr/lib" "$scratch/shared"
readelf -d "$scratch/shared" | grep -q 'libholdfast.so.0'
gcc -Wall -Wextra -Werror $(pkg-config --cflags holdfast) "$scratch/use.c" -o "$scratch/static" "$scratch/usr/lib/libholdfast.a" -pthread -ldl
"$scratch/static"
g++ -Wall -Wextra -Werror $(pkg-config --cflags holdfast) "$scratch/use.cc" -o "$scratch/cxx" $(pkg-config --libs holdfast)
LD_LIBRARY_PATH="$scratch/usr/lib" "$scratch/cxx"
echo "install: ok"
