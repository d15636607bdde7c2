# `make demo` and `make test` are all a newcomer needs; `make` alone lists the rest.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

VENV := .venv
BIN := $(VENV)/bin
BENCH_VENV := .venv-bench

# JupyterLab refuses to run as root unless told.
ROOT_FLAG := $(if $(filter 0,$(shell id -u)),--allow-root)

# One nbval item a cell: it runs and prints what the committed notebook shows.
NBVAL := --nbval --nbval-current-env --nbval-cell-timeout=120 \
  --nbval-sanitize-with nbval_sanitize.cfg
FAST := not process and not notebook and not browser and not slow

.PHONY: help
help: ## List these commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: demo
demo: $(VENV)/.stamp-notebook ## Analyse 336,776 flights serially and in parallel; HTML in out/
	@$(BIN)/python -m tools.demo

.PHONY: lab
lab: $(VENV)/.stamp-notebook ## Open the gallery of notebooks in JupyterLab
	$(BIN)/jupyter lab $(ROOT_FLAG) --KernelManager.transport=ipc notebooks/quickstart.ipynb

.PHONY: test
test: lint chromium ## Everything, fast to slow: lint, types, tests, notebooks, browser
	PARALLAX_NONINTERACTIVE=1 $(BIN)/pytest $(NBVAL) tests notebooks

.PHONY: test-fast
test-fast: $(VENV)/.stamp-test ## What needs no process of its own: under a minute
	$(BIN)/ruff format --check --quiet .
	$(BIN)/ruff check --quiet .
	$(BIN)/pytest -m "$(FAST)" tests

N := 10000
.PHONY: schedules
schedules: $(VENV)/.stamp-test ## Run N=10000 random schedules of faults against the core
	@$(BIN)/python -m parallax.testing $(N)

.PHONY: lint
lint: $(VENV)/.stamp-test ## Format, lint and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy --strict

.PHONY: format
format: $(VENV)/.stamp-test ## Format the code and mend what ruff can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

.PHONY: notebooks
notebooks: $(VENV)/.stamp-test ## Run the notebooks of the gallery and store their outputs
	@PARALLAX_NONINTERACTIVE=1 $(BIN)/python -m tools.store_outputs

.PHONY: bench
bench: $(BENCH_VENV)/.stamp ## Measure Parallax and its peers; writes docs/benchmarks.md
	@# As installed packages are, whatever the environment says of writing bytecode.
	@$(BENCH_VENV)/bin/python -m compileall -q parallax benchmarks
	$(BENCH_VENV)/bin/python -m benchmarks --write docs/benchmarks.md

SEEDS := 100
MINUTES := 10

.PHONY: chaos
chaos: $(VENV)/.stamp-test ## Real pools in storms, as many as SEEDS=100 says of each kind
	$(BIN)/pytest -s -m seeds --seeds $(SEEDS) tests/pool

.PHONY: soak
soak: $(VENV)/.stamp-test ## Work a pool hard for MINUTES=10: does anything grow?
	$(BIN)/python -m tools.soak --minutes $(MINUTES)

.PHONY: clean
clean: ## Remove outputs and caches
	rm -rf out dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -not -path './.venv*' -prune -exec rm -rf {} +

.PHONY: distclean
distclean: clean ## Remove the virtual environments too
	rm -rf $(VENV) $(BENCH_VENV)

.PHONY: chromium
chromium: $(VENV)/.stamp-test
	@tools/chromium.sh

# A stamp says: installed since pyproject.toml last changed.
$(VENV)/.stamp-uv: tools/bootstrap.sh
	@tools/bootstrap.sh $(VENV)
	@touch $@

$(VENV)/.stamp-notebook: pyproject.toml $(VENV)/.stamp-uv
	@echo "installing parallax and what its notebooks need into $(VENV)"
	@$(BIN)/uv pip install --quiet --python $(BIN)/python -e ".[notebook]"
	@touch $@

$(VENV)/.stamp-test: pyproject.toml $(VENV)/.stamp-uv
	@echo "installing parallax and what its tests need into $(VENV)"
	@$(BIN)/uv pip install --quiet --python $(BIN)/python -e ".[dev]"
	@rm -rf .mypy_cache # it remembers what could not be imported
	@touch $@ $(VENV)/.stamp-notebook

$(BENCH_VENV)/.stamp: pyproject.toml tools/bootstrap.sh
	@tools/bootstrap.sh $(BENCH_VENV)
	@echo "installing parallax and its peers into $(BENCH_VENV)"
	@$(BENCH_VENV)/bin/uv pip install --quiet --compile-bytecode \
	  --python $(BENCH_VENV)/bin/python -e ".[bench]"
	@touch $@
