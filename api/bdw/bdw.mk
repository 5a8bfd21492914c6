# bdw.mk - builds libgc.so.1, the drop-in for the Boehm collector's library (docs/bdw.md); included by the top Makefile.
# Owns:    $(OBJDIR)/bdw/libgc.so.1, and the targets bdw, check-bdw, test-bdw.
# Needs:   CC LIB_CFLAGS OBJDIR OBJECTS

BDW_OBJECTS := $(patsubst %.c,$(OBJDIR)/lib/%.o,$(wildcard api/bdw/*.c))
LIBGC_SO := $(OBJDIR)/bdw/libgc.so.1

.PHONY: bdw
bdw: $(LIBGC_SO)

$(LIBGC_SO): $(OBJECTS) $(BDW_OBJECTS) api/bdw/bdw.map
	@mkdir -p $(@D)
	@echo "  LD $@"; $(CC) $(CFLAGS) -shared -Wl,-soname,libgc.so.1 -Wl,--version-script=api/bdw/bdw.map $(if $(filter tsan asan,$(BUILD)),,-Wl,-z$(COMMA)defs) -o $@ $(OBJECTS) $(BDW_OBJECTS) -pthread -ldl

.PHONY: check-bdw-symbols
check-bdw-symbols: $(LIBGC_SO)
	sh tests/tools/check-bdw-symbols.sh $(LIBGC_SO)

-include $(BDW_OBJECTS:.o=.d)
