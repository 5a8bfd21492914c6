#!/bin/sh
# check-layers.sh - includes run api/bdw -> api -> gc -> alloc -> runtime: an upward include, an include cycle, or an
# experiment that sees more than the public headers is an error; and so is a header of api/bdw that tests/bdw/test_header.c
# does not hold against the other library's.
set -eu
cd "$(dirname "$0")/../.."
bad=0
rank() {
  case $1 in
    runtime/*) echo 0 ;; alloc/*) echo 1 ;; gc/*) echo 2 ;; api/bdw/*) echo 4 ;; api/*) echo 3 ;;
    */*) echo 9 ;; *) echo 0 ;;
  esac
}

for file in runtime/*.[ch] alloc/*.[ch] gc/*.[ch] api/*.[ch] api/bdw/*.[ch] runtime/*.def; do
  from=$(rank "$file")
  for include in $(sed -n 's/^#include "\([^"]*\)".*/\1/p' "$file"); do
    if [ "$(rank "$include")" -gt "$from" ]; then
      echo "$file includes upwards: $include"
      bad=1
    fi
  done
done

for file in $(find experiments tests/api tests/system tests/torture -name '*.[ch]' -o -name '*.cc'); do
  if grep -nE '^#include "(runtime|alloc|gc|api)/' "$file"; then
    echo "$file sees internal headers"
    bad=1
  fi
done

for header in api/bdw/*.h; do
  grep -q "^#include \"$header\"" tests/bdw/test_header.c || { echo "not in tests/bdw/test_header.c: $header"; bad=1; }
done

python3 - <<'PY' || bad=1
import glob, re, sys
files = [f for d in ("runtime", "alloc", "gc", "api", "api/bdw") for f in glob.glob(d + "/*.h")]
graph = {f: [i for i in re.findall(r'^#include "([^"]+\.h)"', open(f).read(), re.M) if i in files] for f in files}
state = {}
def visit(f, path):
    if state.get(f) == 2: return
    if state.get(f) == 1:
        sys.exit("include cycle: " + " -> ".join(path + [f]))
    state[f] = 1
    for g in graph[f]: visit(g, path + [f])
    state[f] = 2
for f in files: visit(f, [])
PY
[ "$bad" = 0 ] && echo "layers: ok"
exit "$bad"
