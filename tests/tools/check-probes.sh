#!/bin/sh
# check-probes.sh FILE... - each file (the shared library, a program with the static one) has the USDT probes that
# docs/diagnostics.md lists, and no semaphores, when it was built where <sys/sdt.h> is; otherwise none.
set -eu
cd "$(dirname "$0")/../.."
bad=0
listed=$(sed -n 's/^| `holdfast:\([a-z_]*\)`.*/\1/p' docs/diagnostics.md | sort -u)
[ -n "$listed" ] || { echo "docs/diagnostics.md lists no probes"; exit 1; }
header=yes
echo '#include <sys/sdt.h>' | ${CC:-gcc} -E - >/dev/null 2>&1 || header=no
for file in "$@"; do
  notes=$(LC_ALL=C readelf -n "$file")
  found=$(printf '%s\n' "$notes" | awk '/Provider: / { ours = $2 == "holdfast" } /Name: / && ours { print $2 }' | sort -u)
  if [ "$header" = no ]; then
    [ -z "$found" ] || { echo "$file: probes without sys/sdt.h?"; bad=1; }
    continue
  fi
  if [ "$found" != "$listed" ]; then
    echo "$file: not the probes that are listed:"; echo "$found"
    bad=1
  fi
  if printf '%s\n' "$notes" | grep 'Semaphore:' | grep -qv 'Semaphore: 0x0*$'; then
    echo "$file: a probe has a semaphore"
    bad=1
  fi
done
[ "$bad" = 0 ] && echo "probes: ok (sys/sdt.h: $header)"
exit "$bad"
