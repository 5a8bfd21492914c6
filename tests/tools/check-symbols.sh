#!/bin/sh
# check-symbols.sh LIB.a LIB.so - the libraries define exactly the public names for others: those the public
# headers declare, and the functions of the C library that are interposed (in the installed static library as __wrap_...).
set -eu
cd "$(dirname "$0")/../.."
declared=$(cat api/gc_*.h | grep -o 'gc_[a-z_]*(' | tr -d '(' | grep -v '^gc_use$' | sort -u)
expected=$({ printf '%s\n' "$declared"; sed -n 's/^ *F([a-z_]*, \([a-z_]*\), .*/\1/p' runtime/interpose.c; } | sort -u)
exported() { nm -g --defined-only "$1" | awk 'NF == 3 { print $3 }' | sed 's/^__wrap_//' | sort -u; }
shared() { nm -D --defined-only "$1" | awk 'NF == 3 { print $3 }' | sort -u; }
bad=0
for pair in "exported $1" "shared $2"; do
  found=$($pair)
  if [ "$found" != "$expected" ]; then
    echo "${pair#* }: not the public names (< expected, > found):"
    printf '%s\n' "$expected" >"${TMPDIR:-/tmp}/expected.$$"
    printf '%s\n' "$found" | diff "${TMPDIR:-/tmp}/expected.$$" - || true
    rm -f "${TMPDIR:-/tmp}/expected.$$"
    bad=1
  fi
done
[ "$bad" = 0 ] && echo "symbols: ok"
exit "$bad"
