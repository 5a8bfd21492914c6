#!/bin/sh
# run.sh - runs the test programs given as arguments, as many at a time as there are processors: many of them wait more than
# they work. Prints one line per program, then all output of those that failed. The last line is "N passed, N failed".
# HOLDFAST_TEST_TIMEOUT: seconds after which a program that hangs is ended (default 900). HOLDFAST_TEST_JOBS: how many at a
# time. HOLDFAST_TEST_RUNNER: words put before each program, an emulator for example.

HOLDFAST_TEST_RUNNER=${HOLDFAST_TEST_RUNNER:-}

# run.sh --one FOLDER PROGRAM: what follows runs this for each.
if [ "$1" = --one ]; then
  folder=$2
  program=$3
  name=$(basename "$program")
  # Without a slash the shell would search PATH.
  case $program in */*) ;; *) program=./$program ;; esac
  limit=
  if command -v timeout >/dev/null 2>&1; then
    limit="timeout -k 10 ${HOLDFAST_TEST_TIMEOUT:-900}"
  fi
  # $limit and the runner are words, or none.
  # shellcheck disable=SC2086
  $limit $HOLDFAST_TEST_RUNNER "$program" >"$folder/$name.log" 2>&1 </dev/null
  status=$?
  echo "$status" >"$folder/$name.status"
  if [ "$status" -eq 0 ]; then
    printf 'ok    %-20s %s\n' "$name" "$(sed -n 's/^\([0-9]*%: Checks: .*\)/\1/p' "$folder/$name.log" | tr '\n' ' ')"
  else
    printf 'FAIL  %-20s exit status %d\n' "$name" "$status"
  fi
  exit 0
fi

folder=$(mktemp -d "${TMPDIR:-/tmp}/holdfast-test.XXXXXX") || exit 2
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT TERM

# Sanitized builds: tests leave malloc memory to the end of the process, and locals must lie on the stack,
# where the collector looks for them.
ASAN_OPTIONS=detect_leaks=0:detect_stack_use_after_return=0${ASAN_OPTIONS:+:$ASAN_OPTIONS}
export ASAN_OPTIONS HOLDFAST_TEST_RUNNER

printf '%s\n' "$@" | xargs -P "${HOLDFAST_TEST_JOBS:-$(nproc)}" -n 1 sh "$0" --one "$folder"

passed=0
failed=0
for program in "$@"; do
  name=$(basename "$program")
  # No status: it was never run.
  if [ "$(cat "$folder/$name.status" 2>/dev/null)" = 0 ]; then
    passed=$((passed + 1))
  else
    failed=$((failed + 1))
    printf 'FAIL  %s; its output:\n' "$name"
    sed 's/^/      | /' "$folder/$name.log"
  fi
done

printf '%d passed, %d failed\n' "$passed" "$failed"
[ "$failed" -eq 0 ]
