# Everything starts from a fresh checkout: each target makes what it needs. `make help` lists them.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help install run engine-example test container-test kafka-image image prometheus-image compose-check faults lint typecheck bench bench-quick compare evidence docs wheel-check core-check clean

VENV := .venv
BIN := $(VENV)/bin
ENVIRONMENT := $(VENV)/installed
CORE := $(VENV)/core
CRATE := processor/native

# Some images set it; each process would then compile all that it imports again, which takes three times its start.
unexport PYTHONDONTWRITEBYTECODE

help: ## this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | awk -F '\t' '{ printf "  make %-12s %s\n", $$1, $$2 }'

install: $(ENVIRONMENT) ## make .venv with the project and its tools in it

run: $(CORE) ## Kafka, the processor, trading engines and a page, live, on 127.0.0.1:9092, 9464 and 8080 where they are free; ARGS="--for 30 --plain" for 30 s without a terminal
	@$(BIN)/python -m deploy.run $(ARGS)

engine-example: $(CORE) ## an engine that trades beside make run: base, bandit and blended weights; ARGS="--for 20 --plain"
	@$(BIN)/python -m tests.examples.trading_engine $(ARGS)

test: $(CORE) ## unit, property and integration tests, on a real Kafka; ARGS goes to pytest
	@$(BIN)/python -m pytest --numprocesses 3 --dist worksteal $(ARGS)

container-test: $(ENVIRONMENT) ## integration tests in containers of KAFKA_IMAGE=armstream-kafka, three brokers too; nothing but Docker will do
	@env -u KAFKA_BOOTSTRAP_SERVERS KAFKA_IMAGE=$${KAFKA_IMAGE:-armstream-kafka} \
		$(BIN)/python -m pytest -m 'kafka or containers' tests/integration tests/deploy/test_kafka.py tests/containers $(ARGS)

kafka-image: $(ENVIRONMENT) ## the image armstream-kafka, of Debian's packages and Kafka's jars, where apache/kafka cannot be pulled
	@$(BIN)/python -m deploy.kafka.image

image: $(ENVIRONMENT) ## the images armstream and armstream-demo; BASE=.. builds them on an image of yours
	@$(BIN)/python -m deploy.docker.images armstream armstream-demo

prometheus-image: $(ENVIRONMENT) ## the image armstream-prometheus, of Debian's package, where prom/prometheus cannot be pulled
	@$(BIN)/python -m deploy.docker.images armstream-prometheus

compose-check: $(ENVIRONMENT) ## deploy/compose.yaml built, brought up, checked and brought down again
	@$(BIN)/python -m deploy.compose_check

faults: $(CORE) ## kills, zombies, cut and late requests for MINUTES=10; SEED=.. replays a schedule, FAULT=.. takes one
	@$(BIN)/python -m tests.faults --minutes $(or $(MINUTES),10) $(if $(SEED),--seed $(SEED)) $(if $(TIMES),--times $(TIMES)) $(if $(FAULT),--fault '$(FAULT)') $(ARGS)

lint: $(ENVIRONMENT) ## ruff: rules and format
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check

core-check: $(CORE) ## clippy, and the native core against the Python stages
	@if command -v cargo >/dev/null; then \
		cargo clippy --quiet --locked --manifest-path $(CRATE)/Cargo.toml -- --deny warnings; \
		$(BIN)/python -c 'import armstream._native'; fi # without it these tests are skipped
	@$(BIN)/python -m pytest tests/core $(ARGS)

typecheck: $(ENVIRONMENT) ## mypy --strict, tests too
	@$(BIN)/mypy

bench: $(CORE) ## events a second, latency and restore beside Kafka Streams, Quix, Faust, a naive loop and the floor; ARGS="--help"
	@$(BIN)/python -m tests.bench $(ARGS)

bench-quick: $(CORE) ## whether Armstream became slower beside the naive loop, and its native core beside Python
	@$(BIN)/python -m tests.bench.quick $(ARGS)

docs: $(ENVIRONMENT) ## the site of docs/ in docs/_build; a warning, such as a link that leads nowhere, is an error
	@$(BIN)/python -m sphinx --builder html --fresh-env --fail-on-warning --keep-going --quiet docs docs/_build

wheel-check: $(ENVIRONMENT) ## the wheel, installed alone in an empty environment outside the checkout
	@$(BIN)/python tests/wheel_check.py

clean: ## remove .venv, what `make run` learned, and the caches
	@if [ -x $(BIN)/python ]; then $(BIN)/python -m deploy.kafka.forget; fi
	rm -rf $(CRATE)/target processor/armstream/_native.abi3.so $(VENV) .kafka dist docs/_build .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(ENVIRONMENT): pyproject.toml
	@python=$$(for name in python3 python3.14 python3.13 python3.12 python3.11; do \
		if $$name -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then echo $$name; break; fi; done); \
	if [ -z "$$python" ]; then echo "armstream needs Python 3.11 or later: apt-get install python3 python3-venv" >&2; exit 1; fi; \
	if ! $$python -c 'import ensurepip, venv' 2>/dev/null; then \
		echo "$$python has no venv: apt-get install python3-venv" >&2; exit 1; fi; \
	echo "making $(VENV) with $$($$python --version)"; \
	$$python -m venv --clear $(VENV)
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-compile --editable '.[dev]'
	@touch $@

# The native core, where there is cargo. Where there is none, one line says so each time, and what that costs.
$(CORE): $(ENVIRONMENT) $(CRATE)/Cargo.toml $(CRATE)/Cargo.lock $(CRATE)/build.py $(wildcard $(CRATE)/src/*.rs $(CRATE)/src/*/*.rs)
	@$(BIN)/python $(CRATE)/build.py
	@if [ -e processor/armstream/_native.abi3.so ]; then touch $@; fi

compare: $(ENVIRONMENT) ## importance weighting beside the shipped rule on real prices: the tables and plot of docs/evidence/comparison.md
	@$(BIN)/python -m tests.comparison --plot docs/evidence/comparison.svg $(ARGS)

evidence: $(ENVIRONMENT) ## every rule on real and synthetic markets, 20 seeds: the tables and plots of docs/evidence/rules.md
	@$(BIN)/python -m tests.evidence --plots docs/evidence $(ARGS)
	@$(BIN)/python -m tests.evidence.blends $(ARGS)
	@$(BIN)/python -m tests.evidence.signals $(ARGS)
	@$(BIN)/python -m tests.evidence.signals --rates $(ARGS)
