# Requirements: Python 3.11 or newer with the module venv, make and git.
# Variables, set on the command line: VENV=… PYTHON=… PIPELINE=… PARAMS=key=value,… ARGS="…"

VENV ?= .venv
PYTHON ?= python3
BIN := $(VENV)/bin
STAMP := $(VENV)/.made-from-lock

.DEFAULT_GOAL := help
.PHONY: help setup run test test-fast coverage lint format bench viz ui lab hooks docs docs-serve lock clean clean-runs clean-venv

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-11s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

setup: $(STAMP) ## Create the environment .venv (VENV=path, PYTHON=interpreter)

# These two files determine what is installed; the project itself is an editable install.
$(STAMP): pyproject.toml constraints.txt
	@if ! test -x $(BIN)/pip; then \
		$(PYTHON) -c '' 2>/dev/null || \
			{ echo "PYTHON='$(PYTHON)' was not found; install Python 3.11 or newer, or set PYTHON=…" >&2; exit 1; }; \
		$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
			{ echo "PYTHON='$(PYTHON)' is older than Python 3.11; use a newer one, e.g. PYTHON=python3.11" >&2; exit 1; }; \
		$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
			{ echo "PYTHON='$(PYTHON)' has no module venv; install it, e.g. apt install python3-venv" >&2; exit 1; }; \
		$(PYTHON) -m venv $(VENV); \
	fi
	@echo "Setting up $(VENV) (several GB with PyTorch, some minutes, once) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

run: $(STAMP) ## Run the project (PIPELINE=disent PARAMS=dataset=cmnist,percent=1pct ARGS=…)
	$(BIN)/kedro run $(if $(PIPELINE),--pipeline='$(PIPELINE)') $(if $(PARAMS),--params='$(PARAMS)') $(ARGS)

# One process per core; each computes with one thread. Compiled files are kept, also where
# the environment says otherwise: without them each of the many processes compiles all sources.
TEST := OMP_NUM_THREADS=1 PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -n logical --maxprocesses=8 --dist=worksteal

test: $(STAMP) ## Run all tests (ARGS="-k name")
	$(TEST) $(ARGS)

test-fast: $(STAMP) ## Run the tests without real processes, browsers, clusters and notebooks
	$(TEST) -m "not slow" $(ARGS)

coverage: $(STAMP) ## Run all tests and print which lines of src/ they execute
	$(TEST) --cov --cov-report=term:skip-covered $(ARGS)

lint: $(STAMP) ## Check style, types and import rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(STAMP) ## Format the code and fix style errors
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(STAMP) ## Measure speed and memory, up to 10 minutes (ARGS=--quick: about 1 minute)
	$(BIN)/python -m benchmarks $(ARGS)

viz: $(STAMP) ## Show the pipelines in a browser (Kedro-Viz)
	$(BIN)/kedro viz run --include-hooks $(ARGS)

ui: $(STAMP) ## Show the tracked runs in a browser (MLflow)
	$(BIN)/mlflow ui --backend-store-uri sqlite:///mlflow.db $(ARGS)

lab: $(STAMP) ## Open the notebooks in JupyterLab
	$(BIN)/jupyter lab notebooks/ $(ARGS)

# Sample reports are made once, until `make clean`; they need minutes, the site seconds.
SAMPLE_REPORTS := build/sample_reports/made_by.txt

$(SAMPLE_REPORTS): | $(STAMP)
	$(BIN)/python docs/sample_reports.py $(dir $@)

docs: $(STAMP) $(SAMPLE_REPORTS) ## Build the documentation site in site/
	$(BIN)/mkdocs build --strict $(ARGS)

docs-serve: $(STAMP) $(SAMPLE_REPORTS) ## Show the documentation site in a browser, and update it on changes
	$(BIN)/mkdocs serve $(ARGS)

hooks: $(STAMP) ## Install the pre-commit checks of git commits
	$(BIN)/pre-commit install

lock: ## Update constraints.txt to the newest compatible versions
	$(PYTHON) .ci/lock.py

clean: ## Remove caches and build files, but no data and not the environment
	rm -rf build dist site src/*.egg-info .coverage .viz
	rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find $(wildcard src tests benchmarks .ci notebooks) \( -name __pycache__ -o -name .ipynb_checkpoints \) -prune -exec rm -rf {} +

clean-runs: $(if $(KEEP),$(STAMP)) ## Remove what runs made, but no raw data; with KEEP=3 only results older than the newest 3
ifdef KEEP
	$(BIN)/kedro clean-runs --keep '$(KEEP)' $(ARGS)
else
	rm -rf mlflow.db mlflow.db-* mlruns mlartifacts mlflow_pending sessions info.log
	find $(wildcard data) -path 'data/0[2-9]_*' -type f ! -name .gitkeep -delete
	find $(wildcard data) -path 'data/0[2-9]_*/*' -type d -empty -delete
endif

# Only environments that `make setup` created have the stamp; others are not removed.
clean-venv: ## Remove the environment
	@test ! -e $(VENV) || test -e $(STAMP) || { echo "$(VENV) was not created by 'make setup'; remove it yourself" >&2; exit 1; }
	rm -rf $(VENV)
