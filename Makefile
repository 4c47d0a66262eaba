# Everything is set up in .venv by Python's own venv and pip; nothing else is touched.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.DEFAULT_GOAL := help
ARGS ?= # make bench ARGS=--quick
FILE ?= # make demo FILE=access.log sends the lines of a file
.PHONY: help demo test test-lowest interop soak soak-consumer check bench proto clean

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

# Local Kinesis and DynamoDB servers for the tests; where npm is missing, the tests that need them are skipped.
NODE := tests/node/node_modules/.package-lock.json
$(NODE): tests/node/package-lock.json
	@if command -v npm >/dev/null; then npm ci --silent --no-audit --no-fund --prefix tests/node; \
	else echo "npm is not here: tests against kinesalite, kinesis-local and dynalite will be skipped"; fi

test: $(BIN)/shardpack $(NODE) ## set everything up and run the tests
	$(BIN)/python -m pytest

# Where Java or Maven is missing, it says so and exits with 77.
interop: $(BIN)/shardpack $(NODE) ## prove it against the real KPL and KCL; make interop ARGS="-k aggregator"
	PYTHON=$(CURDIR)/$(BIN)/python tests/interop/run $(ARGS)

RECORDS ?= 200000
soak: $(BIN)/shardpack $(NODE) ## put 200,000 user records while everything goes wrong; make soak RECORDS=5000 ARGS="--hash-keys kpl"
	$(BIN)/python tests/soak_producer.py --records $(RECORDS) $(ARGS)

soak-consumer: $(BIN)/shardpack $(NODE) ## kill the processes of a fleet of consumers; make soak-consumer ARGS="--store dynalite"
	$(BIN)/python tests/soak_consumer.py $(ARGS)

check: $(BIN)/ruff ## lint and type checks
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

# "protobuf>=3.20.2" becomes "protobuf==3.20.2"; the demo's server is left out, because it wants the newest boto3.
LOWEST := .venv-lowest
test-lowest: $(NODE) ## run the tests with the lowest version of each dependency that pyproject.toml allows
	$(PYTHON) -m venv $(LOWEST)
	$(LOWEST)/bin/python -m pip install --quiet --upgrade 'pip>=25.1'
	sed -nE '/^\[dependency-groups\]/q; s/.*"([a-z0-9]+)>=([0-9.]+)".*/\1==\2/p' pyproject.toml | grep -v ministack > $(LOWEST)/lowest.txt
	$(LOWEST)/bin/python -m pip install --quiet --editable '.[aws,cli,testing]' --group test -c $(LOWEST)/lowest.txt
	$(LOWEST)/bin/python -m pytest $(ARGS)

BENCH := .venv-bench
bench: $(BENCH)/bin/shardpack ## compare speed with the peers, all in one run
	$(BENCH)/bin/python benchmarks/bench_codec.py $(ARGS)
	$(BENCH)/bin/python benchmarks/bench_import.py $(ARGS)
	$(BENCH)/bin/python benchmarks/bench_consumer.py $(ARGS)

# A venv of its own: the peers' dependencies and the local Kinesis server's exclude each other.
$(BENCH)/bin/shardpack: pyproject.toml
	$(PYTHON) -m venv $(BENCH)
	$(BENCH)/bin/python -m pip install --quiet --upgrade 'pip>=25.1'
	$(BENCH)/bin/python -m pip install --quiet --editable '.[async,aws,cli]' --group bench
	@touch $@

proto: $(BIN)/shardpack ## regenerate src/shardpack/wire/_generated from proto/kpl.proto
	$(BIN)/protoc -Ishardpack/wire/_generated=proto --python_out=src --pyi_out=src shardpack/wire/_generated/kpl.proto

clean: ## remove what make has made
	rm -rf $(VENV) $(LOWEST) $(BENCH) build dist *.egg-info src/*.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis tests/node/node_modules tests/interop/java/*/target
