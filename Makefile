# Everything is set up on first use, in .venv, and never twice. `make` alone says what there is.
# Any Python from 3.11 on does; another one is chosen with `make PYTHON=python3.12 …`.

PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11 python3.14; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	&& echo $$python && break; done)
BIN := .venv/bin

.PHONY: help demo test lint mutants bench ready ready-dev
.DEFAULT_GOAL := help

help:
	@echo "make demo     two phone calls on this machine, with local speech and no key"
	@echo "make test     every test"
	@echo "make lint     style, types and layers"
	@echo "make mutants  do the tests notice when turns, playout or walk are broken?"
	@echo "make bench    speed and accuracy, measured here"

demo: ready
	@$(BIN)/flowengine demo

test: ready-dev
	@$(BIN)/python -m pytest

lint: ready-dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy flowengine tests
	$(BIN)/lint-imports --no-logo

mutants: ready-dev
	@$(BIN)/python scripts/mutants.py

bench: ready-dev
	@for bench in $$(grep -l __main__ bench/*.py); do name=$$(basename $$bench .py); echo "== $$name"; $(BIN)/python -m bench.$$name || exit 1; done

ready:
	@$(if $(PYTHON),,echo "No Python 3.11 or newer was found: install python3 and python3-venv."; exit 1;) \
	$(PYTHON) scripts/set_up.py run

ready-dev:
	@$(if $(PYTHON),,echo "No Python 3.11 or newer was found: install python3 and python3-venv."; exit 1;) \
	$(PYTHON) scripts/set_up.py dev
