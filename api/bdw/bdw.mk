# bdw.mk - builds libgc.so.1, the drop-in for the Boehm collector's library (docs/bdw.md), and libgccpp.so.1, that library's
# operators new and delete; tests them, installs them. Included by the top Makefile.
# Owns:    $(OBJDIR)/bdw, and the targets bdw, check-bdw, check-bdw-symbols, install-bdw.
# Needs:   CC CXX CFLAGS WARN LIB_CFLAGS OBJDIR OBJECTS TEST_HDR CHECK_CFLAGS CHECK_LIBS TEST_CXX_FLAGS

BDW_OBJECTS := $(patsubst %.c,$(OBJDIR)/lib/%.o,$(wildcard api/bdw/*.c))
LIBGC_SO := $(OBJDIR)/bdw/libgc.so.1
LIBGCCPP_SO := $(OBJDIR)/bdw/libgccpp.so.1
NO_UNDEFINED = $(if $(filter tsan asan,$(BUILD)),,-Wl,-z$(COMMA)defs)

.PHONY: bdw
bdw: $(LIBGC_SO) $(LIBGCCPP_SO)

$(LIBGC_SO): $(OBJECTS) $(BDW_OBJECTS) api/bdw/bdw.map
	@mkdir -p $(@D)
	@echo "  LD $@"; $(CC) $(CFLAGS) -shared -Wl,-soname,libgc.so.1 -Wl,--version-script=api/bdw/bdw.map $(NO_UNDEFINED) -o $@ $(OBJECTS) $(BDW_OBJECTS) -pthread -ldl

$(LIBGCCPP_SO): api/bdw/gccpp.cc $(LIBGC_SO)
	@echo "  LD $@"; $(CXX) -std=c++17 $(TEST_CXX_FLAGS) -fPIC -shared -Wl,-soname,libgccpp.so.1 $(NO_UNDEFINED) -o $@ $< $(LIBGC_SO)

# Each tests/bdw/test_NAME.c is one program, linked with the drop-in as a client is, and with nothing else of ours.
BDW_TESTS := $(patsubst tests/bdw/%.c,$(OBJDIR)/bdw/%,$(sort $(wildcard tests/bdw/test_*.c)))
$(BDW_TESTS): $(OBJDIR)/bdw/%: tests/bdw/%.c $(TEST_HDR) $(wildcard tests/bdw/*.h api/bdw/*.h) $(LIBGC_SO)
	$(CC) -std=c11 -D_GNU_SOURCE $(CFLAGS) $(WARN) -I. -Iapi -Itests/api -Itests/bdw $(CHECK_CFLAGS) $< -o $@ $(TEST_FIRST) $(LIBGC_SO) -Wl,-rpath,'$$ORIGIN' -pthread -ldl $(CHECK_LIBS)

# The C library before the drop-in, in the order in which names are looked up.
$(OBJDIR)/bdw/test_order: TEST_FIRST = -Wl,--no-as-needed -lc

.PHONY: check-bdw check-bdw-symbols
check-bdw: $(BDW_TESTS)
	sh tests/run.sh $(BDW_TESTS)

check-bdw-symbols: $(LIBGC_SO)
	sh tests/tools/check-bdw-symbols.sh $(LIBGC_SO)

# Beside the other libraries, in a folder that no loader searches by itself: programs are to find it when they are told to.
.PHONY: install-bdw
install-bdw: bdw
	install -d $(DESTDIR)$(PREFIX)/lib/holdfast $(DESTDIR)$(PREFIX)/bin
	install -m 755 $(LIBGC_SO) $(LIBGCCPP_SO) $(DESTDIR)$(PREFIX)/lib/holdfast/
	install -m 755 api/bdw/holdfast-run $(DESTDIR)$(PREFIX)/bin/holdfast-run

-include $(BDW_OBJECTS:.o=.d)
