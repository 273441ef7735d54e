# Every target sets up what it needs. On a fresh machine with Python 3.11: `make demo` and `make test`.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
SETUP := $(VENV)/.set-up

.DEFAULT_GOAL := help
.PHONY: help setup system demo test lint unit faults bench docs lock clean

help: ## Say what there is to make
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /  make \1\t/' | expand -t 16

setup: $(SETUP) ## Set up the environment in .venv from the hashed lock file

$(SETUP): requirements.lock infra/pip.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || { echo 'Python 3.11 is needed; name it with make PYTHON=/path/to/python3.11'; exit 3; }
	@rm -rf $(VENV) && $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --only-binary :all: -r infra/pip.lock
	@echo 'Installing the locked dependencies (about 200 packages, a minute or two) ...'
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --only-binary :all: -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

system: ## Install the system packages that the tests need, where missing and possible
	@infra/system-packages postgresql libreoffice-calc chromium openssh-client

demo: $(SETUP) ## Run the whole way once: sample fund, Airflow, two releases; again changes nothing
	@$(BIN)/python -m infra.demo

test: $(SETUP) system lint ## Lint, type check, import contracts, and all tests
	@$(BIN)/python -m pytest -n auto --dist loadscope -m 'not faults and not bench'

lint: $(SETUP)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo
	@$(BIN)/cfn-lint infra/aws/*.yaml
	@$(BIN)/yamllint --strict -d '{extends: default, rules: {line-length: {max: 150}, document-start: disable}}' infra

unit: $(SETUP) ## The quick tests only
	@$(BIN)/python -m pytest tests/unit tests/property

faults: $(SETUP) system ## The long fault-injection suites
	@$(BIN)/python -m pytest -m faults tests

bench: $(SETUP) ## The performance figures, as ratios measured in one run
	@$(BIN)/python -m pytest -m bench tests/benchmarks -s

docs: $(SETUP) ## Write the generated reference under docs/reference/
	@$(BIN)/python docs/build_reference.py

lock: $(SETUP) ## Resolve the dependencies anew (needs uv)
	uv pip compile pyproject.toml --extra airflow --extra dev --python-version 3.11 --generate-hashes --no-emit-index-url --no-header -q -o requirements.lock

clean: ## Remove the environment, caches and the demo's workspace
	rm -rf $(VENV) .demo .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
