# Everything is set up in .venv by Python's own venv and pip; nothing else is touched. With Rust, the native core is built.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SHELL := /bin/bash

.DEFAULT_GOAL := help
ARGS ?= # make bench ARGS=--quick
FILE ?= # make demo FILE=access.log sends the lines of a file
RUST := src/rust
RUST_SOURCES := $(RUST)/Cargo.toml $(RUST)/Cargo.lock $(RUST)/build.rs $(shell find $(RUST)/src -name '*.rs')
CARGO := $(shell command -v cargo)
# SHARDPACK_BUILD_NATIVE=yes: the native core has to be built, and to be there.
NATIVE := SHARDPACK_NATIVE=$(if $(filter yes,$(SHARDPACK_BUILD_NATIVE)),1)
# pip compiles nothing when it installs: most of it is never imported. (pip takes 0 for yes here.)
export PIP_NO_COMPILE := 0
# Where this is set to something, each worker and each process that a test starts compiles all that it imports anew.
export PYTHONDONTWRITEBYTECODE :=
.PHONY: help demo test test-pure test-deep test-lowest test-newest test-pythons interop soak interrupts soak-consumer soak-spark soak-source test-ray interrupts-consumer fuzz check bench bench-arrow bench-threads density dist lint-workflows lint-examples docs docs-look docs-versions proto clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 14

INSTALL := -m pip install --quiet
TOGETHER := --constraint tests/tools/constraints.txt
# pyspark comes as source, 450 MB of archives: to compress them again for a wheel that is unpacked at once takes 10 s.
STORED := --config-settings=--build-option=--compression=stored
$(VENV)/pyvenv.cfg:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python $(INSTALL) --upgrade 'pip>=26.3'

# Cargo keeps one core busy; meanwhile the other installs what ours needs.
$(BIN)/shardpack: pyproject.toml setup.py tests/tools/constraints.txt $(RUST_SOURCES) | $(VENV)/pyvenv.cfg
	$(BIN)/python $(INSTALL) --no-deps --editable . & building=$$!; \
	$(BIN)/python $(INSTALL) $(TOGETHER) $(STORED) --group test --group house --group engines --group spark --group examples --group operating --group proto \
	  && $(BIN)/python $(INSTALL) $(TOGETHER) --only-deps '.[all]'; installed=$$?; wait $$building && exit $$installed
	@$(if $(CARGO),,echo "Rust (cargo) is not here, so the native core was not built:";) $@ --version
	@touch $@

$(BIN)/ruff: pyproject.toml $(BIN)/shardpack
	$(BIN)/python $(INSTALL) --group lint
	@touch $@

# What a newcomer needs and no more: a fifth of what the tests install.
DEMO := .venv-demo
$(DEMO)/bin/shardpack: pyproject.toml setup.py $(RUST_SOURCES)
	$(PYTHON) -m venv $(DEMO)
	$(DEMO)/bin/python $(INSTALL) --upgrade 'pip>=25.1'
	$(DEMO)/bin/python $(INSTALL) --editable '.[demo]'
	@touch $@

demo: $(DEMO)/bin/shardpack ## set it up and run the main job against a local Kinesis server
	$(DEMO)/bin/shardpack demo $(FILE)

# Local Kinesis and DynamoDB servers for the tests; where npm is missing, the tests that need them are skipped.
NODE := tests/tools/node/node_modules/.package-lock.json
$(NODE): tests/tools/node/package-lock.json
	@if command -v npm >/dev/null; then npm ci --silent --no-audit --no-fund --prefix tests/tools/node; \
	else echo "npm is not here: tests against kinesalite, kinesis-local and dynalite will be skipped"; fi

# More workers than two cores, because many a test waits for a server, a process or a clock. For the same reason what runs
# on the pure core runs meanwhile.
PARALLEL := --numprocesses 4 --dist worksteal
PURE_LOG := $(VENV)/test-pure.log
test: ## set everything up and run the tests, with both cores
	@$(MAKE) --no-print-directory --jobs=2 $(BIN)/shardpack $(NODE)
	@: >$(PURE_LOG)
	@$(MAKE) --no-print-directory --jobs=2 --keep-going test-native test-pure TO='>$(PURE_LOG) 2>&1'; status=$$?; \
	echo "the pure core:"; cat $(PURE_LOG); exit $$status

