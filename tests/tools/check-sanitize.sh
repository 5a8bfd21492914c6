#!/bin/sh
# check-sanitize.sh LIBHOLDFAST_A - a program that is built with the address sanitizer runs with the library as it is, and with
# GC_DEBUG=1 the sanitizer reports the very instruction that writes where it should not; where Valgrind is, a program runs under
# it without errors in the way that docs/diagnostics.md tells. Programs with a planted fault must be reported.
set -eu
cd "$(dirname "$0")/../.."
library=$1
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cat >"$scratch/program.c" <<'C'
#include <gc_alloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct node {
  struct node *next;
  char text[40];
};

static struct node *push(struct node *list, int i) {
  struct node *n = gc_alloc(sizeof *n);
  n->next = list;
  snprintf(n->text, sizeof n->text, "node %d", i);
  return n;
}

__attribute__((noinline, noclone)) static void plant_overrun(struct node *n, size_t at) { ((char *)n)[at] = 1; }
__attribute__((noinline, noclone)) static void plant_write_after_free(struct node *n) { n->text[0] = 1; }

int main(int argc, char **argv) {
  struct node *list = NULL;
  long sum = 0;
  for (int i = 0; i < ROUNDS; i++) {
    list = push(i % 1000 == 0 ? NULL : list, i);
    if (i % (ROUNDS / 4) == 0) gc_collect();
  }
  for (struct node *n = list; n != NULL; n = n->next) sum += atoi(n->text + 5);
  if (sum != 1000L * ROUNDS - 500500) return 2; /* the last 1000 numbers below ROUNDS */
  if (argc > 1 && strcmp(argv[1], "overrun") == 0) plant_overrun(list, sizeof *list);
  if (argc > 1 && strcmp(argv[1], "after-free") == 0) {
    struct node *volatile n = list->next;
    list->next = n->next;
    gc_free(n);
    plant_write_after_free(n);
  }
  gc_collect();
  return 0;
}
C
build() { ${CC:-gcc} -g -O1 -fno-inline "$@" -Iapi "$scratch/program.c" -o "$scratch/program" "$library" -pthread -ldl; }
reported() { # reported WORD PLACE COMMAND...: it fails, and says WORD and PLACE, where the fault was planted
  word=$1 place=$2
  shift 2
  if "$@" >"$scratch/said" 2>&1; then echo "not reported: $*"; cat "$scratch/said"; exit 1; fi
  grep -q "$word" "$scratch/said" && grep -q "$place" "$scratch/said" || { echo "\"$word\", \"$place\" not said:"; cat "$scratch/said"; exit 1; }
}

export ASAN_OPTIONS=detect_stack_use_after_return=0:detect_leaks=0
build -fsanitize=address -DROUNDS=200000
"$scratch/program"
GC_DEBUG=1 "$scratch/program"
export GC_DEBUG=1
reported use-after-poison plant_overrun "$scratch/program" overrun
reported use-after-poison plant_write_after_free "$scratch/program" after-free
unset GC_DEBUG
echo "address sanitizer: ok"

if ! command -v valgrind >/dev/null 2>&1; then
  echo "valgrind: not here, not checked"
  exit 0
fi
valgrind="valgrind -q --error-exitcode=9 --suppressions=api/holdfast.supp"
build -DROUNDS=20000
GC_CONCURRENT=off $valgrind "$scratch/program"
export GC_DEBUG=1 GC_CONCURRENT=off
$valgrind "$scratch/program"
if [ -e /usr/include/valgrind/memcheck.h ]; then
  reported "Invalid write" "program.c:" $valgrind "$scratch/program" overrun
  reported "Invalid write" "program.c:" $valgrind "$scratch/program" after-free
fi
echo "valgrind: ok"
