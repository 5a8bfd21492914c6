# bench.mk - builds and runs the speed benchmarks; included by the top Makefile, paths relative to it.
# Owns:   $(OBJDIR)/bench/ and the targets bench, bench-small, bench-build.
# Uses:   CC OBJDIR LIBHOLDFAST_A WARN CFLAGS; include it after they are set and after the default target.
# Run:    make bench [BENCH_ARGS="--rounds 3 --only trees --csv FILE"]
#         Pauses: --only livetree --only paced --only stores --only ring --only ring_noscan --only tracking
#         --only heapsize --only heapsize_noscan --only idle; plot.py draws the heapsize rows of a CSV.
# A peer whose library is not installed is left out here, and the runner says so.

BENCH_DIR := experiments/bench
BENCH_OUT := $(OBJDIR)/bench
BENCH_ARGS ?=
BENCH_PYTHON ?= python3

# After CFLAGS: every allocator is measured at the same optimisation, whatever the library is built with.
BENCH_CFLAGS = $(CFLAGS) -std=c11 -D_GNU_SOURCE $(WARN) -O2 -Iapi
BENCH_PARTS := loops support gaps nodes cycles
BENCH_COMMON := $(BENCH_PARTS:%=$(BENCH_DIR)/%.c)
BENCH_HEADERS := $(BENCH_DIR)/allocator.h $(BENCH_PARTS:%=$(BENCH_DIR)/%.h)

BENCH_LINK_holdfast = $(LIBHOLDFAST_A) -pthread -ldl
BENCH_LINK_glibc := -pthread
BENCH_LINK_jemalloc := -ljemalloc -pthread
BENCH_LINK_mimalloc := -lmimalloc -pthread
BENCH_LINK_bdwgc := -lgc -pthread

# Looked for only when a benchmark is wanted, so that other goals start no extra process.
ifneq ($(filter bench bench-small bench-build,$(MAKECMDGOALS)),)
BENCH_FOUND = $(filter /%,$(shell $(CC) -print-file-name=$(1)))
BENCH_MALLOCS := glibc $(if $(call BENCH_FOUND,libjemalloc.so),jemalloc) $(if $(call BENCH_FOUND,libmimalloc.so),mimalloc)
BENCH_COLLECTORS := holdfast $(if $(call BENCH_FOUND,libgc.so),bdwgc)
BENCH_GO := $(if $(shell command -v go 2>/dev/null),trees garbage marktree livetree)
endif

BENCH_BINARIES = \
  $(foreach p,trees garbage refill twothreads livetree ring,$(foreach a,$(BENCH_COLLECTORS) $(BENCH_MALLOCS),$(BENCH_OUT)/$(p)-$(a))) \
  $(foreach p,marktree heapsize idle,$(foreach a,$(BENCH_COLLECTORS),$(BENCH_OUT)/$(p)-$(a))) \
  $(BENCH_OUT)/tracking-holdfast \
  $(foreach p,$(BENCH_GO),$(BENCH_OUT)/$(p)-go)

# $(1) allocator, $(2) its macro
define BENCH_RULE
$$(BENCH_OUT)/%-$(1): $$(BENCH_DIR)/%.c $$(BENCH_COMMON) $$(BENCH_HEADERS) $$(if $$(filter holdfast,$(1)),$$(LIBHOLDFAST_A) api/gc_alloc.h)
	@mkdir -p $$(@D)
	$$(CC) $$(BENCH_CFLAGS) -D$(2) -o $$@ $$< $$(BENCH_COMMON) $$(BENCH_LINK_$(1))
endef
$(eval $(call BENCH_RULE,holdfast,BENCH_HOLDFAST))
$(eval $(call BENCH_RULE,glibc,BENCH_GLIBC))
$(eval $(call BENCH_RULE,jemalloc,BENCH_JEMALLOC))
$(eval $(call BENCH_RULE,mimalloc,BENCH_MIMALLOC))
$(eval $(call BENCH_RULE,bdwgc,BENCH_BDWGC))

# Go's cache stays in the build directory: a build leaves nothing elsewhere.
$(BENCH_OUT)/%-go: $(BENCH_DIR)/go/%.go $(BENCH_DIR)/go/support.go $(BENCH_DIR)/go/gaps.go
	@mkdir -p $(@D)
	GO111MODULE=off GOFLAGS= GOCACHE=$(abspath $(BENCH_OUT))/go-cache go build -trimpath -o $@ $^

.PHONY: bench bench-small bench-build
bench-build: $(BENCH_BINARIES)

bench: bench-build
	$(BENCH_PYTHON) $(BENCH_DIR)/run.py --bin $(BENCH_OUT) $(BENCH_ARGS)

bench-small: bench-build
	$(BENCH_PYTHON) $(BENCH_DIR)/run.py --bin $(BENCH_OUT) --small --rounds 2 $(BENCH_ARGS)
