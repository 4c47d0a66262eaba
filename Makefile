# Everything is set up in .venv by Python's own venv and pip; nothing else is touched.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.DEFAULT_GOAL := help
FILE ?= # make demo FILE=access.log sends the lines of a file
.PHONY: help demo test check proto clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 14

$(BIN)/shardpack: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'
	$(BIN)/python -m pip install --quiet --editable '.[all]' --group test --group proto
	@touch $@

$(BIN)/ruff: pyproject.toml $(BIN)/shardpack
	$(BIN)/python -m pip install --quiet --group lint
	@touch $@

demo: $(BIN)/shardpack ## set everything up and run the main job against a local Kinesis server
	$(BIN)/shardpack demo $(FILE)

test: $(BIN)/shardpack ## set everything up and run the tests
	$(BIN)/python -m pytest

check: $(BIN)/ruff ## lint and type checks
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

proto: $(BIN)/shardpack ## regenerate src/shardpack/wire/_generated from proto/kpl.proto
	$(BIN)/protoc -Ishardpack/wire/_generated=proto --python_out=src --pyi_out=src shardpack/wire/_generated/kpl.proto

clean: ## remove what make has made
	rm -rf $(VENV) build dist *.egg-info src/*.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
