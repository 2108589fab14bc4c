# Antrian: everything a person types. `make help` lists it.
.DEFAULT_GOAL := help
.PHONY: help setup up demo test check coverage faults failover soak mutants fuzz bench compose sbom lint types protos lock fmt clean

PYTHON ?= python3
PY     := .venv/bin/python
export PIP_DISABLE_PIP_VERSION_CHECK := 1

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: .venv/done ## install everything into .venv, from the lock

.venv/done: requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Antrian needs Python 3.11 or newer")'
	$(PYTHON) -m venv .venv
	$(PY) -m pip install --quiet --require-hashes --requirement requirements.lock
	$(PY) -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

up: setup ## run Antrian on this machine, Redis and Postgres included, until Ctrl-C
	@$(PY) -m clients.cli up

demo: setup ## play a Friday rush on a fresh store, verify the promises, write a report (RUSH="--requests N …")
	@mkdir -p .antrian
	@$(PY) -m clients.cli rush --embedded --scenario opening --folder .antrian/demo --json .antrian/demo.json \
	    --report .antrian/demo.html $(RUSH)
	@echo "The report: .antrian/demo.html"

test: setup lint types ## check the code and run all tests on real Redis and Postgres
	$(PY) -m pytest $(if $(ANTRIAN_REDIS_URL),,-p tests.support.together --numprocesses 2 --no-loadscope-reorder)

check: setup lint types ## check the code and run the unit tests: the part of make test for after each change
	$(PY) -m pytest -p no:schemathesis tests/unit

coverage: setup ## run unit and integration tests and show the branches that none of them takes (COVERAGE="PATH …": only these tests)
	$(PY) -m coverage erase
	$(PY) -m coverage run -m pytest $(or $(COVERAGE),tests/unit tests/integration)
	$(PY) -m coverage combine --quiet
	$(PY) -m coverage report

faults: setup ## inject every fault under load and count what it broke: a table; then every sabotaged rush (FAULTS="--only SUBSTRING")
	$(PY) -m tests.faults $(FAULTS)
	$(if $(FAULTS),,ANTRIAN_EVERY_SABOTAGE=1 $(PY) -m pytest tests/rush)

failover: setup ## play a rush, kill Redis's primary and cut it off: what was lost (nothing), and for how long nobody was accepted
	$(PY) -m tests.faults.failover

soak: setup ## play rush after rush with kills for twenty minutes: what grew (SOAK="--minutes N")
	$(PY) -m tests.faults.soak $(SOAK)

mutants: setup ## break every script and statement on purpose and show which tests notice (MUTANTS="--only FILE")
	$(PY) -m tests.mutants $(MUTANTS)

fuzz: setup ## wild bytes and messages into every rpc, for ten minutes (FUZZ="--seconds N")
	$(PY) -m tests.fuzz $(FUZZ)

bench: setup .venv/bench ## measure what Antrian costs over its bare parts: a table, bench.json, bench.html (QUICK=1: ten minutes; BENCH="--only NAME …")
	$(PY) -m tests.bench $(if $(QUICK),--quick) $(BENCH)

compose: setup .venv/compose ## run docker-compose.yml on a Docker engine of its own: build, up, rush, scale, down, failover (needs root)
	$(PY) -m tests.compose

sbom: setup .venv/sbom ## list what the image installs, with licenses: .antrian/sbom.cdx.json (CycloneDX)
	$(PYTHON) -m venv --without-pip --clear .antrian/image
	$(PY) -m pip --python .antrian/image/bin/python install --quiet --require-hashes --requirement requirements-image.lock
	.venv/bin/cyclonedx-py environment .antrian/image/bin/python --pyproject pyproject.toml --mc-type application \
	    --output-reproducible --output-file .antrian/sbom.cdx.json

.venv/bench .venv/compose .venv/sbom: .venv/%: .venv/done requirements-%.lock
	$(PY) -m pip install --quiet --require-hashes --requirement requirements-$*.lock
	@touch $@

lint: setup ## format, style, house rules, protos
	$(PY) -m ruff format --check .
	$(PY) -m ruff check .
	$(PY) -c 'from importlinter.cli import lint_imports_command as lint; lint()' --no-cache
	.venv/bin/buf lint
	$(PY) -m tests.support.buf_breaking

types: setup ## strict types, tests too
	$(PY) -m mypy

fmt: setup ## rewrite the code in its one format
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .
	.venv/bin/buf format -w

protos: setup ## generate antrian/v1 and the OpenAPI document from protos/, and the words of docs/errors.md
	$(PY) -m protos.generate antrian
	$(PY) -m protos.openapi
	$(PY) -m tests.support.generate_errors

COMPILE = uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
  --custom-compile-command "make lock" --quiet

lock: ## resolve pyproject.toml into requirements*.lock (needs uv)
	$(COMPILE) --extra embedded --extra rush --extra locust --extra dev pyproject.toml -o requirements.lock
	$(COMPILE) --constraint requirements.lock pyproject.toml -o requirements-image.lock
	echo hatchling | $(COMPILE) --constraint requirements.lock - -o requirements-build.lock
	for extra in bench compose sbom; do \
	  $(PYTHON) -c 'import sys, tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"][sys.argv[1]], sep="\n")' $$extra \
	    | $(COMPILE) --constraint requirements.lock - -o requirements-$$extra.lock; done

clean: ## remove what was built and the stores under .antrian
	rm -rf .venv .antrian *.egg-info .pytest_cache .mypy_cache .ruff_cache
