#!/bin/sh
# check-install.sh - installs into a scratch folder and looks at what a user gets: the files, the names and the soversion of the
# libraries, each public header by itself in C and C++, a program built outside of the tree, shared and
# static, with nothing but what holdfast.pc says; and the drop-in, with holdfast-run and without.
set -eu
cd "$(dirname "$0")/../.."
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
fault() { echo "install: $*"; exit 1; }
variable() { sed -n "s/^$1 := //p" Makefile; }
version=$(variable VERSION)
so=libholdfast.so.$(variable SOVERSION)

# Through DESTDIR, as packagers do: no file may know of it.
make -s install DESTDIR="$scratch/root" PREFIX=/usr >/dev/null
grep -rl "$scratch" "$scratch/root" --include='*.pc' --include='*.h' && fault "DESTDIR is in a file"
make -s install PREFIX="$scratch/usr" >/dev/null
usr=$scratch/usr
(cd "$scratch/root/usr" && find . | sort) >"$scratch/staged"
(cd "$usr" && find . | sort) | diff "$scratch/staged" - || fault "DESTDIR and PREFIX lead to different files"

# -- libraries --
[ "$(readelf -d "$usr/lib/libholdfast.so.$version" | sed -n 's/.*SONAME.*\[\(.*\)\]/\1/p')" = "$so" ] || fault "the soname is not $so"
[ "$(readlink -f "$usr/lib/libholdfast.so")" = "$(readlink -f "$usr/lib/libholdfast.so.$version")" ] || fault "libholdfast.so is another"
[ "$(readlink -f "$usr/lib/$so")" = "$(readlink -f "$usr/lib/libholdfast.so.$version")" ] || fault "$so is another"
readelf -d "$usr/lib/$so" | sed -n 's/.*NEEDED.*\[\(.*\)\]/\1/p' | grep -vE '^(libc|ld-linux.*)\.so' && fault "it needs more than the C library"
sh tests/tools/check-symbols.sh "$usr/lib/libholdfast.a" "$usr/lib/$so" >"$scratch/symbols" || fault "$(cat "$scratch/symbols")"

# -- what pkg-config says --
export PKG_CONFIG_PATH="$usr/lib/pkgconfig"
[ "$(pkg-config --modversion holdfast)" = "$version" ] || fault "holdfast.pc is not of $version"
cflags=$(pkg-config --cflags holdfast)
libs=$(pkg-config --libs holdfast)

# -- headers: each first and alone, twice, in every standard that they claim --
for header in api/gc_*.h; do
  name=$(basename "$header")
  [ -e "$usr/include/$name" ] || fault "$name is not installed"
  printf '#include <%s>\n#include <%s>\nint main(void) { return 0; }\n' "$name" "$name" >"$scratch/header.c"
  cp "$scratch/header.c" "$scratch/header.cc"
  for std in c99 c11 gnu17; do
    gcc -std=$std -Wall -Wextra -Wpedantic -Wundef -Wstrict-prototypes -Werror $cflags -fsyntax-only "$scratch/header.c" || fault "$name, $std"
  done
  for std in c++11 c++17 gnu++20; do
    g++ -std=$std -Wall -Wextra -Wpedantic -Wundef -Werror $cflags -fsyntax-only "$scratch/header.cc" || fault "$name, $std"
  done
done

# -- a program --
cat >"$scratch/use.c" <<'C'
#include <gc_alloc.h>
#include <gc_debug.h>
#include <gc_frag.h>
#include <gc_stats.h>
#include <gc_thread.h>
#include <gc_typed.h>
#include <gc_weak.h>
int main(void) {
  static struct gc_frag frag;
  struct gc_stats stats;
  int *n = (int *)gc_calloc(10, sizeof *n);
  gc_collect();
  gc_read_stats(&stats);
  gc_read_frag(&frag);
  return n != 0 && n[9] == 0 && stats.num_gc == 1 && frag.total.objects == stats.heap_objects ? 0 : 1;
}
C
cp "$scratch/use.c" "$scratch/use.cc"
cd "$scratch"
gcc -Wall -Wextra -Werror $cflags use.c -o shared $libs
readelf -d shared | grep -q "NEEDED.*$so" || fault "the program does not need $so"
LD_LIBRARY_PATH="$usr/lib" ./shared || fault "the shared program ended with $?"
# The static library, as it comes and with sections collected.
static="$usr/lib/libholdfast.a $(pkg-config --libs --static holdfast | sed 's/-lholdfast//')"
for more in "" "-Wl,--gc-sections -ffunction-sections" "-flto -O2"; do
  gcc -Wall -Wextra -Werror $more $cflags use.c -o static $static
  readelf -d static | grep -q holdfast && fault "the static program needs the shared library"
  ./static || fault "the static program ($more) ended with $?"
done
g++ -Wall -Wextra -Werror $cflags use.cc -o cxx $libs
LD_LIBRARY_PATH="$usr/lib" ./cxx || fault "the C++ program ended with $?"

# -- threads: each piece of what stands in front of the C library's functions --
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

# -- the drop-in --
drop_in=$usr/lib/holdfast
run=$usr/bin/holdfast-run
for name in libgc libgccpp; do
  [ "$(readelf -d "$drop_in/$name.so.1" | sed -n 's/.*SONAME.*\[\(.*\)\]/\1/p')" = $name.so.1 ] || fault "the soname of $name.so.1"
