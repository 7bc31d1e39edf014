# Everything a fresh machine needs is Python 3.11 or newer with its venv module, make and git.
# Settings, on the command line: VENV=… PYTHON=… PIPELINE=… PARAMS=key=value,… ARGS="…"

VENV ?= .venv
PYTHON ?= python3
BIN := $(VENV)/bin
STAMP := $(VENV)/.made-from-lock

.DEFAULT_GOAL := help
.PHONY: help setup run test test-fast lint format bench viz ui lab hooks lock clean clean-runs clean-venv

help: ## List these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-11s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

setup: $(STAMP) ## Make the environment .venv (VENV=… elsewhere, PYTHON=… which Python)

# Only these two files say what is installed; sources are used in place (an editable install).
$(STAMP): pyproject.toml constraints.txt
	@if ! test -x $(BIN)/pip; then \
		$(PYTHON) -c '' 2>/dev/null || \
			{ echo "No Python found as '$(PYTHON)': install Python 3.11 or newer, or name one with PYTHON=…" >&2; exit 1; }; \
		$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
			{ echo "Python 3.11 or newer is needed, '$(PYTHON)' is older: name another, such as PYTHON=python3.11" >&2; exit 1; }; \
		$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
			{ echo "'$(PYTHON)' cannot make virtual environments: install its venv module, e.g. apt install python3-venv" >&2; exit 1; }; \
		$(PYTHON) -m venv $(VENV); \
	fi
	@echo "Setting up $(VENV) (several GB with PyTorch, some minutes, once) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

run: $(STAMP) ## Run the project (PIPELINE=disent PARAMS=dataset=cmnist,percent=1pct ARGS=…)
	$(BIN)/kedro run $(if $(PIPELINE),--pipeline='$(PIPELINE)') $(if $(PARAMS),--params='$(PARAMS)') $(ARGS)

# One process per core, of which each computes with one thread. Compiled files are kept, also where
# the environment says otherwise: without them each of the many processes compiles all sources.
TEST := OMP_NUM_THREADS=1 PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -n logical --maxprocesses=8 --dist=worksteal

test: $(STAMP) ## Run all tests (ARGS="-k name")
	$(TEST) $(ARGS)

test-fast: $(STAMP) ## Run the tests that need no other process, browser, cluster or notebook
	$(TEST) -m "not slow" $(ARGS)

lint: $(STAMP) ## Check style, types and the direction of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(STAMP) ## Mend style where a tool can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(STAMP) ## Measure speed (ARGS=…)
	$(BIN)/python -m benchmarks $(ARGS)

viz: $(STAMP) ## Show the pipelines in a browser (Kedro-Viz)
	$(BIN)/kedro viz run $(ARGS)

ui: $(STAMP) ## Show the tracked runs in a browser (MLflow)
	$(BIN)/mlflow ui --backend-store-uri sqlite:///mlflow.db $(ARGS)

lab: $(STAMP) ## Open the notebooks in JupyterLab
	$(BIN)/jupyter lab notebooks/ $(ARGS)

hooks: $(STAMP) ## Check every git commit with pre-commit
	$(BIN)/pre-commit install

lock: ## Remake constraints.txt with the newest versions that fit
	$(PYTHON) .ci/lock.py

clean: ## Remove caches and build leftovers, never data or the environment
	rm -rf build dist src/*.egg-info .coverage .viz
	rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find $(wildcard src tests benchmarks .ci notebooks) \( -name __pycache__ -o -name .ipynb_checkpoints \) -prune -exec rm -rf {} +

clean-runs: ## Remove all that runs made: checkpoints, reports, MLflow's records; raw data stays
	rm -rf mlflow.db mlflow.db-* mlruns mlartifacts mlflow_pending sessions info.log
	find $(wildcard data) -path 'data/0[2-9]_*' -type f ! -name .gitkeep -delete
	find $(wildcard data) -path 'data/0[2-9]_*/*' -type d -empty -delete

# The stamp tells an environment of this project from one that VENV=… merely points at.
clean-venv: ## Remove the environment
	@test ! -e $(VENV) || test -e $(STAMP) || { echo "$(VENV) was not made by 'make setup': left alone" >&2; exit 1; }
	rm -rf $(VENV)
