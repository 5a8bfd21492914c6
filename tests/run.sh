#!/bin/sh
# run.sh - runs the test programs given as arguments, one after the other.
# Prints one line per program, and all output of those that fail. The last line is "N passed, N failed".
# HOLDFAST_TEST_TIMEOUT: seconds after which a program that hangs is ended (default 900). HOLDFAST_TEST_RUNNER: words put
# before each program, an emulator for example.

log=$(mktemp "${TMPDIR:-/tmp}/holdfast-test.XXXXXX") || exit 2
trap 'rm -f "$log"' EXIT
trap 'exit 130' INT TERM

# Sanitized builds: tests leave malloc memory to the end of the process, and locals must lie on the stack,
# where the collector looks for them.
ASAN_OPTIONS=detect_leaks=0:detect_stack_use_after_return=0${ASAN_OPTIONS:+:$ASAN_OPTIONS}
export ASAN_OPTIONS

HOLDFAST_TEST_RUNNER=${HOLDFAST_TEST_RUNNER:-}
limit=
if command -v timeout >/dev/null 2>&1; then
  limit="timeout -k 10 ${HOLDFAST_TEST_TIMEOUT:-900}"
fi

passed=0
failed=0
for program in "$@"; do
  name=$(basename "$program")
  # Without a slash the shell would search PATH.
  case $program in */*) ;; *) program=./$program ;; esac
  # $limit and the runner are words, or none.
  # shellcheck disable=SC2086
  $limit $HOLDFAST_TEST_RUNNER "$program" >"$log" 2>&1 </dev/null
  status=$?
  if [ "$status" -eq 0 ]; then
    passed=$((passed + 1))
    printf 'ok    %-20s %s\n' "$name" "$(sed -n 's/^\([0-9]*%: Checks: .*\)/\1/p' "$log" | tr '\n' ' ')"
  else
    failed=$((failed + 1))
    printf 'FAIL  %-20s exit status %d; its output:\n' "$name" "$status"
    sed 's/^/      | /' "$log"
  fi
done

printf '%d passed, %d failed\n' "$passed" "$failed"
[ "$failed" -eq 0 ]
