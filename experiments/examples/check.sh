#!/bin/sh
# check.sh - the examples print the same figures whatever compiled them, and every time.
#
# Usage:   [RUNS=n] [CCS="gcc clang"] [OPTS="-O0 -O2 -O3"] check.sh <libholdfast.a> <build directory>
# Builds the examples with each compiler that is present and each option, runs each build RUNS times and
# compares the --csv output, without the resident set size (last column), with the first build's first run.
# Exit status 1 and a diff at the first difference or failing run; the summary line otherwise.
# Why so many: one stale copy of an address in a register or on the stack changes a figure by megabytes, and
# where such copies survive depends on the compiler, its options and the address space of the run.
set -eu

usage="usage: [RUNS=n] [CCS=...] [OPTS=...] check.sh <libholdfast.a> <build directory>"
[ $# -eq 2 ] || { echo "check.sh: $usage" >&2; exit 2; }
library=$1
out=$2
src=$(dirname "$0")
api=$src/../../api
runs=${RUNS:-5}
compilers=${CCS:-gcc clang}
opts=${OPTS:--O0 -O2 -O3}
warn=${WARN:--Wall -Wextra -Wundef -Wshadow -Wconversion -Wmissing-prototypes -Wstrict-prototypes -Werror}
programs="example1 example2 example3 example4 step_table"
case $runs in ''|*[!0-9]*|0) echo "check.sh: RUNS must be a positive number; $usage" >&2; exit 2 ;; esac

# build <compiler> <option> <directory>
build() {
  mkdir -p "$3"
  for program in $programs; do
    # shellcheck disable=SC2086 # the variables hold lists of words
    "$1" -std=c11 -D_GNU_SOURCE $warn "$2" -I"$api" ${LDFLAGS:-} -o "$3/$program" \
      "$src/$program.c" "$src/examples.c" "$src/article.c" "$library" ${LDLIBS:-} -pthread -ldl
  done
}

# run_once <directory> <program> <number>: compares with the reference, or becomes it
run_once() {
  if ! "$1/$2" --csv >"$1/$2.csv"; then
    echo "check.sh: FAILED: $1/$2, run $3 of $runs: bad exit status; its output:" >&2
    cat "$1/$2.csv" >&2
    exit 1
  fi
  sed 's/,[^,]*$//' "$1/$2.csv" >"$1/$2.figures"
  if [ ! -e "$reference/$2" ]; then
    cp "$1/$2.figures" "$reference/$2"
  elif ! cmp -s "$reference/$2" "$1/$2.figures"; then
    echo "check.sh: FAILED: $1/$2, run $3 of $runs: figures differ from the first build's:" >&2
    diff "$reference/$2" "$1/$2.figures" >&2 || :
    exit 1
  fi
}

reference=$out/reference
rm -rf "$reference" # an earlier check's figures prove nothing about this library
mkdir -p "$reference"
builds=""
for cc in $compilers; do
  if ! command -v "$cc" >/dev/null; then
    echo "check.sh: no $cc here, skipped"
    continue
  fi
  for opt in $opts; do
    directory=$out/$(basename "$cc")$opt
    build "$cc" "$opt" "$directory"
    for program in $programs; do
      run=0
      while [ "$run" -lt "$runs" ]; do
        run=$((run + 1))
        run_once "$directory" "$program" "$run"
      done
    done
    builds="$builds $(basename "$cc")$opt"
  done
done
[ -n "$builds" ] || { echo "check.sh: none of these compilers is here: $compilers" >&2; exit 1; }
echo "check-examples: OK:$builds; 5 programs, $runs runs each, figures all the same and as the article's"
