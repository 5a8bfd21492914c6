# scenarios.mk - builds and runs the scenarios of the fragmentation laboratory; included by the top Makefile.
# Owns:    $(OBJDIR)/scenarios/ and the targets scenarios, scenarios-small.
# Uses:    CC OBJDIR LIBHOLDFAST_A WARN CFLAGS, of bench.mk BENCH_*, of examples.mk EXAMPLE_SRC; include it after them.
# Result:  $(OBJDIR)/scenarios/NAME-ALLOCATOR for every scenario NAME.c, and go/NAME.go as NAME-go.
# A scenario for some allocators only is named in SCENARIOS_ONLY_allocator. An allocator whose library is not installed is left
# out, and `make scenarios` says so.

SCENARIO_DIR := experiments/scenarios
SCENARIO_OUT := $(OBJDIR)/scenarios
SCENARIO_PARTS := scenario measure output goclass geometry
SCENARIO_BORROWED := support article
SCENARIO_MORE := compactor stores tree histogram
SCENARIO_ALL := $(filter-out $(SCENARIO_PARTS) $(SCENARIO_MORE),$(patsubst $(SCENARIO_DIR)/%.c,%,$(wildcard $(SCENARIO_DIR)/*.c)))
SCENARIO_GO_PARTS := scenario
SCENARIO_GO_MORE := compaction_stores
SCENARIO_GO_ALL := $(filter-out $(SCENARIO_GO_PARTS) $(SCENARIO_GO_MORE),$(patsubst $(SCENARIO_DIR)/go/%.go,%,$(wildcard $(SCENARIO_DIR)/go/*.go)))

# After CFLAGS: every allocator is measured at the same optimisation, whatever the library is built with.
SCENARIO_CFLAGS = $(CFLAGS) -std=c11 -D_GNU_SOURCE $(WARN) -O2 -Iapi -MMD -MP

# Looked for only when scenarios are wanted, so that other goals start no extra process.
ifneq ($(filter scenarios scenarios-small report $(SCENARIO_OUT)/%,$(MAKECMDGOALS)),)
SCENARIO_FOUND = $(filter /%,$(shell $(CC) -print-file-name=$(1)))
SCENARIO_PEERS := glibc $(if $(call SCENARIO_FOUND,libjemalloc.so),jemalloc) $(if $(call SCENARIO_FOUND,libgc.so),bdwgc)
SCENARIO_GO := $(shell command -v go 2>/dev/null)
SCENARIO_MISSING := $(filter-out $(SCENARIO_PEERS) $(if $(SCENARIO_GO),go),jemalloc bdwgc go)
endif

SCENARIO_BINARIES = \
  $(foreach a,holdfast $(SCENARIO_PEERS),$(foreach p,$(SCENARIO_ALL),$(SCENARIO_OUT)/$(p)-$(a))) \
  $(if $(SCENARIO_GO),$(foreach p,$(SCENARIO_GO_ALL),$(SCENARIO_OUT)/$(p)-go))

# $(1) allocator, $(2) its macro
define SCENARIO_RULE
$$(SCENARIO_OUT)/$(1)/%.o: $$(SCENARIO_DIR)/%.c
	@mkdir -p $$(@D)
	$$(CC) $$(SCENARIO_CFLAGS) -D$(2) -c -o $$@ $$<

$$(SCENARIO_OUT)/%-$(1): $$(SCENARIO_OUT)/$(1)/%.o $$(SCENARIO_PARTS:%=$$(SCENARIO_OUT)/$(1)/%.o) $$(SCENARIO_BORROWED:%=$$(SCENARIO_OUT)/$(1)/%.o) $$(if $$(filter holdfast,$(1)),$$(LIBHOLDFAST_A))
	$$(CC) $$(CFLAGS) $$(LDFLAGS) -o $$@ $$(filter %.o,$$^) $$(BENCH_LINK_$(1))

# What only some are made of.
$$(SCENARIO_OUT)/mitigations-$(1): $$(SCENARIO_OUT)/$(1)/compactor.o
$$(SCENARIO_OUT)/compaction-$(1): $$(SCENARIO_OUT)/$(1)/compactor.o $$(SCENARIO_OUT)/$(1)/stores.o $$(SCENARIO_OUT)/$(1)/tree.o
$$(SCENARIO_OUT)/tiny-$(1): $$(SCENARIO_OUT)/$(1)/histogram.o

$$(SCENARIO_OUT)/$(1)/support.o: $$(BENCH_DIR)/support.c
$$(SCENARIO_OUT)/$(1)/article.o: $$(EXAMPLE_SRC)/article.c
$$(SCENARIO_BORROWED:%=$$(SCENARIO_OUT)/$(1)/%.o):
	@mkdir -p $$(@D)
	$$(CC) $$(SCENARIO_CFLAGS) -c -o $$@ $$<
endef
$(eval $(call SCENARIO_RULE,holdfast,SCENARIO_HOLDFAST))
$(eval $(call SCENARIO_RULE,glibc,SCENARIO_GLIBC))
$(eval $(call SCENARIO_RULE,jemalloc,SCENARIO_JEMALLOC))
$(eval $(call SCENARIO_RULE,bdwgc,SCENARIO_BDWGC))
.SECONDARY: $(foreach a,holdfast glibc jemalloc bdwgc,$(foreach p,$(SCENARIO_ALL) $(SCENARIO_PARTS) $(SCENARIO_MORE) $(SCENARIO_BORROWED),$(SCENARIO_OUT)/$(a)/$(p).o))

$(SCENARIO_OUT)/compaction-go: $(SCENARIO_DIR)/go/compaction_stores.go

# Go's cache stays in the build directory: a build leaves nothing elsewhere.
$(SCENARIO_OUT)/%-go: $(SCENARIO_DIR)/go/%.go $(SCENARIO_GO_PARTS:%=$(SCENARIO_DIR)/go/%.go)
	@mkdir -p $(@D)
	GO111MODULE=off GOFLAGS= GOCACHE=$(abspath $(SCENARIO_OUT))/go-cache go build -trimpath -o $@ $^

.PHONY: scenarios scenarios-small
scenarios: $(SCENARIO_BINARIES)
	$(if $(SCENARIO_MISSING),@echo 'scenarios: left out because not installed: $(SCENARIO_MISSING)')

# Every scenario on Holdfast, shortened; stops at the first whose finding is not reproduced.
scenarios-small: scenarios
	@for p in $(SCENARIO_ALL); do \
	  $(SCENARIO_OUT)/$$p-holdfast --small --csv $(SCENARIO_OUT)/$$p-holdfast.csv || exit 1; echo "ok $$p"; done

-include $(wildcard $(SCENARIO_OUT)/*/*.d)