.PHONY: test-native
test-native: $(BIN)/shardpack $(NODE)
	$(NATIVE) $(BIN)/python -m pytest $(PARALLEL)

# What the core has a part in, once more with the other one; test-lowest runs all with it.
CODEC := tests/wire tests/unpacking tests/packing tests/compat tests/arrow/test_arrow.py tests/test_inspection.py tests/house/test_import.py
test-pure: $(BIN)/shardpack
	$(if $(CARGO),SHARDPACK_NATIVE=0 $(BIN)/python -m pytest $(PARALLEL:4=2) $(CODEC) $(TO),:)

test-deep: $(BIN)/shardpack $(NODE) ## the tests, with a hundred times as many examples and longer soaks; for the night
	HYPOTHESIS_PROFILE=long $(NATIVE) $(BIN)/python -m pytest $(PARALLEL) -o faulthandler_timeout=0 $(ARGS)

# Each Python that is claimed, brought here where it can be, in an environment of its own.
# make test-pythons PYTHONS="3.13 3.14" ONLY=codec ARGS="-k hostile"
PYTHONS ?=
ONLY ?= all
test-pythons: $(NODE) ## run the tests on each Python that is claimed; make test-pythons PYTHONS="3.13 3.14" ONLY=codec
	$(PYTHON) tests/platforms/on_pythons.py --only $(ONLY) $(PYTHONS) -- $(PARALLEL) $(if $(filter codec,$(ONLY)),$(CODEC)) $(ARGS)

# Where Java or Maven is missing, it says so and exits with 77.
interop: $(BIN)/shardpack $(NODE) ## prove it against the real KPL and KCL; make interop ARGS="-k aggregator"
	PYTHON=$(CURDIR)/$(BIN)/python tests/interop/run $(ARGS)

RECORDS ?= 200000
soak: $(BIN)/shardpack $(NODE) ## put 200,000 user records while everything goes wrong; make soak RECORDS=5000 ARGS="--hash-keys kpl"
	$(BIN)/python tests/tools/soak_producer.py --records $(RECORDS) $(ARGS)

TRIALS ?= 10000
interrupts: $(BIN)/shardpack ## interrupt the producers at any bytecode, 10,000 times each; make interrupts TRIALS=500
	$(BIN)/python tests/tools/soak_interrupts.py --trials $(TRIALS) $(ARGS)

soak-consumer: $(BIN)/shardpack $(NODE) ## kill the processes of a fleet of consumers; make soak-consumer ARGS="--store dynalite"
	$(BIN)/python tests/tools/soak_consumer.py $(ARGS)

soak-spark: $(BIN)/shardpack $(NODE) ## kill a Spark query twenty times; make soak-spark ARGS="--master local-cluster[2,1,1024]"
	$(BIN)/python tests/tools/soak_spark.py $(ARGS)

# Ray is larger than everything else that the tests install, so it has a place of its own.
test-ray: $(NODE) ## run the data source and the data sink on a real local Ray
	$(PYTHON) -m venv .venv-ray
	.venv-ray/bin/python $(INSTALL) --upgrade 'pip>=25.1'
	SHARDPACK_BUILD_NATIVE=no .venv-ray/bin/python $(INSTALL) '.[ray,testing]' pytest
	.venv-ray/bin/python -m pytest tests/ray/test_on_ray.py $(ARGS)

soak-source: $(BIN)/shardpack $(NODE) ## the same with the driver and the tasks alone, in a minute or two, without Java
	$(BIN)/python tests/tools/soak_source.py $(ARGS)

interrupts-consumer: $(BIN)/shardpack ## interrupt consumers at any bytecode; make interrupts-consumer ARGS="--trials 500"
	$(BIN)/python tests/tools/interrupts_consumer.py --trials 5000 $(ARGS)

# The prose of the pages: a vocabulary of our own, and no sentence of more than 35 words.
PROSE := tests/tools/prose
$(PROSE)/node_modules/.package-lock.json: $(PROSE)/package-lock.json
	@if command -v npm >/dev/null; then npm ci --silent --no-audit --no-fund --prefix $(PROSE); fi

