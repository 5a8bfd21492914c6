#!/bin/sh
# check-man.sh - every public function is on a manual page and has a page or link of its name, and every page is of
# something public; `man` and, where it is installed, mandoc format them without a warning.
set -eu
cd "$(dirname "$0")/../.."
bad=0
fault() { echo "man: $*"; bad=1; }
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# What the compiler sees declared, not what mkman.py takes for a declaration. Names that end in _ are behind macros.
for header in api/gc_*.h; do echo "#include \"$(basename "$header")\""; done >"$scratch/all.c"
${CC:-gcc} -std=c11 -D_GNU_SOURCE -Iapi -E -P "$scratch/all.c" | grep -oE '\bgc_[a-z0-9_]*[a-z0-9] *\(' | tr -d '( ' | sort -u >"$scratch/declared"
grep -ohE '^#define gc_[a-z0-9_]+\(' api/gc_*.h | sed 's/#define \(.*\)(/\1/' >>"$scratch/declared"
sort -u -o "$scratch/declared" "$scratch/declared"

for page in docs/man/man3/*.3; do
  name=$(basename "$page" .3)
  target=$(sed -n 's/^\.so man3\/\(.*\)\.3$/\1/p' "$page")
  if [ -z "$target" ]; then
    sed -n '/^\.SH NAME/{n;s/ \\- .*//;p;}' "$page" | tr -d ' ' | tr , '\n' >>"$scratch/documented"
  else
    sed -n '/^\.SH NAME/{n;p;}' "docs/man/man3/$target.3" | grep -qw "$name" || fault "$page leads to a page that does not name it"
  fi
done
sort "$scratch/documented" | uniq -d | sed 's/^/man: on two pages: /' | grep . && bad=1
sort -u -o "$scratch/documented" "$scratch/documented"
diff "$scratch/declared" "$scratch/documented" >"$scratch/diff" || { fault "< declared, > on a page:"; cat "$scratch/diff"; }
while read -r name; do [ -e "docs/man/man3/$name.3" ] || fault "no page $name(3)"; done <"$scratch/declared"

for page in docs/man/man3/*.3 docs/man/man7/*.7; do
  grep -q '^\.so ' "$page" && continue
  if command -v mandoc >/dev/null 2>&1; then mandoc -T lint -W warning "$page" || bad=1; fi
  if command -v man >/dev/null 2>&1; then
    LC_ALL=C.UTF-8 MANWIDTH=80 man --warnings -E UTF-8 -l "$page" 2>&1 >/dev/null | grep . && bad=1
  fi
done
# As `man gc_free` would find them.
if command -v man >/dev/null 2>&1; then
  [ "$(man -M "$PWD/docs/man" gc_free 2>/dev/null | grep -c "  Frees  *the  *object")" = 1 ] || fault "man gc_free does not show gc_free"
fi
[ "$bad" = 0 ] && echo "man: ok"
exit "$bad"
