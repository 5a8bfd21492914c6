#!/bin/sh
# check-docs.sh - keeps prose true: paths named in docs and comments exist, every cited INV- id is defined
# in docs/invariants.md and every defined one is cited in code, and each source file is in docs/README.md.
set -eu
cd "$(dirname "$0")/../.."
bad=0
for path in $(grep -ohE '\b(runtime|alloc|gc|api|tests|experiments|docs)/[A-Za-z0-9_./-]*[A-Za-z0-9_]\.(c|h|def|md|sh|mk|py|csv)\b' \
  README.md docs/*.md runtime/*.[ch] alloc/*.[ch] gc/*.[ch] api/*.[ch] | sort -u); do
  [ -e "$path" ] || { echo "no such file, but named: $path"; bad=1; }
done
cited=$(grep -ohE 'INV-[A-Z]+-[0-9]+' runtime/* alloc/* gc/* api/* tests/unit/* | sort -u)
defined=$(grep -oE '^\| INV-[A-Z]+-[0-9]+' docs/invariants.md | cut -c3- | sort -u)
for id in $cited; do echo "$defined" | grep -qx "$id" || { echo "cited, not defined: $id"; bad=1; }; done
for id in $defined; do echo "$cited" | grep -qx "$id" || { echo "defined, not cited in code: $id"; bad=1; }; done
for file in runtime/*.c alloc/*.c gc/*.c api/*.c runtime/*.h alloc/*.h gc/*.h api/*.h runtime/*.def; do
  name=$(basename "$file")
  stem=${name%.*}
  grep -q "$stem" docs/README.md || { echo "not in the tour (docs/README.md): $file"; bad=1; }
done
[ "$bad" = 0 ] && echo "docs: ok"
exit "$bad"
