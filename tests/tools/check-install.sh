#!/bin/sh
# check-install.sh - installs into a scratch folder and builds programs against it there, shared, static, and without a dynamic
# linker, with nothing but what holdfast.pc says; C and C++.
set -eu
cd "$(dirname "$0")/../.."
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
make -s install PREFIX="$scratch/usr" >/dev/null
cat >"$scratch/use.c" <<'C'
#include <gc_alloc.h>
#include <gc_debug.h>
#include <gc_frag.h>
#include <gc_stats.h>
#include <gc_thread.h>
#include <gc_typed.h>
#include <gc_weak.h>
#include <stdio.h>
int main(void) {
  static struct gc_frag frag;
  struct gc_stats stats;
  int *n = (int *)gc_calloc(10, sizeof *n);
  if (n == NULL || n[9] != 0) return 1;
  gc_collect();
  gc_read_stats(&stats);
  gc_read_frag(&frag);
  if (gc_alloc_typed(24, gc_layout_offsets(24, NULL, 0)) == NULL) return 1;
  return stats.num_gc == 1 && frag.total.objects == stats.heap_objects ? 0 : 1;
}
C
export PKG_CONFIG_PATH="$scratch/usr/lib/pkgconfig"
cp "$scratch/use.c" "$scratch/use.cc"
gcc -Wall -Wextra -Werror $(pkg-config --cflags holdfast) "$scratch/use.c" -o "$scratch/shared" $(pkg-config --libs holdfast)
LD_LIBRARY_PATH="$scratch/usr/lib" "$scratch/shared"
readelf -d "$scratch/shared" | grep -q 'libholdfast.so.0'
# Without its flags the static library must not link: its interposed functions would never be called.
if gcc $(pkg-config --cflags holdfast) "$scratch/use.c" -o "$scratch/wrong" "$scratch/usr/lib/libholdfast.a" 2>"$scratch/wrong.log"; then
  echo "libholdfast.a links without the flags of pkg-config --static"
  exit 1
fi
grep -q __real_pthread_create "$scratch/wrong.log"

# Each piece of what stands in front of the C library's functions: births, results, signal masks, TLS, keys, fork.
cat >"$scratch/threads.c" <<'C'
#include <gc_alloc.h>
#include <gc_thread.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/wait.h>
#include <threads.h>
#include <unistd.h>
#define N 8
static __thread void *volatile in_tls;
static pthread_key_t key;
static void *make(char mark) {
  char **p = (char **)gc_alloc(64), *text = (char *)gc_alloc_noscan(5000);
  if (p != NULL && text != NULL) memset(p[3] = text, mark, 5000);
  return p;
}
static int is(void *p, char mark) {
  for (int i = 0; i < 5000; i++)
    if (((char **)p)[3][i] != mark) return 0;
  return 1;
}
static void collect(void) {
  gc_collect();
  for (int i = 0; i < 1000; i++) (void)!make('x');
}
static void *body(void *arg) {
  sigset_t all;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, NULL);
  in_tls = make('t');
  pthread_setspecific(key, make('k'));
  collect();
  if (!is(in_tls, 't') || !is(pthread_getspecific(key), 'k') || !is(arg, 'a')) _exit(2);
  return make('r');
}
static int body_c11(void *arg) { return is(arg, 'a') ? 7 : 0; }
int main(void) {
  pthread_t t[N];
  thrd_t c11;
  void *result;
  int status = 0;
  gc_collect();
  pthread_key_create(&key, NULL);
  for (int i = 0; i < N; i++)
    if (pthread_create(&t[i], NULL, body, make('a')) != 0) return 3;
  if (thrd_create(&c11, body_c11, make('a')) != thrd_success) return 4;
  for (int i = 0; i < 20; i++) collect();
  if (thrd_join(c11, &status) != thrd_success || status != 7) return 5;
  for (int i = 0; i < N; i++)
    if (pthread_join(t[i], &result) != 0 || !is(result, 'r')) return 6;
  gc_blocking_begin();
  usleep(1000);
  gc_blocking_end();
  pid_t pid = fork();
  if (pid == 0) {
    collect();
    _exit(9);
  }
  return waitpid(pid, &status, 0) == pid && WEXITSTATUS(status) == 9 ? 0 : 8;
}
C
for program in use threads; do
  build="gcc -Wall -Wextra -Werror $(pkg-config --cflags holdfast) $scratch/$program.c -o"
  $build "$scratch/$program.shared" $(pkg-config --libs holdfast) -pthread
  LD_LIBRARY_PATH="$scratch/usr/lib" "$scratch/$program.shared"
  $build "$scratch/$program.mixed" -Wl,-Bstatic $(pkg-config --static --libs holdfast) -Wl,-Bdynamic
  "$scratch/$program.mixed"
  $build "$scratch/$program.static" -static $(pkg-config --static --libs holdfast)
  "$scratch/$program.static"
done
if nm -g --defined-only "$scratch/usr/lib/libholdfast.a" | awk 'NF == 3 { print $3 }' | grep -vE '^(gc_|__wrap_)'; then
  echo "libholdfast.a defines these names for others"
  exit 1
fi
readelf -d "$scratch/use.mixed" | grep -q libholdfast && exit 1
readelf -d "$scratch/use.static" | grep -q NEEDED && exit 1
g++ -Wall -Wextra -Werror $(pkg-config --cflags holdfast) "$scratch/use.cc" -o "$scratch/cxx" $(pkg-config --libs holdfast)
LD_LIBRARY_PATH="$scratch/usr/lib" "$scratch/cxx"
echo "install: ok"
