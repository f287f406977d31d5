# `make demo`: colorize the sample photographs and train for a few minutes. `make test`: all checks.
PYTHON ?= python3
# The first of these that runs; another with `make test-newest PYTHON_NEWEST=...`.
PYTHON_NEWEST ?= $(shell for python in python3.13 python3.12 python3; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 12))' 2>/dev/null && echo $$python && break; done)
BIN := .venv/bin
NEWEST := .venv-newest/bin
# On two cores, since some tests wait for processes; each job takes up to 4 GB.
JOBS ?= 3
FUZZ_FIRST ?= 100000
FUZZ_COUNT ?= 20000
INSTALL := -m pip install --quiet --disable-pip-version-check
TESTS := -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder

.DEFAULT_GOAL := help
.PHONY: help demo test test-light test-newest test-porting site check fuzz faults launchers format clean

help:  ## what there is to make
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /: /'

.venv/run.stamp: constraints.txt pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit("palgan_jax needs Python 3.11 to 3.13" if not (3, 11) <= sys.version_info < (3, 14) else 0)'
	$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear .venv || \
		{ echo "make: .venv cannot be made: on Debian and Ubuntu, install python3-venv." >&2; exit 1; }
	$(BIN)/python $(INSTALL) -c constraints.txt -e '.[train]'
	touch $@

.venv/dev.stamp: .venv/run.stamp
	$(BIN)/python $(INSTALL) -c constraints.txt -e '.[dev]'
	touch $@

# Without constraints: the newest of everything that the ranges of pyproject.toml allow.
.venv-newest/stamp: pyproject.toml
	@test -n "$(PYTHON_NEWEST)" || { echo "make: test-newest needs Python 3.12 or 3.13: name it with PYTHON_NEWEST=..." >&2; exit 1; }
	$(NEWEST)/python -m pip --version >/dev/null 2>&1 || $(PYTHON_NEWEST) -m venv --clear .venv-newest
	$(NEWEST)/python $(INSTALL) --upgrade --upgrade-strategy eager -e '.[dev]'
	touch $@

# What colorizes, installed as from an index: from the wheel that a release has, no checkout, no JAX.
.venv-light/stamp: constraints.txt pyproject.toml MANIFEST.in $(wildcard palgan_jax/*.py palgan_jax/*/*.py)
	$(PYTHON) -m venv --clear .venv-light
	$(PYTHON) -m venv --clear .venv-light/build
	.venv-light/build/bin/python $(INSTALL) -c constraints.txt build
	.venv-light/build/bin/python -m build --outdir .venv-light/dist . >.venv-light/build.log
	.venv-light/bin/python $(INSTALL) -c constraints.txt .venv-light/dist/*.whl
	touch $@

# The tools of clouds that are Python packages, in an environment of their own.
.venv-launchers/stamp: Makefile
	$(PYTHON) -m venv .venv-launchers
	.venv-launchers/bin/python $(INSTALL) xpk==1.16.0 skypilot==0.14.1 ray==2.60.0
	touch $@

demo: .venv/run.stamp  ## colorize the samples, train for a short while, resume once, draw the contact sheet
	$(BIN)/python examples/demo.py --output demo

check: .venv/dev.stamp  ## lint, format and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --pythonpath $(BIN)/python

test: check  ## all checks and tests, with the versions of constraints.txt
	$(BIN)/python $(TESTS)

test-light: .venv-light/stamp  ## what colorizes alone, in an environment without JAX, and how large that is
	.venv-light/bin/python -P tests/support/light_install.py examples/samples

test-newest: .venv-newest/stamp  ## all tests with the newest versions, on Python 3.12 or newer
	$(NEWEST)/python $(TESTS)

.venv-porting/stamp: constraints.txt pyproject.toml
	$(PYTHON) -m venv --clear .venv-porting
	.venv-porting/bin/python $(INSTALL) -c constraints.txt -e '.[porting]'
	touch $@

test-porting: .venv-porting/stamp  ## the networks beside PyTorch's, and models that are exported for it
	.venv-porting/bin/python -m pytest porting
	.venv-porting/bin/python -m pytest tests/export/test_pytorch_file.py
	.venv-porting/bin/python -m pytest tests/test_comparisons.py -k pytorch

.venv-docs/stamp: constraints.txt pyproject.toml
	$(PYTHON) -m venv --clear .venv-docs
	.venv-docs/bin/python $(INSTALL) -c constraints.txt -e '.[docs]'
	touch $@

# The tour is a notebook as Markdown: its results are drawn into a copy.
site: .venv-docs/stamp  ## the documents as a site, in .cache/site/site; a link that leads nowhere is an error
	rm -rf .cache/site && mkdir -p .cache/site && cp -r docs mkdocs.yml .cache/site/
	mkdir .cache/site/tour && .venv-docs/bin/jupytext --quiet --to ipynb --output .cache/site/tour/tour.ipynb docs/tour.md
	cd .cache/site/tour && PATH="$(CURDIR)/.venv-docs/bin:$$PATH" jupyter-nbconvert --log-level=WARN --execute --to markdown tour.ipynb
	cp -r .cache/site/tour/tour.md .cache/site/tour/tour_files .cache/site/docs/ && rm .cache/site/docs/write_api.py
	.venv-docs/bin/zensical build --strict --config-file .cache/site/mkdocs.yml

fuzz: .venv/dev.stamp  ## thousands of damaged pictures and weights, other ones with FUZZ_FIRST=NUMBER
	$(BIN)/python -m tests.support.fuzz pictures --first $(FUZZ_FIRST) --count $(FUZZ_COUNT)
	$(BIN)/python -m tests.support.fuzz weights --first $(FUZZ_FIRST) --count $$(($(FUZZ_COUNT) / 5))

faults: .venv/dev.stamp  ## what machines, disks and people do to a run, done on purpose: hours; writes docs/reliability.md
	$(BIN)/python -m tests.faults

launchers: .venv/dev.stamp .venv-launchers/stamp  ## what launchers print, read by the real tools of clouds and clusters; minutes
	$(BIN)/python -m tests.support.launch_tools
	LAUNCHERS=1 $(BIN)/python -m pytest tests/launch -rs -n 0

format: .venv/dev.stamp  ## mend what lint and format can mend, and write docs/api.md from docstrings
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/python docs/write_api.py

clean:  ## remove what make made
	rm -rf .venv .venv-light .venv-newest .venv-porting .venv-docs .venv-launchers .cache demo build *.egg-info
