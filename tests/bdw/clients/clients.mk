# clients.mk - programs that Debian builds for the other collector, unmodified on our libgc.so.1; included by the top Makefile.
# Needs:   LIBGC_SO (api/bdw/bdw.mk); the packages of the clients (tests/tools/install-deps.sh bdw).
# Run:     make test-bdw             every client, 20 times on ours, output compared with Debian's library (CLIENT_ARGS="--runs 3 guile")
#          make check-bdw-clients    the same with small inputs, twice; what CI runs
#          make BUILD=torture stress-bdw    a cycle at every n-th allocation (CLIENT_ARGS="--every 500 neko")
#          make bench-bdw            time, memory and pauses of both (CLIENT_ARGS="--rounds 7 --csv FILE")

CLIENTS_DIR := tests/bdw/clients
CLIENT_ARGS ?=

.PHONY: deps-bdw test-bdw check-bdw-clients stress-bdw bench-bdw
deps-bdw:
	@sh tests/tools/install-deps.sh bdw

test-bdw: deps-bdw $(LIBGC_SO)
	python3 $(CLIENTS_DIR)/run.py --ours $(dir $(LIBGC_SO)) --runs 20 $(CLIENT_ARGS)

check-bdw-clients: deps-bdw $(LIBGC_SO)
	python3 $(CLIENTS_DIR)/run.py --ours $(dir $(LIBGC_SO)) --size bounded --runs 2 $(CLIENT_ARGS)

stress-bdw: deps-bdw $(LIBGC_SO)
	$(if $(filter torture,$(BUILD)),,$(error stress-bdw needs BUILD=torture))
	python3 $(CLIENTS_DIR)/run.py --ours $(dir $(LIBGC_SO)) --size stress --runs 2 $(CLIENT_ARGS)

bench-bdw: deps-bdw $(LIBGC_SO)
	python3 $(CLIENTS_DIR)/bench.py --ours $(dir $(LIBGC_SO)) $(CLIENT_ARGS)
