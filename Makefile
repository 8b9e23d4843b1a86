# Each target sets up .venv by itself on first use. PYTHON picks another interpreter (3.11 or newer).

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
# Packages of networks, beside .venv, so that the product is never run with them: see benchmarks/zoo-*.txt.
ZOO := .zoo
# Tests measure latencies: one thread per process keeps them from disturbing each other.
ONE_THREAD := OMP_NUM_THREADS=1 MKL_NUM_THREADS=1
# Tests run on all cores, classes and modules as wholes; those that assert a time run alone, after the others.
PYTEST := $(ONE_THREAD) $(BIN)/python -m pytest
SIDE_BY_SIDE := -n auto --maxprocesses 8 --dist loadscope

.DEFAULT_GOAL := help
.PHONY: help demo test test-all lint bench bench-cost bench-quality bench-devices fit-devices bench-mixed bench-criteria zoo chromium

help:
	@echo "make demo      search, report and export a small network, end to end (demo-run/)"
	@echo "make test      the tests, in under 15 minutes on 2 cores"
	@echo "make test-all  the slow tests too"
	@echo "make lint      ruff and pyright"
	@echo "make bench     the benchmarks (bench-results/)"
	@echo "make bench-cost      latencies told by each cost model beside measuring twice, on this machine"
	@echo "make bench-mixed     a policy of channels, 2:4, a dropped block and int8, searched and verified on CIFAR-10"
	@echo "make bench-criteria  how well criteria foretell what channels are worth, on CIFAR-10"
	@echo "make bench-quality  fronts beside published methods at equal CPU seconds; resumable, in parts (docs/quality.md)"
	@echo "make bench-devices   one network searched for four devices, and why the fronts differ; resumable"
	@echo "make zoo       trace and prune 47 architectures, an hour (bench-results/zoo.json)"

$(INSTALLED): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

demo: $(INSTALLED)
	$(BIN)/espalier demo --out demo-run

test: $(INSTALLED) chromium
	$(PYTEST) $(SIDE_BY_SIDE) -m "not slow and not timed"
	$(PYTEST) -m "timed and not slow"

test-all: $(INSTALLED) chromium
	$(PYTEST) $(SIDE_BY_SIDE) -m "not timed"
	$(PYTEST) -m timed

# The root folder is the package but need not be called espalier, so pyright finds it through a link of that name.
lint: $(INSTALLED)
	$(BIN)/ruff check .
	mkdir -p $(VENV)/typing
	ln -sfn "$(CURDIR)" $(VENV)/typing/espalier
	$(BIN)/pyright

# Each benchmark prints a table and writes its JSON. `fit_devices --check` compares with the shipped device files.
bench: $(ZOO)/.installed
	mkdir -p bench-results
	$(ONE_THREAD) $(BIN)/python benchmarks/dense_networks.py --json bench-results/dense_networks.json
	$(ONE_THREAD) $(BIN)/python benchmarks/fit_devices.py --check --json bench-results/fit_devices.json
	$(ONE_THREAD) $(BIN)/python benchmarks/policies.py --packages $(ZOO) --json bench-results/policies.json

# Writes the shipped device files anew from published measurements, which ESPALIER_DATA names.
fit-devices: $(INSTALLED)
	$(ONE_THREAD) $(BIN)/python benchmarks/fit_devices.py

bench-cost: $(INSTALLED)
	mkdir -p bench-results
	$(ONE_THREAD) $(BIN)/python benchmarks/cost_models.py --json bench-results/cost_models.json $(COST_OPTIONS)

# Needs Arm's compiler for ethos-u55-128: pip install 'espalier[ethos-u]'. Without it a roofline stands in, with a warning.
bench-devices: $(INSTALLED)
	mkdir -p bench-results
	$(ONE_THREAD) $(BIN)/python benchmarks/four_devices.py --json bench-results/four_devices.json

bench-mixed: $(INSTALLED)
	mkdir -p bench-results
	$(ONE_THREAD) $(BIN)/python benchmarks/mixed_policy.py --json bench-results/mixed_policy.json

bench-criteria: $(INSTALLED)
	mkdir -p bench-results
	$(ONE_THREAD) $(BIN)/python benchmarks/criteria.py --json bench-results/criteria.json

# Goes on where it stopped. QUALITY_OPTIONS="--tasks cifar10-resnet8 --methods espalier --seeds 0" runs a part of it.
bench-quality: $(INSTALLED)
	$(ONE_THREAD) $(BIN)/python -m espalier.benchmarks.quality run --out bench-results/quality $(QUALITY_OPTIONS)

# ZOO_OPTIONS="--only resnet18 vit_tiny_patch16_224" runs a part of it.
zoo: $(ZOO)/.installed
	mkdir -p bench-results
	$(ONE_THREAD) $(BIN)/python benchmarks/zoo.py --packages $(ZOO) --json bench-results/zoo.json $(ZOO_OPTIONS)

$(ZOO)/.installed: $(INSTALLED) $(wildcard benchmarks/zoo-*.txt)
	for kind in common timm transformers; do \
		$(BIN)/python -m pip install --quiet --no-deps --upgrade --target $(ZOO)/$$kind \
			--requirement benchmarks/zoo-$$kind.txt || exit 1; \
	done
	touch $@

chromium: $(INSTALLED)
	@tests/setup_chromium.sh $(BIN)/python
