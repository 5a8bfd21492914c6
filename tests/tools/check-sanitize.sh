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

static void plant_overrun(struct node *n, size_t at) { ((char *)n)[at] = 1; }
static void plant_write_after_free(struct node *n) { n->text[0] = 1; }

int main(int argc, char **argv) {
  struct node *list = NULL;
  long sum = 0;
  for (int i = 0; i < 200000; i++) {
    list = push(i % 1000 == 0 ? NULL : list, i);
    if (i % 50000 == 0) gc_collect();
  }
  for (struct node *n = list; n != NULL; n = n->next) sum += atoi(n->text + 5);
  if (sum != 199499500) return 2; /* the sum of 199000 to 199999 */
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
reported() { # reported WORD COMMAND...: it fails, and says WORD and the function where the fault was planted
  word=$1 place=$2
  shift 2
  if "$@" >"$scratch/said" 2>&1; then echo "not reported: $*"; cat "$scratch/said"; exit 1; fi
  grep -q "$word" "$scratch/said" && grep -q "$place" "$scratch/said" || { echo "\"$word\", \"$place\" not said:"; cat "$scratch/said"; exit 1; }
}

export ASAN_OPTIONS=detect_stack_use_after_return=0:detect_leaks=0
build -fsanitize=address
"$scratch/program"
GC_DEBUG=1 "$scratch/program"
export GC_DEBUG=1
reported use-after-poison plant_overrun "$scratch/program" overrun
reported use-after-poison plant_write_after_free "$scratch/program" after-free
unset GC_DEBUG
echo "address sanitizer: ok"
