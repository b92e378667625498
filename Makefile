# Ferryman's commands. `make run` and `make test` need Python 3.11 and make, nothing else.
.DEFAULT_GOAL := help
SHELL := /bin/sh
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
PYTEST := $(BIN)/python -m pytest
TWO := -n 2 --dist loadfile --no-loadscope-reorder

export PATH := $(CURDIR)/$(BIN):$(PATH)
export FERRYMAN_ROOT := $(CURDIR)

.PHONY: help run down test test-slow test-long test-unit test-docker test-cluster lint types layers format lock replay bench clean

help: ## list the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: $(READY) ## start everything, carry `flights` from raw data to a served prediction, stay up
	@exec $(BIN)/python -m ferryman_airflow.stack up

down: $(READY) ## end what an earlier `make run` left behind
	@$(BIN)/python -m ferryman_airflow.stack down

test: $(READY) lint types layers ## lint, types, layers, then every test that is not slow
	$(PYTEST) tests/unit tests/contract tests/dags tests/model_zoo tests/integration -m "not slow" $(TWO) --durations=10
	$(PYTEST) tests/e2e -m "not slow"

test-slow: $(READY) ## races, kills, rollbacks, a replayed year, dashboards, rollouts in the running stack and in a browser
	$(PYTEST) tests/dags tests/integration -m slow $(TWO) --durations=10
	$(PYTEST) tests/e2e -m slow

test-long: $(READY) ## every test of chance with all its seeds (make test: the first of each)
	FERRYMAN_TEST_LONG=1 $(PYTEST) tests/contract tests/integration $(TWO)

test-unit: $(READY) ## the unit tests (under a minute)
	$(PYTEST) tests/unit $(TWO)

test-docker: $(READY) ## the image and the container deployer, on this machine's Docker engine
	$(PYTEST) tests/docker

test-cluster: $(READY) ## servers in the cluster of KUBECONFIG (a control plane without nodes)
	$(PYTEST) tests/cluster

lint: $(READY) ## ruff: style and known mistakes
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(READY) ## mypy, strict
	$(BIN)/mypy

layers: $(READY) ## import-linter: who may import whom
	$(BIN)/lint-imports

format: $(READY) ## let ruff rewrite the layout
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

replay: $(READY) ## live 2013 in half an hour: three retraining policies, a table and a picture
	$(BIN)/ferryman replay --model flights --from 2013-01-29 --to 2013-12-31

bench: $(READY) ## measure: serving, its log, a shadow, evidence, Airflow against a script, a search, checking
	$(BIN)/python -m benchmarks.profile
	$(BIN)/python -m benchmarks.drift
	$(BIN)/python -m benchmarks.drift_alarms
	$(BIN)/python -m benchmarks.retraining
	$(BIN)/python -m benchmarks.csv_check
	$(BIN)/python -m benchmarks.search
	$(BIN)/python -m benchmarks.orchestration
	$(BIN)/python -m benchmarks.prediction_log
	$(BIN)/python -m benchmarks.serving
	$(BIN)/python -m benchmarks.shadow --rounds 5
	$(BIN)/python -m benchmarks.rollout_evidence

lock: $(READY) ## resolve requirements.in anew into the hashed locks
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
		--custom-compile-command "make lock" --upgrade requirements.in -o requirements.txt
	grep -E '^uv>=' requirements.in | $(BIN)/uv pip compile --quiet --universal --python-version 3.11 \
		--generate-hashes --no-emit-index-url --custom-compile-command "make lock" \
		-c requirements.txt - -o requirements-bootstrap.txt
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
		--custom-compile-command "make lock" -c requirements.txt requirements-serving.in -o requirements-serving.txt

clean: ## remove the environment and all state
	rm -rf $(VENV) .airflow .ferryman .mypy_cache .ruff_cache .pytest_cache

# The environment: uv from PyPI by its hash, then the hashed lock, then this project itself.
$(READY): requirements.txt requirements-bootstrap.txt pyproject.toml
	@test -n "$(PYTHON)" || { echo "ferryman needs Python 3.11: install python3.11 (Debian: apt install python3 python3-venv)"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 13))' || \
		{ echo "ferryman needs Python 3.11 or 3.12; $(PYTHON) is $$($(PYTHON) -V). Say: make PYTHON=/path/to/python3.11 ..."; exit 1; }
	@test "$$(df -Pk . | awk 'NR==2 {print $$4}')" -gt 5000000 || \
		{ echo "the environment needs 5 GB in $(CURDIR); free some space first"; exit 1; }
	@echo "Preparing the environment in $(VENV) (about 3 GB; a few minutes with a cold cache)"
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv $(VENV) || \
		{ echo "python3-venv is missing (Debian: apt install python3-venv)"; exit 1; }
	@echo "  1/3 uv"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-bootstrap.txt
	@echo "  2/3 the locked packages"
	@$(BIN)/uv pip install --python $(BIN)/python --require-hashes -r requirements.txt
	@echo "  3/3 ferryman"
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $(READY)
