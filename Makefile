# Everything here needs only Python >= 3.11 with venv, and make, on Linux; the rest is set up on the
# first use and left alone afterwards.

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:
# Bytecode is kept in here whatever the caller's shell says: tests start hundreds of processes, and
# each would compile everything anew.
unexport PYTHONDONTWRITEBYTECODE

VENV := .venv
BIN := $(VENV)/bin
RUNTIME := $(VENV)/.runtime
DEV := $(VENV)/.dev
GENERATOR := .venv-proto
# The generator is older than the runtime on purpose: docs/decisions/0003-generated-code.md.
GENERATOR_PACKAGES := grpcio-tools==1.74.0 'setuptools<81'
PIP := -m pip --disable-pip-version-check
WORKERS ?= 2
SEEDS ?= 0:100

# The first of these that runs and is new enough. `make PYTHON=python3.13 test` chooses another.
PYTHON ?= $(shell for name in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$name -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$name && break; done)

# What a change to any of these may bring is installed again; nothing else is ever upgraded.
INPUTS := pyproject.toml client/pyproject.toml client/setup.py $(wildcard client/native/*) constraints.txt

.PHONY: help demo cluster-test test proof lint format types layers sim bench bench-full proto dist ci clean

help: ## show this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1\t\2/p' $(MAKEFILE_LIST) | \
		while IFS=$$'\t' read -r name text; do printf '  make %-13s %s\n' "$$name" "$$text"; done

demo: $(RUNTIME) ## produce, consume and replay records of this machine, through the CLI
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m tools.demo

cluster-test: $(RUNTIME) ## the demo on three containers, one of them killed; skips where it cannot
	$(BIN)/python -m tools.cluster_test

test: lint types layers ## every check and every test once, about 11 minutes on 2 cores
	$(BIN)/python -m pytest -q -n $(WORKERS) --dist loadgroup

proof: $(DEV) ## everything at full size, for hours; writes docs/proof.md
	$(BIN)/python -m tools.proof $(if $(ONLY),--only $(ONLY))

lint: $(DEV) ## ruff, and the formatting
	$(BIN)/ruff check
	$(BIN)/ruff format --check

format: $(DEV) ## let ruff mend what it can
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

types: $(DEV) ## mypy --strict on everything, pyright on what users type
	$(BIN)/mypy
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/pyright --pythonpath $(BIN)/python

layers: $(DEV) ## who may import whom
	$(BIN)/lint-imports --no-cache

sim: $(DEV) ## the simulation alone, SEEDS=0:100 (or the one that failed)
	$(BIN)/python -m tests.sim.run --seeds $(SEEDS)

bench: $(DEV) ## this project beside its peers, which it installs for itself, in about 12 minutes
	$(BIN)/python -m bench

bench-full: $(DEV) ## the same with every setting, for an hour or two, and what grows with size
	$(BIN)/python -m bench --full
	$(BIN)/python -m bench.growth

proto: $(GENERATOR)/.ready ## generate client/logd_proto from proto/
	$(GENERATOR)/bin/python tools/gen_proto.py

dist: $(DEV) ## build both wheels into dist/
	$(BIN)/python -m tools.dist --out dist

ci: ## what CI runs, in a fresh clone of the last commit
	@clone=$$(mktemp -d) && trap 'rm -rf "$$clone"' EXIT && \
		git clone --quiet . "$$clone/logd" && "$$clone/logd/.ci/run"

clean: ## remove everything that make made, the environments included
	rm -rf $(VENV) $(GENERATOR) build dist client/build bench/results
	rm -rf .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	rm -rf logd.egg-info client/logd_client.egg-info client/logd_wire/*.so
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# --- environments -------------------------------------------------------------------------------

# One environment, two states: what a user installs, and with the tools on top.

$(BIN)/python:
	@test "$$(uname -s)" = Linux || { echo "logd runs on Linux; this is $$(uname -s)"; exit 1; }
	@test -n "$(PYTHON)" || { echo "no Python >= 3.11 found; name one: make PYTHON=/path/to/python3"; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' || { echo "$(PYTHON) has no venv; on Debian: apt-get install python3-venv"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(RUNTIME): $(INPUTS) | $(BIN)/python
	$(BIN)/python $(PIP) install --quiet -c constraints.txt -e client -e .
	@touch $@

$(DEV): $(INPUTS) | $(BIN)/python
	$(BIN)/python $(PIP) install --quiet -c constraints.txt -e client -e '.[dev]'
	@touch $(RUNTIME) $@

$(GENERATOR)/.ready: Makefile | $(BIN)/python
	$(PYTHON) -m venv $(GENERATOR)
	$(GENERATOR)/bin/python $(PIP) install --quiet $(GENERATOR_PACKAGES)
	@touch $@
