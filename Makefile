# Everything a person or a machine does with this project. Each target says what it does and asks
# nothing. Works with GNU make 3.81 and /bin/sh.
#
#   make run      the demo on http://localhost:3000 (sets everything up first)
#   make test     every test, the browser's included
#   make setup    the environment in .venv alone
#   make api      the API alone, without the pages, on the same demo data
#   make check    lint, and the tests that need no database or browser: for every commit
#   make lint     ruff, pyright, the import contract, migrations against models, deploy files, pip-audit
#   make bench    the benchmarks
#   make client   the Python client as a wheel, in dist/
#   make fuzz     forged requests over every route, for MINUTES=3
#   make soak     mixed load with faults for MINUTES=20; writes docs/soak.md

PYTHON := .venv/bin/python
STAMP := .venv/.installed
LINT_STAMP := .venv/.installed-lint
PORT ?= 3000
MINUTES ?= 3
DIST ?= dist

.PHONY: run api setup test check lint bench client fuzz soak browser

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
	@$(PYTHON) -m tests.run

# Only for those who lint: a hundred megabytes.
$(LINT_STAMP): $(STAMP) requirements-lint.txt
	@$(PYTHON) -m pip install -qq --disable-pip-version-check --no-input -c requirements.txt -r requirements-lint.txt
	@touch $(LINT_STAMP)

check: setup $(LINT_STAMP)
	@$(PYTHON) -m tests.check

lint: setup $(LINT_STAMP)
	@$(PYTHON) -m tests.check --without-tests

bench: setup
	@$(PYTHON) -m tests.benchmarks

fuzz: setup
	@$(PYTHON) -m tests.fuzzing --minutes $(MINUTES)

client: setup
	@$(PYTHON) -m pip wheel -qq --disable-pip-version-check --no-deps --wheel-dir $(DIST) ./billing_app/client
	@ls $(DIST)/billing_client-*.whl

soak: MINUTES = 20
soak: setup
	@$(PYTHON) -m tests.soak --minutes $(MINUTES)
