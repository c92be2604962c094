# make demo, make test: each from a fresh clone with Python 3.11+ and make.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
OUT ?= runs/demo

.PHONY: demo test test-slow test-ecosystem test-oldest test-runtimes test-models test-all test-repeat test-arm fuzz wheel lint docs bench-peers bench-regulariser clean
.DELETE_ON_ERROR:

demo: $(READY)
	$(BIN)/tprune demo --out "$(OUT)"

test: $(READY)
	$(BIN)/python -m pytest -m "not slow and not runtimes and not variants and not models" -n auto

test-slow: $(READY)
	$(BIN)/python -m pytest -m "slow and not runtimes and not models" -n auto --dist loadgroup

# other libraries that models live with, installed first; each test is skipped where its library is not there
test-ecosystem: $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[ecosystem]"
	$(BIN)/python -m pytest tests/ecosystem tests/run/test_curves.py -n auto --dist loadgroup

# the lowest versions that pyproject.toml allows, in an environment of their own
test-oldest:
	$(PYTHON) -m venv $(VENV)-oldest
	$(VENV)-oldest/bin/python -m pip install --quiet --disable-pip-version-check uv
	$(VENV)-oldest/bin/uv pip install --quiet --python $(VENV)-oldest/bin/python --resolution lowest-direct --editable ./runtime --editable ".[dev]"
	$(VENV)-oldest/bin/python -m pytest -m "not slow and not runtimes and not variants and not models" -n auto tests/core tests/families tests/realise tests/train tests/methods

# the runtimes that are extras, installed first; each test is skipped where its runtime is not there
test-runtimes: $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[openvino,ctranslate2,executorch]"
	$(BIN)/python -m pytest -m runtimes -n auto --dist loadgroup

# large checkpoints and real weights: 3 GB of memory, 5 GB of disk
test-models: $(READY)
	$(BIN)/python -m pytest -m models

test-all: $(READY) lint
	$(BIN)/python -m pytest -n auto --dist loadgroup

# two whole demos, one on a busy machine and killed twenty times: the same weights; up to an hour
test-repeat: $(READY)
	TPRUNE_REPEAT=1 $(BIN)/python -m pytest -s --timeout 3600 tests/robustness/test_repeat.py

# bundles replayed with ARM wheels under qemu-user, on Debian 12: that they compute the same; it times nothing
test-arm: $(READY)
	TPRUNE_ARM=1 $(BIN)/python -m pytest -s tests/runtimes/test_arm.py

fuzz: $(READY)
	TPRUNE_FUZZ=1 $(BIN)/python -m pytest -n auto --timeout 3600 tests/robustness

# builds both wheels, installs them outside the clone, runs the demo from one and its bundle with the other
wheel: $(READY)
	.ci/wheel "$(abspath $(BIN))/python"

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[docs]"
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "build/site/index.html; with search: $(BIN)/python -m http.server --directory build/site"

bench-peers: $(READY)
	@test -n "$(DATA)" || { echo "give the folder of the Multi30k files: make bench-peers DATA=DIR [MODEL=DIR]" >&2; exit 1; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --requirement benchmarks/peers/requirements.txt
	$(BIN)/python -m benchmarks.peers.run --data "$(DATA)" $(if $(MODEL),--model "$(MODEL)") --out "$(or $(RUNS),runs/peers)"

bench-regulariser: $(READY)
	$(BIN)/python -m benchmarks.regulariser.run --out benchmarks/regulariser/results.json

$(READY): pyproject.toml runtime/pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { echo "tprune needs Python 3.11 or newer as $(PYTHON); found: $$($(PYTHON) --version 2>&1 | head -n 1). Set PYTHON=..." >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { echo "tprune needs Python's venv module; on Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }
	@echo "making $(VENV), a minute or two"
	@$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ./runtime --editable ".[dev]"
	@touch $(READY)

clean:
	rm -rf $(VENV) $(VENV)-oldest runs