done
readelf -d "$drop_in/libgc.so.1" | sed -n 's/.*NEEDED.*\[\(.*\)\]/\1/p' | grep -vE '^(libc|ld-linux.*)\.so' && fault "libgc.so.1 needs more than the C library"

# A client whose library uses libgc, while the program itself is linked with the C library first: its threads are known, and with
# holdfast-run they may block all signals, while collections go on.
cat >"$scratch/client.h" <<'C'
void *client_new(unsigned long n);
int client_is(void *p, unsigned long n);
void client_collect(void);
const char *client_library(void);
C
cat >"$scratch/client.c" <<'C'
#define _GNU_SOURCE
#include "client.h"
#include <dlfcn.h>
void *GC_malloc(unsigned long);
void *GC_malloc_atomic(unsigned long);
void GC_gcollect(void);
void *client_new(unsigned long n) {
  unsigned long **p = (unsigned long **)GC_malloc(64);
  p[5] = (unsigned long *)GC_malloc_atomic(64);
  p[5][3] = n;
  return p;
}
int client_is(void *p, unsigned long n) { return ((unsigned long **)p)[5][3] == n; }
void client_collect(void) { GC_gcollect(); }
const char *client_library(void) {
  Dl_info info;
  return dladdr(dlsym(RTLD_DEFAULT, "GC_malloc"), &info) ? info.dli_fname : "none";
}
C
cat >"$scratch/program.c" <<'C'
#include "client.h"
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#define THREADS 4
#define OBJECTS 500
static int failed;
static int block;
static void *body(void *arg) {
  void *kept[OBJECTS];
  sigset_t all;
  sigfillset(&all);
  if (block) pthread_sigmask(SIG_SETMASK, &all, NULL);
  for (int round = 0; round < 20; round++) {
    for (unsigned long i = 0; i < OBJECTS; i++) kept[i] = client_new((unsigned long)arg + i);
    client_collect();
    for (int i = 0; i < 10000; i++) (void)client_new(~0ul);
    for (unsigned long i = 0; i < OBJECTS; i++)
      if (!client_is(kept[i], (unsigned long)arg + i)) failed = 1;
  }
  return NULL;
}
int main(int argc, char **argv) {
  pthread_t t[THREADS];
  block = argc > 2;
  for (unsigned long i = 0; i < THREADS; i++)
    if (pthread_create(&t[i], NULL, body, (void *)(i << 20)) != 0) return 3;
  for (int i = 0; i < THREADS; i++) pthread_join(t[i], NULL);
  printf("%s %s\n", client_library(), argc > 1 ? argv[1] : "");
  return failed ? 4 : 7;
}
C
gcc -Wall -Wextra -Werror -shared -fPIC client.c -o libclient.so "$drop_in/libgc.so.1"
gcc -Wall -Wextra -Werror program.c -o program -Wl,--no-as-needed -lc -L. -lclient -Wl,-rpath,"$scratch" -Wl,-rpath-link,"$drop_in"
ran() { # ran HOW COMMAND...: the program on the drop-in, which ends with 7
  how=$1
  shift
  status=0
  "$@" >told 2>&1 || status=$?
  [ $status = 7 ] || fault "$how: the client ended with $status: $(cat told)"
  [ "$(cat told)" = "$drop_in/libgc.so.1 two words" ] || fault "$how: $(cat told)"
}
ran "holdfast-run" timeout 120 "$run" ./program "two words" block
ran "holdfast-run, one variable" timeout 120 env HOLDFAST_PRELOAD=0 "$run" ./program "two words"
ran "LD_LIBRARY_PATH" timeout 120 env LD_LIBRARY_PATH="$drop_in" ./program "two words"
# shellcheck disable=SC2046
ran "holdfast-run --print" timeout 120 env $("$run" --print) ./program "two words" block
"$run" --help | grep -q '^usage: holdfast-run' || fault "holdfast-run --help"
for wrong in "" "--unknown" "./no-such-program"; do
  status=0
  # shellcheck disable=SC2086
  "$run" $wrong >told 2>&1 || status=$?
  [ $status = 125 ] && [ "$(wc -l <told)" = 1 ] && grep -q '^holdfast-run: ' told || fault "holdfast-run $wrong: $status: $(cat told)"
done
cat >new.cc <<'C'
#include <cstddef>
#include <new>
extern "C" size_t GC_get_non_gc_bytes();
int main() {
  size_t before = GC_get_non_gc_bytes();
  char *p = new char[1000];
  if (GC_get_non_gc_bytes() < before + 1000) return 1;
  delete[] p;
  if (GC_get_non_gc_bytes() != before) return 2;
  try {
    p = static_cast<char *>(operator new(static_cast<size_t>(-1) / 2));
  } catch (std::bad_alloc &) {
    return 7;
  }
  return p != nullptr;
}
C
g++ -Wall -Wextra -Werror -fno-builtin new.cc -o new "$drop_in/libgccpp.so.1" "$drop_in/libgc.so.1"
status=0
"$run" ./new 2>told || status=$?
[ $status = 7 ] || fault "libgccpp.so.1: the program ended with $status: $(cat told)"

# -- manual pages --
if command -v man >/dev/null 2>&1; then
  for page in gc_alloc gc_free gc_read_stats holdfast; do
    man -M "$usr/share/man" "$page" 2>/dev/null | grep -q "$page" || fault "man $page"
  done
fi
echo "install: ok"
