#!/bin/sh
# check-bdw-symbols.sh LIBGC.SO - the drop-in exports exactly the names of tests/bdw/exports.txt, functions as functions, data
# as data of the same size, unversioned, and besides them only the interposed functions of the C library. Where the package
# that the list was made from is installed, the list is compared with it too.
set -eu
cd "$(dirname "$0")/../.."
list=tests/bdw/exports.txt
package_library=/usr/lib/x86_64-linux-gnu/libgc.so.1
folder=$(mktemp -d "${TMPDIR:-/tmp}/bdw-symbols.XXXXXX")
trap 'rm -rf "$folder"' EXIT
bad=0

# Lines as in the list. Linkers of old left _end and its kin among the names.
exports() {
  nm -D --defined-only -S "$1" | awk '
    $NF ~ /^(_end|_edata|__bss_start|_init|_fini)$/ { next }
    $(NF - 1) ~ /^[TWi]$/ { print $NF, "function"; next }
    { print $NF, "data", NF == 4 ? $2 : "0" }' | while read -r name kind size; do
    if [ "$kind" = data ]; then echo "$name data $((0x$size))"; else echo "$name function"; fi
  done | LC_ALL=C sort
}
differ() { # differ EXPECTED FOUND WHAT
  diff "$1" "$2" >"$folder/diff" && return
  echo "$3 (< expected, > found):"
  cat "$folder/diff"
  bad=1
}

grep -v '^#' "$list" | LC_ALL=C sort >"$folder/list"
sed -n 's/^ *F([a-z_]*, \([a-z_]*\), .*/\1 function/p' runtime/interpose.c | LC_ALL=C sort -u - "$folder/list" >"$folder/expected"
exports "$1" >"$folder/found"
differ "$folder/expected" "$folder/found" "$1 does not export what it must"

made_from=$(sed -n '1s/.*package libgc1 \([^,]*\),.*/\1/p' "$list")
[ -n "$made_from" ] || { echo "$list does not name the package it was made from"; bad=1; }
installed=$(dpkg-query -W -f '${Version}' libgc1:amd64 2>/dev/null || true)
if [ "$installed" = "$made_from" ] && [ -e "$package_library" ]; then
  exports "$package_library" >"$folder/package"
  differ "$folder/package" "$folder/list" "$list is not what $package_library exports"
  compared=", as the package's"
fi
[ "$bad" = 0 ] && echo "bdw symbols: ok, $(wc -l <"$folder/list") names${compared:-}"
exit "$bad"
