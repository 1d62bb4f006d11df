# Two commands do everything on a fresh machine with Python 3.11+, git and make:
#   make quickstart   set up, then clips -> SFT -> GRPO -> report on the embedded nano model (CPU, no hub)
#   make test         set up, then every test
PYTHON ?= python3
# Which packages: locked (constraints.txt), oldest (the lower bounds of pyproject.toml) or newest (what the index has today).
PACKAGES ?= locked
VENV ?= .venv$(addprefix -,$(filter-out locked,$(PACKAGES)))
BIN := $(VENV)/bin
# Compiled at first use instead of all at once: half of the set-up's time went into files that nothing imports.
PIP := $(BIN)/python -m pip install --quiet --progress-bar off --no-compile
MODEL_TESTS := tests/models tests/training tests/test_explain.py
# Files that name every precision they compute in, or compute in none: what the CPU multiplies is nothing to them.
NAMED_PRECISION := $(addprefix --ignore=tests/,models/test_families.py models/test_lora.py models/test_qwen_frame_sizes.py \
	models/test_seam.py training/test_options_handed_on.py training/test_order.py training/test_precisions.py \
	training/test_seam.py training/grpo/test_exact.py training/grpo/test_view.py)
# The locker, in an environment of its own: it must run when the lock itself cannot be installed.
UV := build/uv/bin/uv
# The lock stays with the CUDA 13.0 builds; torch 2.15 brings those of 13.2.
LOCK_AT ?= torch==2.14.1 torchvision==0.29.1

.PHONY: setup quickstart quickstart-mini test test-bfloat16 test-slow test-oldest test-newest lint lock fresh bench clean install-locked install-oldest install-newest

setup: $(VENV)/ready

$(VENV)/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(MAKE) --no-print-directory install-$(PACKAGES)
	touch $@

# Packages that come as source (deepspeed, decord elsewhere) are built with the locked setuptools too.
install-locked:
	$(PIP) --upgrade --constraint constraints.txt pip
	$(PIP) --constraint constraints.txt --build-constraint constraints.txt -e '.[all]'

install-oldest: $(UV)
	$(UV) pip install --quiet --python $(BIN)/python --resolution lowest-direct -e '.[all]'

install-newest:
	$(PIP) --upgrade pip
	$(PIP) --upgrade --upgrade-strategy eager -e '.[all]'

$(UV):
	$(PYTHON) -m venv build/uv
	build/uv/bin/python -m pip install --quiet --progress-bar off --constraint constraints.txt uv

quickstart: setup
	$(BIN)/affectllm quickstart --out runs/quickstart

quickstart-mini: setup
	$(BIN)/affectllm quickstart --mini --out runs/quickstart-mini

test: setup
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

# What computes with models once more, as on a CPU that multiplies bfloat16: there --dtype auto is bfloat16.
test-bfloat16: setup
	AFFECTLLM_NATIVE_BFLOAT16=1 $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder $(MODEL_TESTS) $(NAMED_PRECISION)

test-slow: setup
	$(BIN)/python -m pytest -m slow

test-oldest:
	$(MAKE) --no-print-directory test PACKAGES=oldest VENV=.venv-oldest

# The index is asked again each time.
test-newest:
	rm -f .venv-newest/ready
	$(MAKE) --no-print-directory test PACKAGES=newest VENV=.venv-newest

lint: setup
	$(BIN)/python -m ruff check .
	$(BIN)/python -m mypy

lock: $(UV)
	$(UV) pip compile --quiet --universal --python-version 3.11 --no-annotate --upgrade \
		$(addprefix --upgrade-package ,$(LOCK_AT)) --custom-compile-command 'make lock' \
		--extra all --output-file constraints.txt pyproject.toml

# A clean clone, set up and run with PYTHON: one row of docs/environments.md. FRESH holds options (benchmarks/fresh.py --help).
fresh:
	$(PYTHON) benchmarks/fresh.py $(FRESH)

# What needs no training and some minutes on an idle machine; benchmarks/*.py --help names the others.
bench: setup
	for name in wheel_score answers_parse rewards build media_read synthetic_clips; do \
		$(BIN)/python benchmarks/$$name.py || exit 1; done

clean:
	rm -rf $(VENV) .venv-oldest .venv-newest runs build *.egg-info
