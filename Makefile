# `make help` lists the targets. Nothing here needs root but the system packages of `make test`.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
JOBS ?= 2
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.PHONY: help install demo test lint types tests defences system-packages clean \
  bench-intake bench-start bench-pipeline kills-intake soak fuzz-intake

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: $(INSTALLED) ## Make .venv and install dictamen there, in the tested versions

$(INSTALLED): pyproject.toml constraints.txt scripts/system-packages
	@scripts/system-packages install "$(PYTHON)"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -c constraints.txt -e '.[explain,train,postgres,dev]'
	@touch $@

demo: $(INSTALLED) ## Show the whole way on synthetic patients, on this machine alone
	$(BIN)/dictamen demo

test: $(INSTALLED) system-packages lint types tests ## Everything that CI runs

system-packages: ## Install what the tests need of the system, or name it and stop
	@scripts/system-packages test

lint: $(INSTALLED) ## Style, form and direction of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: $(INSTALLED) ## mypy, strict
	$(BIN)/mypy

# DICTAMEN_SYSTEM: the peers are installed, so their tests fail instead of being skipped
tests: $(INSTALLED) ## The tests alone
	DICTAMEN_SYSTEM=1 $(BIN)/pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder $(PYTEST_ARGS)

defences: $(INSTALLED) ## Switch each defence off and see its test fail (minutes)
	$(BIN)/python scripts/defences.py --jobs $(JOBS)

bench-intake: $(INSTALLED) ## Our intake beside pynetdicom, DCMTK, Orthanc and the bare disk (minutes)
	$(BIN)/python tests/benchmarks/intake_rates.py --json docs/evidence/intake.json $(BENCH_ARGS) \
	  || missed=$$?; \
	$(BIN)/python tests/benchmarks/intake_floors.py --write docs/evidence/intake.md; \
	exit $${missed:-0}

bench-start: $(INSTALLED) ## Seconds until a started node answers C-ECHO
	$(BIN)/python tests/benchmarks/node_start.py

kills-intake: $(INSTALLED) ## SIGKILL in flight, 20 times: is all that was answered there? (minutes)
	$(BIN)/python tests/benchmarks/intake_kills.py $(KILLS_ARGS)

bench-pipeline: $(INSTALLED) ## From the last byte to the result in the PACS (needs DICTAMEN_SHARED)
	$(BIN)/python tests/benchmarks/pipeline_road.py --json docs/evidence/road.json \
	  $(PIPELINE_ARGS) || missed=$$?; \
	$(BIN)/python tests/benchmarks/road_table.py --write docs/evidence/road.md > /dev/null; \
	exit $${missed:-0}

soak: $(INSTALLED) ## The intake under half its peak for an hour: does anything grow?
	$(BIN)/python tests/benchmarks/intake_soak.py --picture soak.png $(SOAK_ARGS)

fuzz-intake: $(INSTALLED) ## Bytes with accidents at both doors, half an hour
	$(BIN)/python tests/benchmarks/intake_fuzz.py $(FUZZ_ARGS)

clean: ## Remove what was made here, .venv too
	rm -rf $(VENV) build dist ./*.egg-info .mypy_cache .ruff_cache .pytest_cache \
	  .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
