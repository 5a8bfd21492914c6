# Makefile - builds, tests and installs Holdfast. `make help` lists the targets.
# Variables: BUILD=release|debug|asan|tsan|torture  CC=gcc|clang  PREFIX=/usr/local  DESTDIR=

BUILD ?= release
ifeq ($(origin CC),default)
CC := gcc
endif
CXX := $(if $(findstring clang,$(CC)),clang++,g++)
PREFIX ?= /usr/local
DESTDIR ?=
VERSION := 0.1.0
SOVERSION := 0
CROSS := $(patsubst %gcc,%,$(filter %-linux-gnu-gcc,$(CC)))
OBJDIR := build/$(BUILD)$(if $(findstring clang,$(CC)),-clang)$(CROSS:%-=-%)

COMMA := ,
WARN := -Wall -Wextra -Wundef -Wshadow -Wconversion -Wmissing-prototypes -Wstrict-prototypes -Werror
CFLAGS_release := -O2 -g
CFLAGS_debug := -O1 -g -DGC_DEBUG=1
CFLAGS_torture := -O1 -g -DGC_DEBUG=1 -DGC_TORTURE=1
CFLAGS_asan := -O1 -g -DGC_DEBUG=1 -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer
CFLAGS_tsan := -O1 -g -fsanitize=thread $(if $(findstring clang,$(CC)),,-Wno-tsan)
ifndef CFLAGS_$(BUILD)
$(error BUILD=$(BUILD) is not known: release, debug, asan, tsan or torture)
endif
CFLAGS := $(CFLAGS_$(BUILD))
LIB_CFLAGS = -std=c11 -D_GNU_SOURCE -DGC_IMPL -I. -Iapi $(WARN) $(CFLAGS) -fPIC -fvisibility=hidden -pthread -MMD -MP

