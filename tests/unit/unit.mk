# unit.mk - builds and runs the tests of the internals, one program per module, linked with the library's
# objects before their names are hidden. From the top Makefile: CC, LIB_CFLAGS, OBJDIR, OBJECTS.

UNIT_SOURCES := $(sort $(wildcard tests/unit/test_*.c))
UNIT_TESTS := $(UNIT_SOURCES:tests/unit/%.c=$(OBJDIR)/unit/%)

$(UNIT_TESTS): $(OBJDIR)/unit/%: tests/unit/%.c $(wildcard tests/unit/*.h) $(OBJECTS)
	@mkdir -p $(@D)
	@echo "  CC $<"; $(CC) $(LIB_CFLAGS) -Itests/unit -Itests/api $(shell pkg-config --cflags check 2>/dev/null) -o $@ $< $(OBJECTS) \
	  $(shell pkg-config --libs check 2>/dev/null) -pthread -ldl

.PHONY: run-unit-tests
run-unit-tests: $(UNIT_TESTS)
	sh tests/run.sh $(UNIT_TESTS)
