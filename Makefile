# make try    open an isolated shell on this machine; nothing is installed outside this folder
# make test   everything that proves it works
# make test-vm  what needs a pure cgroup v2 machine or systemd, in machines of software; ten minutes
# make test-debian  a whole Debian made of packages, which apt fetches from its mirror; two minutes
# make soak   a thousand exec in a row, each fault ten times, a GiB of output, a thousand containers; an hour (ROUNDS=50: four)
# make bench  the tables of docs/benchmarks.md
# make bench-containers  its section about containers that stay, beside docker and podman; a quarter of an hour, as root
# make bench-images  its section about images, beside docker, podman, skopeo and umoci; a quarter of an hour, as root

PYTHON ?= $(shell for p in /usr/bin/python3 python3; do command -v $$p && break; done)
VENV ?= .venv
BIN := $(VENV)/bin
ROUNDS ?= 10
CHANCES := $(patsubst %,tests/%,runtime/test_malformed.py runtime/test_hostile_rootfs.py runtime/test_killed.py \
    containers/test_cp_hostile.py unit/seccomp)
FAULTS := $(patsubst %,tests/containers/test_%.py,killed machine reboot full_disk at_once pressure)

.PHONY: try test test-vm test-debian soak lint unit bench bench-containers bench-images clean packages

try: $(VENV)/try.stamp
	@if [ -t 0 ] && [ -t 1 ]; then $(BIN)/cloche shell || true; \
	else $(BIN)/cloche run --explain host uname -sr 2>&1 | sed -n '/^exited\|^receipt/,$$p;/^Linux/p'; fi

test: packages $(VENV)/dev.stamp lint unit

test-vm: $(VENV)/dev.stamp
	$(BIN)/python -B tests/vm/vm.py
	$(BIN)/python -B tests/vm/vm.py --systemd
	$(BIN)/python -B tests/vm/vm.py --systemd --v1

test-debian: $(VENV)/dev.stamp
	$(BIN)/python -X dev -m pytest -q -o timeout=900 tests/debian/minbase.py

soak: $(VENV)/dev.stamp
	CLOCHE_SOAK=1000 $(BIN)/python -X dev -m pytest -q -o timeout=900 tests/containers/test_exec.py -k in_a_row
	CLOCHE_SOAK=$(ROUNDS) $(BIN)/python -X dev -m pytest -q -o timeout=7200 $(FAULTS) $(CHANCES)

lint: $(VENV)/dev.stamp
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

# four workers for two cores, as much is waited for; a file's tests stay together, as they share what takes long to make
# what hands memory to the kernel runs with an allocator that looks after it; the rest does not, a sixth faster
unit: $(VENV)/dev.stamp
	$(BIN)/python -X dev -m pytest -q tests/kernel
	PYTHONMALLOC=pymalloc $(BIN)/python -X dev -m pytest -q --ignore tests/kernel \
	    --dist loadfile --tx '4*popen//python=$(BIN)/python -X dev'

packages:
	@sh tests/packages.sh

bench: $(VENV)/dev.stamp
	$(BIN)/python benchmarks/bench.py

bench-containers: $(VENV)/dev.stamp
	$(BIN)/python benchmarks/containers.py

bench-images: $(VENV)/dev.stamp
	$(BIN)/python benchmarks/images.py

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

# what `pip install -e .` would leave, without the build tools that pip would download for it
$(VENV)/try.stamp: $(VENV)/bin/python scripts/cloche scripts/cloche-runtime
	@echo "$(CURDIR)/src" >"$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/cloche-try.pth"
	@cp scripts/cloche scripts/cloche-runtime $(BIN)/
	@touch $@

$(VENV)/cloche.stamp: $(VENV)/bin/python pyproject.toml scripts/cloche scripts/cloche-runtime
	$(BIN)/pip install --quiet --disable-pip-version-check -e .
	touch $@

$(VENV)/dev.stamp: $(VENV)/cloche.stamp
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis build dist
