# Every task of the project; `make` alone prints them.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
JOBS   ?= 2
SOURCES := $(wildcard lepton_cc ir passes codegen runtime_c tests models examples benchmarks docs)

.DEFAULT_GOAL := help
.PHONY: help venv train demo quick test lint type fmt bench golden models docs dist clean check

help: ## print this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

$(STAMP): requirements-ci.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-ci.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps -e .
	@touch $@

venv: $(STAMP) ## make .venv from requirements-ci.lock

train: $(STAMP) ## add PyTorch to .venv, for lepton_cc.train and its tests
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-train.lock

demo: $(STAMP) ## compile a trained model for lepton-npu and run it on real digits
	$(BIN)/python examples/demo_digits.py

quick: $(STAMP) ## the tests that take seconds
	$(BIN)/python -m pytest -q -n $(JOBS) -m "not slow"

test: $(STAMP) ## every test
	$(BIN)/python -m pytest -q -n $(JOBS)

lint: $(STAMP) ## ruff, its formatting, and the direction of imports
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/lint-imports

type: $(STAMP) ## mypy --strict over code and tests
	$(BIN)/mypy

fmt: $(STAMP) ## format, and fix what ruff can fix
	$(BIN)/ruff check --fix $(SOURCES)
	$(BIN)/ruff format $(SOURCES)

bench: $(STAMP) ## measure compiled models on this machine
	$(BIN)/python -m benchmarks.run
	$(BIN)/python -m benchmarks.run --int8

golden: $(STAMP) ## rewrite the golden files, for review with git diff
	$(BIN)/python -m pytest -q tests --update-golden

docs: $(STAMP) ## write the pages that are made from the code
	$(BIN)/python -m docs.build

dist: $(STAMP) ## build the wheel
	rm -rf build dist
	$(BIN)/python -m pip wheel --quiet --no-build-isolation --no-deps --wheel-dir dist .

clean: ## remove everything that make wrote
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	rm -rf .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

check: lint type test ## what CI runs
