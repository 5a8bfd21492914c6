# tests.mk - builds and runs the tests of the public headers, tests/api, tests/system, tests/torture, and of what the
# experiments are made of, tests/experiments.
# From the top Makefile: CC CXX CFLAGS WARN OBJDIR LIBHOLDFAST_A. Every test_NAME.c is one program
# $(OBJDIR)/tests/test_NAME that needs no argument. PUBLIC_TESTS lists them all.

TEST_DIRS  := tests/api tests/system tests/torture tests/experiments
TEST_SRC_C := $(sort $(foreach d,$(TEST_DIRS),$(wildcard $(d)/test_*.c)))
TEST_SRC_X := $(sort $(foreach d,$(TEST_DIRS),$(wildcard $(d)/test_*.cc)))
TEST_HDR   := $(foreach d,$(TEST_DIRS),$(wildcard $(d)/*.h)) $(wildcard api/gc_*.h)
TEST_BIN   := $(OBJDIR)/tests
TEST_PLUGIN := $(TEST_BIN)/plugin.so $(TEST_BIN)/plugin-small.so $(TEST_BIN)/plugin-large.so

CHECK_CFLAGS := $(shell pkg-config --cflags check 2>/dev/null)
CHECK_LIBS   := $(shell pkg-config --libs check 2>/dev/null)
TEST_FLAGS   := -D_GNU_SOURCE -Iapi -Itests/api -Itests/system -Itests/torture $(CHECK_CFLAGS)
TEST_LIBS     = $(LIBHOLDFAST_A) -pthread -ldl $(CHECK_LIBS)

# What g++ does not know.
TEST_CXX_FLAGS = $(filter-out -std=% -Wmissing-prototypes -Wstrict-prototypes,$(CFLAGS) $(WARN))

PUBLIC_TESTS_C := $(patsubst %.c,$(TEST_BIN)/%,$(notdir $(TEST_SRC_C)))
PUBLIC_TESTS_X := $(patsubst %.cc,$(TEST_BIN)/%,$(notdir $(TEST_SRC_X)))
PUBLIC_TESTS   := $(PUBLIC_TESTS_C) $(PUBLIC_TESTS_X)

vpath test_%.c $(TEST_DIRS)
vpath test_%.cc $(TEST_DIRS)

$(TEST_BIN):
	mkdir -p $@

$(PUBLIC_TESTS_C): $(TEST_BIN)/%: %.c $(TEST_HDR) $(LIBHOLDFAST_A) | $(TEST_BIN)
	$(CC) -std=c11 $(CFLAGS) $(WARN) $(TEST_FLAGS) $< $(TEST_MORE) -o $@ $(TEST_LIBS)

# The piece of the experiments that a test is about.
TEST_PIECES := compactor histogram
$(TEST_PIECES:%=$(TEST_BIN)/test_%): TEST_MORE = -Iexperiments/scenarios $(@:$(TEST_BIN)/test_%=experiments/scenarios/%.c)
$(TEST_PIECES:%=$(TEST_BIN)/test_%): $(TEST_BIN)/test_%: experiments/scenarios/%.c experiments/scenarios/%.h

$(PUBLIC_TESTS_X): $(TEST_BIN)/%: %.cc $(TEST_HDR) $(LIBHOLDFAST_A) | $(TEST_BIN)
	$(CXX) -std=c++17 $(TEST_CXX_FLAGS) $(TEST_FLAGS) $< -o $@ $(TEST_LIBS)

# The loader tells names of functions in the program only when they are exported.
$(addprefix $(TEST_BIN)/test_,profile heapmap why_alive guards leaks): TEST_FLAGS += -rdynamic

# Loaded by test_dlopen, which finds it beside itself. Not linked with the library: it is a stranger.
$(TEST_PLUGIN): tests/system/plugin.c | $(TEST_BIN)
	$(CC) -std=c11 $(CFLAGS) $(WARN) $(PLUGIN_GAP) -fPIC -shared $< -o $@
$(TEST_BIN)/plugin-small.so: PLUGIN_GAP = -DPLUGIN_GAP=2000
$(TEST_BIN)/plugin-large.so: PLUGIN_GAP = -DPLUGIN_GAP=10000000

$(TEST_BIN)/test_dlopen: | $(TEST_PLUGIN)

# A library that a test is linked with, found beside it.
TEST_LINKED := $(TEST_BIN)/liblinked.so
$(TEST_LINKED): tests/system/linked.c tests/system/linked.h | $(TEST_BIN)
	$(CC) -std=c11 $(CFLAGS) $(WARN) -fPIC -shared $< -o $@

$(TEST_BIN)/test_tls: TEST_MORE = $(TEST_LINKED) -Wl,-rpath,'$$ORIGIN'
$(TEST_BIN)/test_tls: $(TEST_LINKED)

.PHONY: public-tests run-public-tests
public-tests: $(PUBLIC_TESTS)

run-public-tests: $(PUBLIC_TESTS)
	sh tests/run.sh $(PUBLIC_TESTS)
