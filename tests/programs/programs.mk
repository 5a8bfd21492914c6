# programs.mk - real programs on Holdfast and, from the same source, on malloc; included by the top Makefile.
# Owns:    $(OBJDIR)/programs/NAME-holdfast, NAME-clearing, NAME-freeing and NAME-malloc (twin.h). Targets: check-programs, bench-programs.
# Needs:   CC CFLAGS WARN OBJDIR LIBHOLDFAST_A; the packages of SQLite, Lua 5.4, cJSON and libxml2 (tests/tools/install-deps.sh).
# Run:     make check-programs            twins compared, on all kinds of cycle; in a torture build on small inputs
#          make bench-programs            time and memory of both (BENCH_ARGS="--rounds 7 --json FILE")

PROGRAMS := sqlite lua cjson libxml
PROGRAM_DIR := tests/programs
PROGRAM_BINS := $(foreach p,$(PROGRAMS),$(foreach v,holdfast clearing freeing malloc,$(OBJDIR)/programs/$(p)-$(v)))
# Their headers are not ours to keep free of warnings.
PROGRAM_FLAGS = -std=c11 -D_GNU_SOURCE $(CFLAGS) $(WARN) -Iapi $(patsubst -I%,-isystem %,$(shell pkg-config --cflags sqlite3 lua5.4 libcjson libxml-2.0))

PROGRAM_LIBS_sqlite = -lsqlite3
PROGRAM_LIBS_lua = $(shell pkg-config --libs lua5.4)
PROGRAM_LIBS_cjson = -lcjson
PROGRAM_LIBS_libxml = -lxml2

# $(1) variant, $(2) its macro, $(3) the library
define PROGRAM_RULE
$$(OBJDIR)/programs/%-$(1): $$(PROGRAM_DIR)/%.c $$(PROGRAM_DIR)/twin.c $$(PROGRAM_DIR)/twin.h $(3)
	@mkdir -p $$(@D)
	@echo "  CC $$@"; $$(CC) $$(PROGRAM_FLAGS) $(2) -o $$@ $$< $$(PROGRAM_DIR)/twin.c $(3) $$(PROGRAM_LIBS_$$*) -pthread -ldl
endef
$(eval $(call PROGRAM_RULE,holdfast,,$(LIBHOLDFAST_A)))
$(eval $(call PROGRAM_RULE,clearing,-DTWIN_CLEAR,$(LIBHOLDFAST_A)))
$(eval $(call PROGRAM_RULE,freeing,-DTWIN_FREE,$(LIBHOLDFAST_A)))
$(eval $(call PROGRAM_RULE,malloc,-DTWIN_MALLOC,))

.PHONY: programs check-programs bench-programs
programs: $(PROGRAM_BINS)

check-programs: $(PROGRAM_BINS)
	python3 $(PROGRAM_DIR)/check.py --bin $(OBJDIR)/programs $(if $(filter torture,$(BUILD)),--torture)

bench-programs: $(PROGRAM_BINS)
	python3 $(PROGRAM_DIR)/bench.py --bin $(OBJDIR)/programs $(BENCH_ARGS)
