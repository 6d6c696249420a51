# What a contributor runs. TORCH takes any pip arguments that install a PyTorch build. The default is whatever pip
# finds: on stock PyPI and Linux x86 the CUDA build, gigabytes of packages. For the CPU build:
#   make install TORCH="torch==2.13.0 --index-url https://download.pytorch.org/whl/cpu"
PYTHON ?= python3
TORCH ?= torch==2.13.0
BIN := .venv/bin

.DEFAULT_GOAL := help
.PHONY: help install demo test test-slow test-slurm test-slurm-sample check clean

help: ## list the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 20

install: .venv/installed ## make .venv with everything; does nothing when pyproject.toml is unchanged

# The PyTorch build comes first and by itself, so that no dependency chooses another one.
.venv/installed: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet $(TORCH)
	$(BIN)/pip install --quiet --editable '.[dev]'
	touch $@

demo: install ## train a small model, delete sources from it and show what is left, in demo-out
	$(BIN)/python tools/demo.py --out demo-out

test: install ## the tests that every change must pass
	$(BIN)/python -m pytest

test-slow: install ## the tests that take longer
	$(BIN)/python -m pytest -m 'slow and not slurm'

test-slurm: install ## the jobs of slurm/ on a throw-away Slurm of this machine (Debian or Ubuntu; root installs it)
	$(BIN)/python -m pytest -m slurm tests/slurm

test-slurm-sample: install ## the shorter ones of them
	$(BIN)/python -m pytest -m 'slurm and not slow' tests/slurm

check: install ## style, types, layers, spelling, shell scripts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/codespell
	@command -v shellcheck >/dev/null || { echo 'shellcheck is missing: apt-get install shellcheck' >&2; exit 1; }
	shellcheck --external-sources slurm/*.sh tests/slurm/*.sh .ci/run

clean: ## remove caches and demo-out; .venv stays
	rm -rf build dist demo-out *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find nulls_dist data_prep tools tests -name __pycache__ -type d -prune -exec rm -rf {} +
