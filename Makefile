# Mastery's commands; `make` alone lists them.

LEARNERS ?= 4000
PYTEST_ARGS ?=
IMAGE ?= mastery
GPU ?=
NOTEBOOK ?=

# GPU=1 adds CUDA's libraries to .venv, GPU=0 removes them; without either, .venv stays as it is.
GPU_OPTION := $(if $(GPU),$(or $(if $(filter 1,$(GPU)),--gpu),$(if $(filter 0,$(GPU)),--no-gpu), \
	$(error Expected GPU=1 or GPU=0, found GPU=$(GPU))))

# The Python that .venv was made from, or else the first on PATH that Mastery supports.
IS_SUPPORTED := import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))
PYTHON ?= $(or $(shell for python in "$$(sed -n 's/^executable = //p' .venv/pyvenv.cfg 2>/dev/null)" python3 python3.13 python3.12 python3.11; do \
	"$$python" -c '$(IS_SUPPORTED)' 2>/dev/null && echo "$$python" && break; done), \
	$(error Expected Python 3.11, 3.12 or 3.13 on PATH, found none. Install one, or give its path: make setup PYTHON=/path/to/python3))
BIN := .venv/bin
COMPILE = $(BIN)/uv pip compile pyproject.toml --quiet --no-config --universal --python-version 3.11 \
	--generate-hashes --no-emit-index-url --no-emit-find-links --custom-compile-command "make lock"

# As many processes as cores, at most four; all tests of a file run in the same process.
EVERY_TEST := --numprocesses auto --maxprocesses 4 --dist loadscope --no-loadscope-reorder

.DEFAULT_GOAL := help
.PHONY: help setup run demo sample test coverage lint format docs lock image clean

help:  ## List the commands.
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup:  ## Make or update the environment in .venv, for training on a GPU too with GPU=1.
	@$(PYTHON) -m pipeline.environment.setup$(if $(GPU_OPTION), $(GPU_OPTION))

run: sample  ## Run the whole pipeline on a simulated log.
	$(BIN)/mastery run --config configs/sample.yaml

demo: sample  ## Show a term on the board: a model of the sample, four weeks of answers and alerts.
	$(BIN)/mastery run --config configs/sample.yaml
	$(BIN)/mastery demo --config configs/sample.yaml

sample: setup  ## Simulate the log that run reads (LEARNERS=4000).
	@$(BIN)/mastery simulate --learners $(LEARNERS) --seed 1 --out sample --overwrite

test: lint  ## Check the code and run every test (PYTEST_ARGS="-k join" for some).
	$(BIN)/python -m pytest $(or $(PYTEST_ARGS),$(EVERY_TEST))

coverage: setup  ## Run every test and measure which lines they run, which takes twice as long.
	$(BIN)/python -m pytest $(EVERY_TEST) --cov

lint: setup  ## Check style, types and the direction of imports.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: setup  ## Format the code.
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: setup  ## Rewrite the references of both configuration files, and of the formats of logs.
	$(BIN)/python -m components.config.reference docs/configuration.md
	$(BIN)/python -m components.platforms.reference docs
	$(BIN)/python -m serving.answers.settings docs/answers-configuration.md

lock: setup  ## Rewrite both lock files from pyproject.toml, keeping versions where possible.
	$(COMPILE) --group dev --extra notebook --output-file requirements.lock
	$(COMPILE) --extra gpu --constraints requirements.lock --output-file requirements-gpu.lock \
		$$(sed -n 's/^\([a-z0-9-]*\)==.*/--no-emit-package \1/p' requirements.lock | sort -u)
	sed -i.old '/^$$/,$$d' requirements-gpu.lock && rm requirements-gpu.lock.old  # drops the list of packages left to requirements.lock

image:  ## Build the container image (IMAGE=mastery); GPU=1: for GPUs (mastery-gpu); NOTEBOOK=1: with JupyterLab (mastery-notebook).
	docker build --tag $(IMAGE)$(if $(filter 1,$(GPU)),-gpu --build-arg GPU=1)$(if $(filter 1,$(NOTEBOOK)),-notebook --target notebook --build-arg NOTEBOOK=1) .

clean:  ## Remove the sample log and the tools' caches; .venv and runs stay.
	rm -rf sample build .coverage* .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
