# Everything runs in .venv, made from pyproject.toml with the versions pinned in constraints.txt.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

# Real recordings, where they are at hand; tests and benchmarks that need them skip without.
EARSHOT_DATA ?= $(wildcard $(abspath ../shared/data))
export EARSHOT_DATA

.PHONY: help demo test slow lint types check bench docs clean

help:  ## list the targets
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/'

$(VENV)/core: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) torch
	$(PIP) --editable .
	touch $@

$(VENV)/dev: $(VENV)/core
	$(PIP) --editable ".[all,dev]"
	touch $@

demo: $(VENV)/core  ## install, then synthesise, train, report and predict
	$(BIN)/earshot demo

test: $(VENV)/dev  ## the whole suite but the slow tests
	$(BIN)/python -m pytest -n 2 -m "not slow"

slow: $(VENV)/dev  ## the slow tests
	$(BIN)/python -m pytest -m slow

lint: $(VENV)/dev  ## style and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/dev  ## strict types
	$(BIN)/mypy

check: lint types test  ## what a change must pass

bench: $(VENV)/dev  ## the tables of bench/RESULTS.md
	$(BIN)/python -m bench

docs: $(VENV)/dev  ## regenerate the command reference
	$(BIN)/python docs/make_cli.py

clean:  ## remove the environment and caches
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache
