# Mastery's commands; `make` alone lists them.

LEARNERS ?= 4000
PYTEST_ARGS ?=
IMAGE ?= mastery

# The Python that .venv was made from, else the first on PATH that Mastery runs on.
IS_SUPPORTED := import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))
PYTHON ?= $(or $(shell for python in "$$(sed -n 's/^executable = //p' .venv/pyvenv.cfg 2>/dev/null)" python3 python3.13 python3.12 python3.11; do \
	"$$python" -c '$(IS_SUPPORTED)' 2>/dev/null && echo "$$python" && break; done), \
	$(error Expected Python 3.11, 3.12 or 3.13 on PATH, found none. Install one, or name it: make setup PYTHON=/path/to/python3))
BIN := .venv/bin

.DEFAULT_GOAL := help
.PHONY: help setup run sample test lint format docs lock image clean

help:  ## List the commands.
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup:  ## Make or update the environment in .venv; nothing else on the system changes.
	@$(PYTHON) -m pipeline.environment.setup

run: sample  ## Run the whole pipeline on a simulated log.
	$(BIN)/mastery run --config configs/sample.yaml

sample: setup  ## Simulate the log that run reads (LEARNERS=4000).
	@$(BIN)/mastery simulate --learners $(LEARNERS) --seed 1 --out sample --overwrite

test: lint  ## Check the code and run every test (PYTEST_ARGS="-k join" for some).
	$(BIN)/python -m pytest $(PYTEST_ARGS)

lint: setup  ## Check style, types and the direction of imports.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: setup  ## Put the code into its style.
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: setup  ## Write docs/configuration.md anew from the types.
	$(BIN)/python -m components.config.reference docs/configuration.md

lock: setup  ## Write requirements.lock anew from pyproject.toml; versions stay where they can.
	$(BIN)/uv pip compile pyproject.toml --group dev --output-file requirements.lock --quiet --no-config \
		--universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links \
		--custom-compile-command "make lock"

image:  ## Build the container image (IMAGE=mastery).
	docker build --tag $(IMAGE) .

clean:  ## Remove the sample log and what the tools left; .venv and runs stay.
	rm -rf sample build .coverage .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
