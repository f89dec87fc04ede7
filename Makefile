# Every target works on a machine that has only make and Python 3.11 or newer; what else it needs it installs.

# The interpreter that the environment is made from, once: `make clean` before another one is used.
PYTHON ?= python3

VENV := .venv
RUN := $(VENV)/bin/python
# -qq: what is wrong with an index is pip's to say only when nothing could be installed. --no-compile: Python compiles
# what it imports, and much of what is installed is never imported.
INSTALL := $(RUN) -m pip --disable-pip-version-check --no-input install -qq --no-compile --editable

# Where `make serve` listens on this machine.
PORT ?= 8000

# Processes of pytest: on two cores a third one works while others wait for a server.
WORKERS := 3

# What `make bench-commits` compares with.
COMMIT := main

# What `make soak` and `make samples` run at full length, and the suite in short.
SOAK := -k 'not mariadb' $(addprefix tests/,auditing invalidation keys loading races scenarios schedules storage tracking) --ignore=tests/scenarios/test_clubsite.py
SAMPLES := tests/samples tests/scenarios/test_clubsite.py tests/docs/test_testing_guide.py
MARIADB := tests/invalidation/writes tests/tracking/test_snapshots_on_engines.py tests/storage/failing/test_lost_transactions.py

# Marks that an installation is complete and newer than pyproject.toml; more in one is more in all.
LEAN := $(VENV)/.installed
DEV := $(VENV)/.installed-dev
BENCH := $(VENV)/.installed-bench
DOCS := $(VENV)/.installed-docs

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help test environments quick doors servers lint types suite coverage second-suite soak mariadb samples format demo serve worker bench bench-commits bench-stampede storm public-suites python314 docs browser clean

help:  ## List the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

test: servers environments lint types suite second-suite  ## Check everything, as CI does

# Both at once, on two cores.
environments: | $(RUN)
	@scripts/second-suite.sh $(RUN) & second=$$!; \
	$(MAKE) --no-print-directory $(DEV); first=$$?; \
	wait $$second && exit $$first

lint: $(DEV)  ## Check style and format
	@echo "== ruff"
	@$(RUN) -m ruff check
	@$(RUN) -m ruff format --check

types: $(DEV)  ## Check types, twice
	@echo "== mypy and pyright"
	@$(RUN) -m mypy & mypy=$$!; \
	PYRIGHT_PYTHON_IGNORE_WARNINGS=1 $(RUN) -m pyright --pythonpath $(RUN); pyright=$$?; \
	wait $$mypy && exit $$pyright

suite: $(DEV) servers  ## Run the tests
	@echo "== pytest"
	@$(RUN) -m pytest -n $(WORKERS)

coverage: $(DEV) servers  ## Run the tests, and measure that they run every line and branch; which takes twice as long
	@echo "== pytest, measured"
	@rm -f .coverage .coverage.*
	@$(RUN) -m coverage run -m pytest -n $(WORKERS)
	@$(RUN) -m coverage combine -q
	@$(RUN) -m coverage report

quick: $(DEV)  ## Run what needs no server and no other process: while you work
	@$(RUN) -m pytest -n 2 --quick

soak: $(DEV) servers  ## Run long histories, schedules, storms, and whole products of parameters
	@$(RUN) -m pytest -n 2 --soak $(SOAK)

mariadb: $(DEV) servers  ## Install MariaDB, and run what writes and reads on it
	@command -v mariadbd >/dev/null || scripts/install-packages.sh mariadb-server
	@$(RUN) -m pip --disable-pip-version-check --no-input install -qq PyMySQL
	@$(RUN) -m pytest --soak -k mariadb $(MARIADB)

samples: $(DEV) servers  ## Run the suites of the example projects, with every runner and mode
	@$(RUN) -m pytest --soak $(SAMPLES)

doors: $(DEV)  ## Run the quick suite without each door, one at a time
	@$(RUN) scripts/without_doors.py

second-suite: $(DEV) servers  ## Run the tests on another Python and Django, where there is one
	@scripts/second-suite.sh $(RUN) $(WORKERS)

servers:  ## Install memcached, redis-server and PostgreSQL, if missing
	@scripts/require-servers.sh

format: $(DEV)  ## Rewrite the code in the project's format
	@$(RUN) -m ruff check --fix --quiet || true
	@$(RUN) -m ruff format

demo: $(LEAN)  ## Show what the library does, on the example site
	@$(RUN) examples/clubsite/demo.py

serve: $(LEAN)  ## Serve the example site, on PORT (8000)
	@$(RUN) examples/clubsite/manage.py serve $(PORT)

worker: $(LEAN)  ## Write to the example site from a second process, while `make serve` runs
	@$(RUN) examples/clubsite/manage.py worker

bench: $(BENCH) servers  ## Measure hits against marks, beside other libraries, and draw the plots of the documentation
	@for each in hit async growth pages; do \
		$(RUN) benchmarks/bench_$$each.py --results benchmarks/results.json || exit; \
	done
	@$(RUN) benchmarks/plots.py

bench-commits: $(BENCH) servers  ## Compare the cost of a hit with that at another commit: COMMIT=main
	@$(RUN) benchmarks/bench_commits.py $(COMMIT)

bench-stampede: $(BENCH) servers  ## Measure herds, beside other libraries
	@$(RUN) benchmarks/bench_stampede.py

storm: $(BENCH) servers  ## Look for anything old, where all fails that can
	@$(RUN) benchmarks/storm.py
	@$(RUN) benchmarks/storm_of_tenants.py

public-suites: $(LEAN) servers  ## Fetch wagtail and django-oscar, run their suites with the app, and with an oracle; and Django's tests of caches
	@$(RUN) benchmarks/django_cache_tests.py
	@$(RUN) benchmarks/public_suites.py

python314: $(DEV)  ## Fetch Python 3.14 for node, and run the tests of keys and decorators on it
	@scripts/python314.sh $(RUN)

docs: $(DOCS)  ## Build the documentation as a site; each warning is an error
	@NO_MKDOCS_2_WARNING=1 $(RUN) -m mkdocs build --quiet --strict
	@echo "It is in build/site; to read it: python3 -m http.server --directory build/site"

browser: $(LEAN)  ## Install chromium, look at the pages of the admin in it, and take their screenshots
	@command -v chromium >/dev/null || scripts/install-packages.sh chromium
	@$(RUN) scripts/browser.py

clean:  ## Remove the environments and what the tools have left
	rm -rf .venv .venv-second .venv-314 .coverage .hypothesis .mypy_cache .pytest_cache .ruff_cache build dist

$(RUN):
	@scripts/make-venv.sh "$(PYTHON)" $(VENV)

$(LEAN): pyproject.toml | $(RUN)
	@echo "== installing cachedeco into $(VENV)"
	@$(INSTALL) '.[memcached,redis,debug-toolbar]'  # so that CACHE_URL works, and the site shows the panel
	@touch $@

$(DEV): pyproject.toml | $(RUN)
	@echo "== installing cachedeco and the development tools into $(VENV)"
	@$(INSTALL) '.[dev]'
	@touch $(LEAN) $@

$(BENCH): pyproject.toml | $(RUN)
	@echo "== installing cachedeco and what it is compared to into $(VENV)"
	@$(INSTALL) '.[bench,debug-toolbar]'
	@touch $(LEAN) $@

$(DOCS): pyproject.toml | $(RUN)
	@echo "== installing cachedeco and what builds its documentation into $(VENV)"
	@$(INSTALL) '.[docs]'
	@touch $@
