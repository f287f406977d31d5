# `make demo`: colorize the sample photographs and train for a few minutes. `make test`: all checks.
PYTHON ?= python3
BIN := .venv/bin
JOBS ?= 2

.DEFAULT_GOAL := help
.PHONY: help demo test check format clean

help:  ## what there is to make
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /: /'

.venv/run.stamp: requirements.txt constraints.txt pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit("palgan_jax needs Python 3.11 or newer" if sys.version_info < (3, 11) else 0)'
	$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear .venv || \
		{ echo "make: .venv cannot be made: on Debian and Ubuntu, install python3-venv." >&2; exit 1; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	touch $@

.venv/dev.stamp: .venv/run.stamp requirements-dev.txt requirements-perceptual.txt requirements-prepare.txt requirements-tensorboard.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -r requirements-dev.txt
	touch $@

demo: .venv/run.stamp  ## colorize the samples, train for a short while, resume once, draw the contact sheet
	$(BIN)/python examples/demo.py --output demo

check: .venv/dev.stamp  ## lint, format and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --pythonpath $(BIN)/python

test: check  ## all checks and tests
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder

format: .venv/dev.stamp  ## mend what lint and format can mend
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:  ## remove what make made
	rm -rf .venv .cache demo build *.egg-info
