# make demo    the main job from an empty machine: install, train, evaluate, learn a new alphabet, write a report
# make test    the whole test suite
# make check   style and types
# make results the figures of docs/results.md, from scratch (hours)
# make studies the figures of docs/studies.md (an hour)
# make bench   the figures of docs/performance.md, on this machine (an hour; leave it alone meanwhile)

PYTHON ?= python3
BIN := .venv/bin
ifneq ($(wildcard ../shared/data),)
export QUICKSTUDY_DATA ?= $(abspath ../shared/data)
endif

.PHONY: demo test check format docs results studies bench clean
.DEFAULT_GOAL := demo

# Installing is the one step that needs the network; it runs again when what is installed changes.
.venv/installed: pyproject.toml constraints.txt
	@echo "Setting up .venv (PyTorch is a large package: this takes a minute or more) ..."
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[memory,cluster,report,dev]'
	@touch $@

demo: .venv/installed
	$(BIN)/quickstudy demo

test: .venv/installed
	$(BIN)/python -m pytest -q

check: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: .venv/installed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: .venv/installed
	$(BIN)/python -m quickstudy.runs.results
	$(BIN)/python -m benchmarks.page
	$(BIN)/python -m studies.page

results: .venv/installed
	$(BIN)/quickstudy reproduce all
	$(BIN)/python -m quickstudy.runs.results

.venv/bench: .venv/installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[bench]'
	@touch $@

.venv/studies: .venv/installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[select]'
	@touch $@

studies: .venv/studies
	$(BIN)/python -m studies
	$(BIN)/python -m studies.page

bench: .venv/bench
	$(BIN)/python -m benchmarks
	$(BIN)/python -m benchmarks.page

clean:
	rm -rf .venv build dist *.egg-info src/*.egg-info .pytest_cache .mypy_cache .ruff_cache
