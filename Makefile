# Everything a developer does. Caches live outside the checkout: WEAVIATE_IO_CACHE, by default ~/.cache/weaviate-io.
PYTHON ?= python3
CACHE := $(or $(WEAVIATE_IO_CACHE),$(HOME)/.cache/weaviate-io)
# One environment per interpreter and set of requirements, shared by all checkouts.
VENV := $(CACHE)/venv-$(shell $(PYTHON) -c 'import hashlib, sys; print(hashlib.sha256(sys.version.encode() + open("pyproject.toml", "rb").read()).hexdigest()[:12])')
RUN := $(VENV)/bin/python
export WEAVIATE_IO_CACHE := $(CACHE)
export PYTHONPATH := $(CURDIR)
export PYTHONPYCACHEPREFIX := $(CACHE)/pycache
export MYPY_CACHE_DIR := $(CACHE)/mypy
export RUFF_CACHE_DIR := $(CACHE)/ruff
export HYPOTHESIS_STORAGE_DIRECTORY := $(CACHE)/hypothesis
PYTEST := $(RUN) -m pytest -o cache_dir=$(CACHE)/pytest

# The package itself is not installed: it is used from the checkout.
define REQUIREMENTS
try:
    import tomllib
except ImportError:
    from pip._vendor import tomli as tomllib
project = tomllib.load(open("pyproject.toml", "rb"))["project"]
print(*project["dependencies"], *sum(project["optional-dependencies"].values(), []), sep="\n")
endef
export REQUIREMENTS

.PHONY: help demo server test test-fast test-old-server test-runners test-runners-long matrix fresh dataflow fuzz chaos chaos-short lint format proto template bench bench-streams clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 14

demo: $(VENV)/ready ## start a real Weaviate, import 1,000 questions, search them
	@$(RUN) -m pipelines.demo

server: $(VENV)/ready ## run a Weaviate on ports 8080 and 50051 until Ctrl-C
	@$(RUN) -m weaviate_io.testing start --port 8080 --grpc-port 50051 --data $(CACHE)/server

test: $(VENV)/ready lint ## all tests, those on a real server included, in two processes
	@$(RUN) -m weaviate_io.testing install
	$(PYTEST) -n 2 --dist loadfile --max-worker-restart 0 --ignore=tests/runners -m "not old_server"

test-fast: $(VENV)/ready ## the tests that need no server
	$(PYTEST) -m "not server" --ignore=tests/runners

test-old-server: $(VENV)/ready ## those that hold the traps of Weaviate 1.39.0 against it
	@$(RUN) -m weaviate_io.testing install --version 1.39.0
	$(PYTEST) -m old_server

test-runners: $(VENV)/ready ## a whole import on every runner, and streams; gets Prism, Flink and Spark (Go, Maven, Java)
	$(RUN) -m tests.runners.provision
	$(PYTEST) tests/runners -m "not long"

test-runners-long: $(VENV)/ready ## the rest: a Flink cluster whose processes are killed, stopped with savepoints
	$(RUN) -m tests.runners.provision
	$(PYTEST) tests/runners -m long

fuzz: $(VENV)/ready ## hostile rows, dead letters and files, about half an hour; OPTIONS="--hypothesis-seed 1"
	$(RUN) -m tests.fuzz.large
	$(PYTEST) tests/fuzz --timeout 0 --hypothesis-profile=fuzz $(OPTIONS)

matrix: $(VENV)/ready ## those with Python 3.10 to 3.13 and the oldest and newest Beam; OPTIONS="--python 3.12 -- tests/write"
	$(RUN) -m tests.matrix $(OPTIONS)

fresh: $(VENV)/ready ## a pipeline in environments that have only the built wheel, and only the sdist
	$(RUN) -m tests.fresh

dataflow: $(VENV)/ready ## have Dataflow's runner translate a job, without an account
	@$(PYTHON) -m venv $(CACHE)/dataflow
	@$(CACHE)/dataflow/bin/pip install --quiet 'apache-beam[gcp]' fastavro
	$(CACHE)/dataflow/bin/python -m tests.dataflow.submit

chaos: $(VENV)/ready ## an import whose server, network and workers are killed; OPTIONS="--seed 1 --nodes 3"
	$(RUN) -m tests.chaos $(OPTIONS)

chaos-short: $(VENV)/ready ## one small import of that kind, under two minutes
	$(RUN) -m tests.chaos --short --seconds 300 $(OPTIONS)

lint: $(VENV)/ready ## style, types, and generated files against their sources
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

format: $(VENV)/ready ## bring the code into shape
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

proto: $(VENV)/ready ## compile weaviate.proto anew
	$(RUN) -m grpc_tools.protoc -I weaviate_io/proto --include_imports \
		--descriptor_set_out=weaviate_io/proto/weaviate.binpb weaviate.proto

template: $(VENV)/ready ## describe the Flex Template anew, by the options of the import
	@$(RUN) -m pipelines.template >deploy/metadata.json

BENCHMARKS := encoding throughput latency growth start_up streaming server_side real_server memory verification \
	overload killed_server repaired_recall

bench: $(VENV)/ready ## the figures of this version, each against its goal, more than an hour; BENCHMARKS="latency growth"
	@missed=; for name in $(BENCHMARKS); do echo "== $$name"; $(RUN) -m benchmarks.$$name || missed="$$missed $$name"; done; \
	if [ -n "$$missed" ]; then echo "goals missed in:$$missed"; exit 1; fi

bench-streams: $(VENV)/ready ## latency and throughput of unbounded input on Prism and Flink
	$(RUN) -m tests.runners.measure

clean: ## remove what building, and testing without make, left in the checkout
	rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(VENV)/ready:
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.10 or newer is needed: make PYTHON=python3.12" if sys.version_info < (3, 10) else 0)'
	@echo "preparing the environment in $(VENV) (once, about two minutes)"
	@$(PYTHON) -m venv $(VENV)
	@$(RUN) -m pip install --quiet --upgrade pip
	@$(RUN) -c "$$REQUIREMENTS" >$(VENV)/requirements.txt
	@$(RUN) -m pip install --quiet -r $(VENV)/requirements.txt
	@touch $@
