# Two commands do everything on a fresh machine with Python 3.11+, git and make:
#   make quickstart   set up, then clips -> SFT -> GRPO -> report on the embedded nano model (CPU, no hub)
#   make test         set up, then every test
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: setup quickstart quickstart-mini test test-slow lint bench clean

setup: $(VENV)/ready

$(VENV)/ready: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --progress-bar off -e '.[all]'
	touch $@

quickstart: setup
	$(BIN)/affectllm quickstart --out runs/quickstart

quickstart-mini: setup
	$(BIN)/affectllm quickstart --mini --out runs/quickstart-mini

lint: setup
	$(BIN)/ruff check .
	$(BIN)/mypy

test: setup lint
	$(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder

test-slow: setup
	$(BIN)/pytest -m slow

# What needs no training and some minutes on an idle machine; benchmarks/*.py --help names the others.
bench: setup
	for name in wheel_score answers_parse rewards build media_read synthetic_clips; do \
		$(BIN)/python benchmarks/$$name.py || exit 1; done

clean:
	rm -rf $(VENV) runs build *.egg-info
