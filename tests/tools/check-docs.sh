#!/bin/sh
# check-docs.sh - keeps prose true: paths named in docs and comments exist, every cited INV- id is defined
# in docs/invariants.md and every defined one is cited in code, and each source file is in docs/README.md. docs/bdw.md names
# only functions that the drop-in exports, lists those that warn, no more and no fewer, and every variable with an effect.
set -eu
cd "$(dirname "$0")/../.."
bad=0
for path in $(grep -ohE '\b(runtime|alloc|gc|api|tests|experiments|docs)/[A-Za-z0-9_./-]*[A-Za-z0-9_]\.(c|h|def|md|sh|mk|py|csv)\b' \
  README.md docs/*.md runtime/*.[ch] alloc/*.[ch] gc/*.[ch] api/*.[ch] api/bdw/*.[ch] | sort -u); do
  [ -e "$path" ] || { echo "no such file, but named: $path"; bad=1; }
done
cited=$(grep -ohE 'INV-[A-Z]+-[0-9]+' runtime/* alloc/* gc/* api/*.* api/bdw/* tests/unit/* | sort -u)
defined=$(grep -oE '^\| INV-[A-Z]+-[0-9]+' docs/invariants.md | cut -c3- | sort -u)
for id in $cited; do echo "$defined" | grep -qx "$id" || { echo "cited, not defined: $id"; bad=1; }; done
for id in $defined; do echo "$cited" | grep -qx "$id" || { echo "defined, not cited in code: $id"; bad=1; }; done
for file in runtime/*.c alloc/*.c gc/*.c api/*.c runtime/*.h alloc/*.h gc/*.h api/*.h runtime/*.def; do
  name=$(basename "$file")
  stem=${name%.*}
  grep -q "$stem" docs/README.md || { echo "not in the tour (docs/README.md): $file"; bad=1; }
done
for file in api/bdw/*.[ch]; do # their names are other folders' names too
  grep -q "api/bdw/$(basename "${file%.*}")" docs/README.md || { echo "not in the tour (docs/README.md): $file"; bad=1; }
done

variables=$(grep -ohE '"GC_[A-Z_]+"' api/bdw/env.c runtime/options.def | tr -d '"')
exported=$(sed -n 's/^\(GC_[^ ]*\) .*/\1/p' tests/bdw/exports.txt)
for name in $(grep -ohE '`GC_[A-Za-z0-9_]+' docs/bdw.md | tr -d '`' | sort -u); do
  printf '%s\n' "$exported" "$variables" | grep -qx "$name" || { echo "docs/bdw.md: neither exported nor a variable: $name"; bad=1; }
done
warns=$(grep -ohE 'bdw_unsupported\("[A-Za-z0-9_]+"' api/bdw/*.c | sed 's/.*"\(.*\)"/\1/' | sort -u)
listed=$(sed -n '/<!-- warns -->/,/<!-- \/warns -->/p' docs/bdw.md | grep -oE '^\| `[A-Za-z0-9_]+`' | tr -d '|` ' | sort -u)
[ "$warns" = "$listed" ] || { echo "docs/bdw.md does not list what warns: code has" $warns "- the page" $listed; bad=1; }
for name in $(sed -n 's/^ *{"\(GC_[A-Z_]*\)", \(SWITCH\|SIZE\),.*/\1/p' api/bdw/env.c); do
  grep -q "\`$name\`" docs/bdw.md || { echo "docs/bdw.md does not name the variable $name"; bad=1; }
done
[ "$bad" = 0 ] && echo "docs: ok"
exit "$bad"
