# lab.mk - the report of the fragmentation laboratory, and the program that makes its heap maps; included by the top Makefile.
# Owns:    $(OBJDIR)/lab/, build/report/, and the targets report, mapdemo.
# Uses:    CC OBJDIR LIBHOLDFAST_A WARN CFLAGS. The scenarios come from scenarios.mk, through holdfast-lab.
# Knobs:   REPORT_ARGS, as in make report REPORT_ARGS="--small --out DIR"; REPORT_JOBS, programs at a time: the figures are of
#          memory and do not depend on it, the few times do (1 for those).

REPORT_ARGS ?=
REPORT_JOBS ?= 2

.PHONY: report mapdemo
mapdemo: $(OBJDIR)/lab/mapdemo

$(OBJDIR)/lab/mapdemo: experiments/lab/mapdemo.c $(LIBHOLDFAST_A)
	@mkdir -p $(@D)
	$(CC) -std=c11 -D_GNU_SOURCE $(WARN) $(CFLAGS) -Iapi -MMD -MP -rdynamic -o $@ $< $(LIBHOLDFAST_A) -pthread -ldl

# gnuplot is wanted, not needed: the report says so and goes on without plots.
report: deps
	@sh tests/tools/install-deps.sh report || echo 'report: gnuplot could not be installed' >&2
	@experiments/holdfast-lab --objdir $(OBJDIR) report --jobs $(REPORT_JOBS) $(REPORT_ARGS)

-include $(wildcard $(OBJDIR)/lab/*.d)
