# Needs Python 3.10 or later, make and a package index; everything else is installed into .venv.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install -qq --disable-pip-version-check
CONSTRAINTS := constraints.txt
COMPILE := $(BIN)/uv pip compile --no-header --no-annotate --quiet
PIN := $(COMPILE) pyproject.toml --extra all --group audit --group dev --group docs --universal --python-version 3.10 --upgrade
PIN_IMAGE := $(COMPILE) --constraint constraints.txt --generate-hashes --python-version 3.12 --python-platform linux
ARGS ?=
WORKERS ?= 2
PYTEST := $(BIN)/python -m pytest --numprocesses $(WORKERS) --dist worksteal

.PHONY: demo test lint types layers docs pages unit quick test-local test-servers test-engines packages bench chaos floors licences sbom pins clean

demo: $(VENV)/.demo ## show retrieved chunks being reranked in LangChain and LlamaIndex
	@$(BIN)/anyrerank demo $(ARGS)

test: lint types layers docs unit ## everything that CI checks

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.dev
	$(BIN)/mypy

layers: $(VENV)/.dev
	$(BIN)/lint-imports

docs: .venv-docs/.done ## the documentation, in site/; a broken link or an undocumented public name is an error
	@if [ -x .venv-docs/bin/zensical ]; then \
		.venv-docs/bin/zensical build --clean --strict && .venv-docs/bin/python tests/docs/attach_files.py site \
			&& .venv-docs/bin/python tests/docs/check_site.py site; \
	else \
		echo "the site needs Python 3.11 or later: left out"; \
	fi

pages: $(VENV)/.dev ## write the generated parts of docs/ anew
	$(BIN)/python -m tests.docs.generate

unit: $(VENV)/.dev
	$(PYTEST) $(ARGS)

quick: $(VENV)/.dev ## the tests that take no time: for use while you work
	$(PYTEST) -m "not (slow or process or notebook or property)" -k "not (test_provider_ and async)" $(ARGS)

test-local: .venv-local/.done ## cross-encoders on torch: its CPU build where pip finds one
	.venv-local/bin/python -m pytest tests/local $(ARGS)

test-servers: $(VENV)/.dev ## against Infinity and LiteLLM's proxy, each in an environment of its own in .venv-servers (Python up to 3.12)
	$(BIN)/python -m pytest tests/servers $(ARGS)

test-engines: .venv-engines/.done ## RerankBatch in Ray Data, Spark, Daft, Dask and datasets: 1.5 GB; Spark needs Java 17 and Python 3.11
	.venv-engines/bin/python -m pytest tests/engines $(ARGS)

packages: $(VENV)/.dev ## the wheel with each extra in a fresh environment: that it works, and its size in the README
	$(BIN)/python -m tests.packages

bench: $(VENV)/.dev ## figures against bare clients, on an idle machine
	$(BIN)/python -m tests.benchmarks $(ARGS)

chaos: $(VENV)/.dev ## a router over deployments that misbehave
	$(BIN)/python -m tests.benchmarks.chaos

floors: ## the tests with the oldest version of each dependency that pyproject.toml allows, whose own warnings may stand
	$(MAKE) unit VENV=.venv-floors CONSTRAINTS=constraints-floors.txt ARGS="-W default $(ARGS)"

licences: .venv-audit/.done ## the licences of what [all] installs; one that pyproject.toml does not accept is an error
	.venv-audit/bin/pip-licenses --python .venv-runtime/bin/python --allow-only "" --ignore-packages anyrerank
	@.venv-audit/bin/pip-licenses --python .venv-runtime/bin/python >/dev/null

sbom: .venv-audit/.done ## the components of what [all] installs, as CycloneDX in sbom.json
	.venv-audit/bin/cyclonedx-py environment --pyproject pyproject.toml --mc-type library --output-reproducible \
		--output-file sbom.json .venv-runtime/bin/python

pins: $(VENV)/.dev ## write the constraint files, and what the image installs, anew
	$(PIP) uv
	$(PIN) --output-file constraints.txt
	$(PIN) --resolution lowest-direct --output-file constraints-floors.txt
	$(PIN_IMAGE) pyproject.toml --extra gateway --extra otel --extra postgres --extra redis \
		--output-file deploy/image/requirements.txt
	printf 'hatchling\nhatch-fancy-pypi-readme\n' | $(PIN_IMAGE) - --output-file deploy/image/build.txt

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)
	$(PIP) --upgrade "pip>=25.1"

$(VENV)/.demo: pyproject.toml $(CONSTRAINTS) | $(VENV)/bin/python
	@echo "installing the demo into $(VENV) (once)"
	$(PIP) --constraint $(CONSTRAINTS) --editable ".[demo]"
	@touch $@

$(VENV)/.dev: pyproject.toml $(CONSTRAINTS) | $(VENV)/bin/python
	@echo "installing the tests into $(VENV) (once)"
	$(PIP) --constraint $(CONSTRAINTS) --editable ".[all]" --group dev
	@touch $@ $(VENV)/.demo

.venv-docs/.done: pyproject.toml $(CONSTRAINTS)
	@echo "installing the site generator into .venv-docs (once)"
	$(PYTHON) -m venv .venv-docs
	.venv-docs/bin/python -m pip install -qq --disable-pip-version-check --upgrade "pip>=25.1"
	.venv-docs/bin/python -m pip install -qq --disable-pip-version-check --constraint $(CONSTRAINTS) --group docs
	@touch $@

.venv-audit/.done: pyproject.toml $(CONSTRAINTS)
	@echo "installing what users run into .venv-runtime, and the tools that look at it into .venv-audit (once)"
	$(PYTHON) -m venv .venv-audit
	$(PYTHON) -m venv --clear --without-pip .venv-runtime
	.venv-audit/bin/python -m pip install -qq --disable-pip-version-check --upgrade "pip>=25.1"
	.venv-audit/bin/python -m pip install -qq --disable-pip-version-check --constraint $(CONSTRAINTS) --group audit
	.venv-audit/bin/python -m pip --python .venv-runtime/bin/python install -qq --disable-pip-version-check \
		--constraint $(CONSTRAINTS) ".[all]"
	@touch $@

.venv-local/.done: pyproject.toml
	@echo "installing torch and what it takes into .venv-local (once)"
	$(PYTHON) -m venv .venv-local
	.venv-local/bin/python -m pip install -qq --disable-pip-version-check torch==2.13.0
	.venv-local/bin/python -m pip install -qq --disable-pip-version-check \
		--editable ".[langchain,llama-index,sentence-transformers]" pytest pytest-asyncio hypothesis
	@touch $@

.venv-engines/.done: pyproject.toml tests/engines/requirements.txt
	@echo "installing the engines into .venv-engines (once)"
	$(PYTHON) -m venv .venv-engines
	.venv-engines/bin/python -m pip install -qq --disable-pip-version-check \
		--editable ".[batch]" --requirement tests/engines/requirements.txt pytest pytest-asyncio hypothesis
	@touch $@

clean:
	rm -rf $(VENV) site sbom.json .venv-audit .venv-docs .venv-engines .venv-floors .venv-local .venv-runtime .venv-servers .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