.PHONY: lint-prose
lint-prose: $(PROSE)/node_modules/.package-lock.json ## read the prose of the pages
	@if command -v npm >/dev/null; then cd $(PROSE) && node_modules/.bin/textlint $$(git -C ../../.. ls-files --cached '*.md' \
	  ':!tests/vectors' | sed 's#^#../../../#'); else echo "npm is not here, so nobody read the prose"; fi

TEMPLATES := $(wildcard examples/*/template.yaml)
check: $(BIN)/ruff lint-prose ## lint and type checks
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/cfn-lint $(TEMPLATES) examples/operating/alarms.yaml
ifdef CARGO
	cd $(RUST) && cargo fmt --check && cargo clippy --quiet --locked --all-targets -- --deny warnings
	cd $(RUST) && cargo test --quiet --locked --no-default-features
	cd $(RUST) && RUSTDOCFLAGS='--deny warnings' cargo doc --quiet --locked --no-deps --document-private-items
endif

.PHONY: hostile
hostile: $(BIN)/shardpack ## time fifty hostile Kinesis records in every reader: at most 3 times as long as a sound one
	SHARDPACK_NATIVE=1 $(BIN)/python tests/tools/hostile_readers.py --most 3 $(ARGS)

ROUNDS ?= 100000
.PHONY: test-leaks
test-leaks: $(BIN)/shardpack ## count what round trips leave behind, with a checked allocator; make test-leaks ROUNDS=1000000
	PYTHONMALLOC=debug PYTHONDEVMODE=1 SHARDPACK_NATIVE=1 $(BIN)/python tests/tools/leaks.py $(ROUNDS)

.PHONY: test-leaks-debug
test-leaks-debug: ## the same on a debug build of Python, which counts all references and checks itself
	SHARDPACK_BUILD_NATIVE=yes SHARDPACK_NATIVE=1 $(PYTHON) tests/platforms/on_pythons.py --only codec --run tests/tools/leaks.py 3.13d -- $(ROUNDS)

# The native core under AddressSanitizer, with Python's own allocator put aside so that it sees each object. A module that
# Python loads has no run-time library of its own, so the compiler's is loaded first; leaks are what test-leaks counts.
ASAN := build/asan
ASAN_TARGET := $(CURDIR)/$(ASAN)/target
# The codec, columns in and out, answers of GetRecords, base64 of events, and what a producer does at once.
ASAN_TESTS := tests/wire tests/packing $(addprefix tests/unpacking/test_,unpacker.py kcl.py kcl_vectors.py hostile_corpus.py) \
  tests/arrow/test_arrow.py tests/arrow/test_columns_handed_over.py tests/aws/test_responses.py \
  tests/aws_lambda/test_aws_lambda.py tests/aws_lambda/test_aws_lambda_events.py tests/producer/test_producer_bulk.py
.PHONY: test-asan
test-asan: $(BIN)/shardpack ## the codec's tests with the native core under AddressSanitizer
	cd $(RUST) && RUSTC_BOOTSTRAP=1 RUSTFLAGS=-Zsanitizer=address PYO3_PYTHON=$(CURDIR)/$(BIN)/python cargo build --quiet --locked --release --target $(HOST) --target-dir $(ASAN_TARGET)
	rm -rf $(ASAN)/src && mkdir -p $(ASAN)/src && cp -r src/shardpack $(ASAN)/src && rm -f $(ASAN)/src/shardpack/wire/_native.*.so
	cp $(ASAN_TARGET)/$(HOST)/release/lib_native.so \
	  $(ASAN)/src/shardpack/wire/_native$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_config_var("EXT_SUFFIX"))')
	LD_PRELOAD=$$(cc -print-file-name=libasan.so) ASAN_OPTIONS=detect_leaks=0 PYTHONMALLOC=malloc PYTHONPATH=$(CURDIR)/$(ASAN)/src \
	  SHARDPACK_NATIVE=1 $(BIN)/python -m pytest -q -p no:cacheprovider $(or $(ARGS),$(ASAN_TESTS))

# libFuzzer under AddressSanitizer. RUSTC_BOOTSTRAP: the sanitizer is there in the stable compiler, and not yet stable.
SECONDS ?= 60
FUZZ := $(RUST)/fuzz/target
FUZZED := decode pack columns json
HOST = $(shell rustc -vV | sed -n 's/host: //p')
FUZZ_BUILD ?= # how Cargo builds it, such as --config=profile.release.package.libfuzzer-sys.opt-level=0
# What makes an execution cheap: short inputs, which reach all but the longest numbers; little of what is freed kept
# aside; and no bookkeeping about which inputs are rare. An input that was found is tried again without all this.
FUZZ_ASAN := quarantine_size_mb=8:malloc_context_size=1:detect_stack_use_after_return=0
FUZZ_OPTIONS := -max_len=256 -entropic=0 -reduce_inputs=0
fuzz: ## feed the native core with what nobody would write, for a minute each; make fuzz SECONDS=3600
	$(PYTHON) tests/tools/fuzz_seeds.py $(FUZZ)/seeds
	cd $(RUST)/fuzz && RUSTC_BOOTSTRAP=1 RUSTFLAGS="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
	  -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table -Zsanitizer=address" \
	  cargo build $(FUZZ_BUILD) --quiet --locked --release --target $(HOST)
	mkdir -p $(addprefix $(FUZZ)/corpus/,$(FUZZED))
	rm -f $(FUZZ)/*.log
	for target in $(FUZZED); do ASAN_OPTIONS=$(FUZZ_ASAN) $(FUZZ)/$(HOST)/release/$$target -max_total_time=$(SECONDS) -print_final_stats=1 $(FUZZ_OPTIONS) \
	  -artifact_prefix=$(FUZZ)/ $(FUZZ)/corpus/$$target $(FUZZ)/seeds/$$target 2>&1 | tee $(FUZZ)/$$target.log \
	  | grep -E '^(stat::number_of_executed_units|==|SUMMARY|.*panicked)|Done' ; test $${PIPESTATUS[0]} = 0 || exit 1; done
	@awk '/^stat::number_of_executed_units/ { n += $$2 } END { printf "%d executions in all, and none failed\n", n }' $(FUZZ)/*.log

# "protobuf>=3.20.2" becomes "protobuf==3.20.2"; the demo's server is left out, because it wants the newest boto3.
# With the pure core, so that all tests run with either.
LOWEST := .venv-lowest
test-lowest: $(NODE) ## run the tests with the lowest version of each dependency that pyproject.toml allows
	$(PYTHON) -m venv $(LOWEST)
	$(LOWEST)/bin/python $(INSTALL) --upgrade 'pip>=25.1'
	sed -nE '/^\[dependency-groups\]/q; s/.*"([a-z0-9]+)>=([0-9.]+)".*/\1==\2/p' pyproject.toml | grep -v ministack > $(LOWEST)/lowest.txt
	SHARDPACK_BUILD_NATIVE=no $(LOWEST)/bin/python $(INSTALL) --editable '.[arrow,aws,cli,report,testing]' --group test -c $(LOWEST)/lowest.txt
	SHARDPACK_NATIVE=0 $(LOWEST)/bin/python -m pytest $(PARALLEL) $(ARGS)

# The newest of everything, then each major version of protobuf, and the last three of pyarrow, where they have a part.
NEWEST := .venv-newest
PROTOBUFS := 4 5 6 7
PYARROWS := 24 25 26
test-newest: ## run the codec's tests with the newest dependencies, and with each major version of protobuf and pyarrow
	$(PYTHON) -m venv $(NEWEST)
	$(NEWEST)/bin/python $(INSTALL) --upgrade 'pip>=25.1'
	SHARDPACK_BUILD_NATIVE=no $(NEWEST)/bin/python $(INSTALL) --upgrade --upgrade-strategy eager --editable '.[arrow,aws,cli,report,testing]' --group test
	SHARDPACK_NATIVE=0 $(NEWEST)/bin/python -m pytest -q $(PARALLEL) $(CODEC)
	for major in $(PROTOBUFS); do echo "--- protobuf $$major"; $(NEWEST)/bin/python $(INSTALL) "protobuf==$$major.*" \
	  && SHARDPACK_NATIVE=0 $(NEWEST)/bin/python -m pytest -q tests/wire tests/unpacking/test_unpacker.py || exit 1; done
	for major in $(PYARROWS); do echo "--- pyarrow $$major"; $(NEWEST)/bin/python $(INSTALL) "pyarrow==$$major.*" \
	  && SHARDPACK_NATIVE=0 $(NEWEST)/bin/python -m pytest -q tests/arrow/test_arrow.py || exit 1; done

# Spark in an environment of its own: the newest, or another one that is named. 3.5 has mapInArrow alone, and no newer
# libraries.
SPARK ?=
SPARKS := .venv-spark$(SPARK)
SPARKED := 'pyspark[sql]$(if $(SPARK),==$(SPARK).*)' $(if $(filter 3.%,$(SPARK)),'numpy<2' 'pandas<3' 'pyarrow<21')
.PHONY: test-spark
test-spark: $(BIN)/shardpack $(NODE) ## run the tests of the source and the sink on Spark; make test-spark SPARK=4.0
	$(PYTHON) -m venv $(SPARKS)
	$(SPARKS)/bin/python $(INSTALL) --upgrade 'pip>=25.1'
	SHARDPACK_BUILD_NATIVE=no $(SPARKS)/bin/python $(INSTALL) --upgrade --editable '.[spark,testing]' --group test $(SPARKED)
	@$(SPARKS)/bin/python -c 'import pyspark; print("Spark", pyspark.__version__)'
	$(SPARKS)/bin/python -m pytest -q tests/spark $(ARGS)

BENCH := .venv-bench
BENCHES := codec import lambda producer put consumer arrow paths scale
bench: $(BENCH)/bin/shardpack ## compare speed with the peers, all in one run, or make bench BENCHES="codec put"
	for name in $(BENCHES); do \
	  $(BENCH)/bin/python benchmarks/bench_$$name.py $$(test $$name != put || echo --peers) $(ARGS) || exit 1; done

bench-arrow: $(BENCH)/bin/shardpack ## time user records into Arrow columns
	$(BENCH)/bin/python benchmarks/bench_arrow.py $(ARGS)

.PHONY: bench-lambda
bench-lambda: $(BENCH)/bin/shardpack ## time what a Lambda function pays, cold and warm
	$(BENCH)/bin/python benchmarks/bench_lambda.py $(ARGS)

.PHONY: bench-leases
bench-leases: $(BIN)/shardpack ## what leases cost in DynamoDB, and how long fleets take to share them; needs Java and Maven
	$(BIN)/python tests/tools/balance_sim.py
	$(BIN)/python tests/tools/lease_cost.py $(ARGS)

bench-threads: ## what a second thread gains, with a GIL and without
	$(PYTHON) tests/platforms/on_pythons.py --only codec --run benchmarks/bench_threads.py $(or $(PYTHONS),3.14 3.14t) -- $(ARGS)

# A venv of its own: the peers' dependencies and the local Kinesis server's exclude each other. The native core lies in
# src already, where the first venv has it from; the Python is the same.
$(BENCH)/bin/shardpack: pyproject.toml setup.py $(BIN)/shardpack
	$(PYTHON) -m venv $(BENCH)
	$(BENCH)/bin/python $(INSTALL) --upgrade 'pip>=25.1'
	SHARDPACK_BUILD_NATIVE=no $(BENCH)/bin/python $(INSTALL) --editable '.[arrow,async,aws,cli]' --group bench
	@touch $@

density: $(BIN)/shardpack ## measure packing density again; make density FILE=access.log for your own lines
	$(BIN)/python benchmarks/density.py $(FILE)

# The sdist, and a wheel for each Python that can be had here and each kind of Linux; make dist PYTHONS=3.13
WHEEL := .venv-wheel
dist: ## build the sdist and the Linux wheels, check them, and run the codec's tests against what they install
	$(PYTHON) tests/platforms/wheels.py $(PYTHONS)
	$(PYTHON) -m venv $(WHEEL)
	$(WHEEL)/bin/python $(INSTALL) --upgrade 'pip>=25.1' twine check-wheel-contents
	$(WHEEL)/bin/twine check --strict dist/*
	$(WHEEL)/bin/check-wheel-contents dist/*.whl
	$(PYTHON) tests/platforms/installed.py $(CODEC)

# Warnings are errors, and so is a link between pages that leads nowhere. `docs-links` asks the network, too.
SITE := build/site
DOCUMENTED := house/test_docs.py house/test_docs_site.py house/test_readme.py house/test_coming_from.py consumer/test_docs_consumer.py consumer/test_consumer_streams.py \
  producer/test_docs_producer.py leases/test_docs_leases.py arrow/test_docs_arrow.py polars/test_docs_data_frames.py spark/test_docs_spark.py files/test_files.py \
  replay/test_replay_local.py density/test_density.py multilang/test_multilang_process.py
$(BIN)/sphinx-build: pyproject.toml $(BIN)/shardpack
	$(BIN)/python $(INSTALL) --group docs
	@touch $@

docs: docs-site $(NODE) ## build the site into build/site, check its links, and run every example of the pages
	$(BIN)/python -m pytest -q -p docs_blocks $(addprefix tests/,$(DOCUMENTED))

docs-links: $(BIN)/sphinx-build ## ask the network for every address that the pages name
	$(BIN)/sphinx-build -q -b linkcheck docs build/links

LOOK := tests/tools/browser
SHOTS ?= build/shots
docs-look: docs-site ## look at each page in Chromium, at two widths, with the rules of axe-core; make docs-look SHOTS=folder
	npm ci --silent --no-audit --no-fund --prefix $(LOOK)
	node $(LOOK)/look.mjs $(SITE) $(SHOTS)

.PHONY: docs-site docs-links
docs-site: $(BIN)/sphinx-build
	$(BIN)/sphinx-build -q -W --keep-going -b html docs $(SITE)

docs-versions: $(BIN)/sphinx-build ## build the site of this commit and of each release into build/pages
	$(BIN)/python docs/versions.py build/pages

# actionlint is a Go module; where Go is missing, zizmor looks alone.
LINT_WORKFLOWS := .venv-workflows
lint-workflows: ## lint the workflows
	$(PYTHON) -m venv $(LINT_WORKFLOWS)
	$(LINT_WORKFLOWS)/bin/python $(INSTALL) zizmor
	$(LINT_WORKFLOWS)/bin/zizmor --offline --quiet .github/workflows
	if command -v go >/dev/null; then GOBIN=$(CURDIR)/$(LINT_WORKFLOWS)/bin go install github.com/rhysd/actionlint/cmd/actionlint@v1.7.7 \
	  && $(LINT_WORKFLOWS)/bin/actionlint; else echo "Go is not here, so actionlint did not look"; fi

# The SAM CLI wants a click of its own. The layer is built with a wheel of the pure core, so that any machine can.
EXAMPLES := .venv-examples
lint-examples: ## validate the templates of examples/ with the SAM CLI, and build the layer for arm64 and x86-64
	$(PYTHON) -m venv $(EXAMPLES)
	$(EXAMPLES)/bin/python $(INSTALL) aws-sam-cli
	for template in $(TEMPLATES); do SAM_CLI_TELEMETRY=0 AWS_DEFAULT_REGION=us-east-1 \
	  $(EXAMPLES)/bin/sam validate --lint --template $$template || exit 1; done
	rm -rf $(EXAMPLES)/wheels
	SHARDPACK_BUILD_NATIVE=no $(EXAMPLES)/bin/python -m pip wheel --quiet --no-deps --wheel-dir $(EXAMPLES)/wheels .
	for architecture in arm64 x86_64; do examples/layer/build.sh $$architecture $(EXAMPLES)/wheels/*.whl || exit 1; done

proto: $(BIN)/shardpack ## regenerate src/shardpack/wire/_generated from proto/kpl.proto
	$(BIN)/protoc -Ishardpack/wire/_generated=proto --python_out=src --pyi_out=src shardpack/wire/_generated/kpl.proto

clean: ## remove what make has made
	rm -rf $(VENV) $(DEMO) .venv-ray .venv-spark* .venv-pythons .pythons $(LOWEST) $(NEWEST) $(BENCH) $(WHEEL) $(LINT_WORKFLOWS) $(EXAMPLES) examples/layer/build .venv-dist $(RUST)/target $(FUZZ) src/shardpack/wire/_native.*.so build dist *.egg-info src/*.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis tests/tools/node/node_modules tests/tools/browser/node_modules $(PROSE)/node_modules tests/interop/java/*/target
