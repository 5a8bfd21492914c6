#!/bin/sh
# test-all.sh - what `make test` runs: script checks (layers, docs, format, generated files, symbols, install), both
# compilers without warnings, the unit and public tests of the debug and the release build, other readers of the profiles,
# sanitizers and torture in a bounded form, the examples with every compiler, the benchmarks and the scenarios shortened,
# the laboratory; of the drop-in, its names and its tests.
# The closing line counts programs and checks: N passed, N failed.
set -u
cd "$(dirname "$0")/../.."
passed=0
failed=0
run() { # run NAME COMMAND...
  name=$1
  shift
  log=$(mktemp)
  began=$(date +%s)
  if "$@" >"$log" 2>&1; then
    passed=$((passed + 1))
    echo "ok      $name, $(($(date +%s) - began)) s"
  else
    failed=$((failed + 1))
    echo "FAILED  $name"
    tail -n 60 "$log"
  fi
  rm -f "$log"
}
jobs=-j$(nproc)

run "layers" sh tests/tools/check-layers.sh
run "docs" sh tests/tools/check-docs.sh
run "format" sh tests/tools/check-format.sh
run "generated files" make -s check-generated
run "gcc, no warnings" make -s $jobs all bdw
run "clang, no warnings" make -s $jobs CC=clang all bdw
run "snippets of the docs" python3 tests/tools/check-snippets.py --lib build/release/libholdfast.a
run "manual pages" sh tests/tools/check-man.sh
run "symbols" sh tests/tools/check-symbols.sh build/release/libholdfast.a "$(echo build/release/libholdfast.so.*)"
run "bdw symbols" make -s $jobs check-bdw-symbols
run "probes" sh tests/tools/check-probes.sh build/release/libholdfast.so.*
run "sanitizers and valgrind" sh tests/tools/check-sanitize.sh build/release/libholdfast.a
run "install" sh tests/tools/check-install.sh
for build in debug release; do
  run "tests, $build" make -s $jobs BUILD=$build check
done
run "bdw layer" make -s $jobs check-bdw
run "profile, other readers" sh tests/tools/check-profile.sh build/release/tests/test_profile
run "tests, asan and ubsan" make -s $jobs BUILD=asan check-asan
run "tests, tsan" make -s $jobs BUILD=tsan check-tsan
run "tests, torture" make -s $jobs BUILD=torture check-torture
run "real programs" make -s $jobs check-programs
run "real programs, torture" make -s $jobs BUILD=torture check-programs
run "clients of the drop-in" make -s $jobs check-bdw-clients
run "examples" make -s run-examples
run "examples, all compilers" make -s check-examples
run "benchmarks, small" make -s bench-small
run "scenarios, small" make -s scenarios-small
run "laboratory" sh tests/tools/check-lab.sh
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
