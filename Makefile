# Everything a person or a machine does with this project. Each target says what it does and asks
# nothing. Works with GNU make 3.81 and /bin/sh.
#
#   make run      the demo on http://localhost:3000 (sets everything up first)
#   make test     every test, the browser's included
#   make setup    the environment in .venv alone
#   make api      the API alone, without the pages, on the same demo data
#   make lint     ruff, pyright, the import contract
#   make bench    the benchmarks

PYTHON := .venv/bin/python
STAMP := .venv/.installed
PORT ?= 3000
# Playwright brings an event loop of its own; strict options would refuse the absent plugin's.
WITHOUT_ASYNCIO := -p no:asyncio -o addopts=-q -W ignore::pytest.PytestConfigWarning

.PHONY: run api setup test lint bench browser

run: setup
	@$(PYTHON) -m billing_app demo --port $(PORT)

api: setup
	@$(PYTHON) -m billing_app demo --api-only --port $(PORT)

setup: $(STAMP)
	@:

$(STAMP): requirements.txt
	@sh .ci/environment
	@touch $(STAMP)

browser: setup
	@$(PYTHON) -m tests.pages.browser

test: setup browser
	@status=0; \
	echo "Tests without a browser"; \
	$(PYTHON) -m pytest tests --ignore=tests/pages --ignore=tests/benchmarks || status=$$?; \
	echo "Tests in a browser"; \
	$(PYTHON) -m pytest tests/pages $(WITHOUT_ASYNCIO) || status=$$?; \
	exit $$status

lint: setup
	@$(PYTHON) -m ruff check .
	@$(PYTHON) -m ruff format --check .
	@$(PYTHON) -m pyright
	@if grep -qs 'importlinter' pyproject.toml setup.cfg .importlinter; then .venv/bin/lint-imports; fi

bench: setup
	@$(PYTHON) -m tests.benchmarks
