# examples.mk - builds and runs the examples of "Memory Fragmentation in Go"; included by the top Makefile.
# Needs:   CC, CFLAGS, WARN, OBJDIR, LIBHOLDFAST_A.  Optional: LDFLAGS, LDLIBS.
# Targets: example-programs the five programs in $(OBJDIR)/examples
#          run-examples    runs them; stops at the first whose figures are not the article's
#          check-examples  the same figures from every compiler, option and run (check.sh)
# Knobs:   EXAMPLE_RUNS runs of each build, EXAMPLE_CCS compilers (absent ones are skipped), EXAMPLE_OPTS.

EXAMPLE_RUNS ?= 5
EXAMPLE_CCS  ?= gcc clang
EXAMPLE_OPTS ?= -O0 -O2 -O3

EXAMPLE_SRC      := experiments/examples
EXAMPLE_PROGRAMS := example1 example2 example3 example4 step_table
EXAMPLE_BINS     := $(EXAMPLE_PROGRAMS:%=$(OBJDIR)/examples/%)
EXAMPLE_SHARED   := $(OBJDIR)/examples/examples.o $(OBJDIR)/examples/article.o

.PHONY: example-programs run-examples check-examples
.SECONDARY: $(EXAMPLE_BINS:=.o) $(EXAMPLE_SHARED)

example-programs: $(EXAMPLE_BINS)

$(OBJDIR)/examples/%.o: $(EXAMPLE_SRC)/%.c
	@mkdir -p $(@D)
	$(CC) -std=c11 -D_GNU_SOURCE $(WARN) $(CFLAGS) -Iapi -MMD -MP -c -o $@ $<

$(EXAMPLE_BINS): %: %.o $(EXAMPLE_SHARED) $(LIBHOLDFAST_A)
	$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(LDLIBS) -pthread -ldl

run-examples: example-programs
	@for program in $(EXAMPLE_BINS); do echo "== $${program##*/}"; $$program || exit 1; done

check-examples: $(LIBHOLDFAST_A)
	RUNS='$(EXAMPLE_RUNS)' CCS='$(EXAMPLE_CCS)' OPTS='$(EXAMPLE_OPTS)' WARN='$(WARN)' \
	  LDFLAGS='$(LDFLAGS)' LDLIBS='$(LDLIBS)' \
	  sh $(EXAMPLE_SRC)/check.sh $(LIBHOLDFAST_A) $(OBJDIR)/examples-check

-include $(wildcard $(OBJDIR)/examples/*.d)