SOURCES := $(filter-out alloc/mksizeclass.c,$(wildcard runtime/*.c alloc/*.c gc/*.c api/*.c))
OBJECTS := $(SOURCES:%.c=$(OBJDIR)/lib/%.o)
PUBLIC_HEADERS := $(sort $(wildcard api/gc_*.h))
LIBHOLDFAST_A := $(OBJDIR)/libholdfast.a
LIBHOLDFAST_SO := $(OBJDIR)/libholdfast.so.$(VERSION)

# The static library that is installed, for -static too: runtime/interpose.c tells why it differs, and by which names.
LIBHOLDFAST_STATIC_A := $(OBJDIR)/static/libholdfast.a
WRAP_OBJECTS := $(OBJECTS:%/interpose.o=%/interpose_wrap.o)
WRAPPED = $(shell sed -n 's/^ *F.[a-z_]*, \([a-z_]*\), .*/\1/p' runtime/interpose.c)
WRAP_FLAGS = $(WRAPPED:%=-Wl$(COMMA)--wrap=%)

.PHONY: all help examples test check check-aarch64 check-asan check-tsan check-torture deps generate check-generated format install clean
all: $(LIBHOLDFAST_A) $(LIBHOLDFAST_SO)

help:
	@echo 'make                 the static and the shared library, in build/$$BUILD'
	@echo 'make examples        installs what is missing, builds, runs Examples 1-4 and the step table'
	@echo 'make test            installs what is missing, runs all tests and script checks'
	@echo 'make check           unit and public tests of this BUILD only'
	@echo 'make check-aarch64   cross-built for aarch64, tests under qemu'
	@echo 'make check-programs  SQLite, Lua, cJSON and libxml2 on Holdfast; make bench-programs measures them'
	@echo 'make bdw             libgc.so.1, for programs built for the Boehm collector (docs/bdw.md); make check-bdw tests it'
	@echo 'make test-bdw        unmodified programs on the drop-in libgc.so.1; check-bdw-clients: bounded; bench-bdw measures them'
	@echo 'make bench           speed against glibc, jemalloc, mimalloc, bdwgc, Go (BENCH_ARGS="--help")'
	@echo 'make scenarios       the fragmentation laboratory; make scenarios-small runs it, shortened'
	@echo 'make report          runs the whole laboratory, writes build/report/index.html (experiments/holdfast-lab --help)'
	@echo 'make install         libraries, headers, manual pages, holdfast.pc, holdfast-run under $$DESTDIR$$PREFIX'
	@echo 'make generate        the generated files: size classes, docs/tuning.md, docs/api.md, manual pages'
	@echo 'make format          clang-format over all C files'
	@echo 'make clean           removes build/'
	@echo 'BUILD=release|debug|asan|tsan|torture  CC=gcc|clang  PREFIX=  DESTDIR='

$(OBJDIR)/lib/%.o: %.c
	@mkdir -p $(@D)
	@echo "  CC $<"; $(CC) $(LIB_CFLAGS) -c -o $@ $<

# One relocatable object with everything but the public names made local: our short internal names cannot
# clash with a program's.
$(LIBHOLDFAST_A): $(OBJECTS)
	@rm -f $@
	@$(CROSS)ld -r -o $(OBJDIR)/holdfast.o $(OBJECTS)
	@$(CROSS)objcopy --localize-hidden $(OBJDIR)/holdfast.o
	@echo "  AR $@"; ar rcs $@ $(OBJDIR)/holdfast.o

$(OBJDIR)/lib/runtime/interpose_wrap.o: runtime/interpose.c
	@mkdir -p $(@D)
	@echo "  CC $< (--wrap)"; $(CC) $(LIB_CFLAGS) -DGC_WRAP=1 -c -o $@ $<

$(LIBHOLDFAST_STATIC_A): $(WRAP_OBJECTS)
	@mkdir -p $(@D)
	@rm -f $@
	@$(CROSS)ld -r -o $(@D)/holdfast.o $(WRAP_OBJECTS)
	@$(CROSS)objcopy --localize-hidden $(@D)/holdfast.o
	@echo "  AR $@"; ar rcs $@ $(@D)/holdfast.o

$(LIBHOLDFAST_SO): $(OBJECTS) api/holdfast.map
	@echo "  LD $@"; $(CC) $(CFLAGS) -shared -Wl,-soname,libholdfast.so.$(SOVERSION) -Wl,--version-script=api/holdfast.map $(if $(filter tsan asan,$(BUILD)),,-Wl,-z$(COMMA)defs) -o $@ $(OBJECTS) -pthread -ldl

# ---- generated files ----
$(OBJDIR)/mksizeclass: alloc/mksizeclass.c
	@mkdir -p $(@D)
	$(CC) -std=c11 $(WARN) -O2 -o $@ $<

$(OBJDIR)/mktuning: tests/tools/mktuning.c runtime/options.def
	@mkdir -p $(@D)
	$(CC) -std=c11 $(WARN) -I. -o $@ $<

generate: $(OBJDIR)/mksizeclass $(OBJDIR)/mktuning
	$(OBJDIR)/mksizeclass > alloc/sizeclass_tab.h
	$(OBJDIR)/mktuning > docs/tuning.md
	rm -rf docs/man/man3 docs/man/man7
	python3 tests/tools/mkman.py docs/man
	mv docs/man/api.md docs/api.md

check-generated: $(OBJDIR)/mksizeclass $(OBJDIR)/mktuning
	$(OBJDIR)/mksizeclass | diff -u alloc/sizeclass_tab.h -
	$(OBJDIR)/mktuning | diff -u docs/tuning.md -
	rm -rf $(OBJDIR)/man && python3 tests/tools/mkman.py $(OBJDIR)/man
	for made in man3 man7; do diff -ru docs/man/$$made $(OBJDIR)/man/$$made || exit 1; done
	diff -u docs/api.md $(OBJDIR)/man/api.md

format:
	clang-format -i $(filter-out alloc/sizeclass_tab.h,$(shell git ls-files '*.c' '*.h'))

# ---- set-up ----
deps:
	@sh tests/tools/install-deps.sh

# ---- examples, benchmarks, tests ----
include experiments/examples/examples.mk
include experiments/bench/bench.mk
include experiments/scenarios/scenarios.mk
include experiments/lab/lab.mk
include tests/tests.mk
include tests/unit/unit.mk
include tests/programs/programs.mk
include api/bdw/bdw.mk
include tests/bdw/clients/clients.mk

examples: deps
	@$(MAKE) --no-print-directory run-examples

check: run-unit-tests run-public-tests

# Bounded forms for CI. BUILD=tsan: what runs without the stop signal, which the thread sanitizer delivers only
# inside functions it knows (docs/collection.md); that is marking, sharing, sweeping and the background thread; so cycles do
# not run beside the program there: the collector's thread would wait for ever for the stop.
# BUILD=asan: the public tests that stay short under it. BUILD=torture: a cycle at every 200th allocation, on what builds graphs; and
# hide-and-seek, the shadows of many threads and their compaction, where the yields matter,
# with stops so short that cycles must slow the writers and retry.
TSAN_TESTS := $(filter-out %/test_fastpath %/test_world,$(UNIT_TESTS)) $(OBJDIR)/tests/test_shadow
TORTURE_TESTS := $(patsubst %,$(OBJDIR)/tests/%,test_noscan test_strings test_aligned test_shadow)
TORTURE_PLAY := $(patsubst %,$(OBJDIR)/tests/%,test_hideandseek test_shadow_typed test_shadow_threads test_compact_threads test_weak_race)
ASAN_TESTS := $(patsubst %,$(OBJDIR)/tests/%,test_free test_realloc test_noscan test_zero test_strings test_shadow test_typed test_places test_signals \
  test_weak test_finalizer test_uncollectable test_reach test_why_alive test_tls test_coroutines test_coroutine_threads test_urgent)
check-asan: run-unit-tests $(ASAN_TESTS)
	sh tests/run.sh $(ASAN_TESTS)
check-tsan: $(TSAN_TESTS)
	GC_CONCURRENT=off TSAN_OPTIONS="suppressions=tests/tools/tsan.supp symbolize=0" sh tests/run.sh $^
check-torture: run-unit-tests $(TORTURE_TESTS) $(TORTURE_PLAY)
	GC_TORTURE=200 sh tests/run.sh $(TORTURE_TESTS)
	GC_MAX_PAUSE_US=100 sh tests/run.sh $(TORTURE_PLAY)

# Another machine: built with a cross compiler, and tested as far as an emulator allows (docs/portability.md).
check-aarch64:
	@sh tests/tools/install-deps.sh aarch64
	@sh tests/tools/check-aarch64.sh

# gnuplot is for the laboratory's plots; without it they are not checked.
test: deps
	-@sh tests/tools/install-deps.sh report
	@sh tests/tools/test-all.sh

# ---- install ----
install: all $(LIBHOLDFAST_STATIC_A) install-bdw
	install -d $(DESTDIR)$(PREFIX)/lib/pkgconfig $(DESTDIR)$(PREFIX)/include
	install -m 644 $(LIBHOLDFAST_STATIC_A) $(DESTDIR)$(PREFIX)/lib/libholdfast.a
	install -m 755 $(LIBHOLDFAST_SO) $(DESTDIR)$(PREFIX)/lib/libholdfast.so.$(VERSION)
	ln -sf libholdfast.so.$(VERSION) $(DESTDIR)$(PREFIX)/lib/libholdfast.so.$(SOVERSION)
	ln -sf libholdfast.so.$(SOVERSION) $(DESTDIR)$(PREFIX)/lib/libholdfast.so
	install -m 644 $(PUBLIC_HEADERS) $(DESTDIR)$(PREFIX)/include/
	install -d $(DESTDIR)$(PREFIX)/share/man/man3 $(DESTDIR)$(PREFIX)/share/man/man7
	install -m 644 docs/man/man3/*.3 $(DESTDIR)$(PREFIX)/share/man/man3/
	install -m 644 docs/man/man7/*.7 $(DESTDIR)$(PREFIX)/share/man/man7/
	install -d $(DESTDIR)$(PREFIX)/share/holdfast
	install -m 644 api/holdfast.supp $(DESTDIR)$(PREFIX)/share/holdfast/holdfast.supp
	sed -e 's|@PREFIX@|$(PREFIX)|' -e 's|@VERSION@|$(VERSION)|' -e 's|@WRAP@|$(WRAP_FLAGS)|' api/holdfast.pc.in > $(DESTDIR)$(PREFIX)/lib/pkgconfig/holdfast.pc

clean:
	rm -rf build

-include $(OBJECTS:.o=.d) $(OBJDIR)/lib/runtime/interpose_wrap.d
