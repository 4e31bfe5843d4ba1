# haarflow: `make demo` trains, samples and reports; `make test` tests; `make check` is what a change must pass.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
JOBS ?= 2
# Neighbouring tests share compiled programs, so each worker begins with a row of them: less to compile and to keep.
SHARE = -n $(JOBS) --dist worksteal
# The check shuffles modules, and the tests within each, by a seed that it prints: SEED=N repeats an order.
SHUFFLE = --random-order $(if $(SEED),--random-order-seed=$(SEED))
# The default tests in parts, each with workers of its own: what compilers and libraries keep in memory ends with them.
PHYSICS = tests/core tests/theories
FLOWS = tests/backends tests/flows
REST = $(filter-out $(PHYSICS) $(FLOWS) tests/__pycache__,$(patsubst %/,%,$(wildcard tests/*/)))
define default_tests
	@failed=0; for part in "$(PHYSICS)" "$(FLOWS)" "$(REST)"; do $(BIN)/python -m pytest $(SHARE) $(1) $$part || failed=1; done; exit $$failed
endef
# What `make lowest` and `make newest` run: every package that has a lower bound is used there.
BOUNDS = tests/haarflow/test_cli.py tests/core/test_files.py tests/core/test_random.py tests/backends/compiled/test_vector.py
# One thread a process: two pytest workers share two cores without treading on each other.
export OMP_NUM_THREADS = 1

.PHONY: demo freezing test test-engines test-statistical test-slow fuzz kill costs coverage release lowest newest docs check format clean help

help:            ## show this list
	@grep -E '^[a-z-]+: .*##' Makefile | sed -E 's/:.*##/\t/'

$(VENV)/demo.done: pyproject.toml constraints.txt
	@echo "Installing haarflow with JAX into $(VENV): 170 MB to download, 0.8 GB on disk"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -c constraints.txt -e '.[demo]'
	touch $@

$(VENV)/dev.done: pyproject.toml constraints.txt
	@echo "Installing haarflow, JAX, PyTorch and what the tests need into $(VENV): 415 MB to download, 2.2 GB on disk"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -c constraints.txt 'torch==2.13.0'
	$(BIN)/pip install -c constraints.txt -e '.[dev,demo,torch]'
	touch $@

demo: $(VENV)/demo.done   ## train, sample and prove the 2D U(1) flow; the report lands in runs/u1-2d/report.html
	$(BIN)/haarflow run u1-2d --out runs/u1-2d

freezing: $(VENV)/demo.done   ## the charge history at 16x16, beta = 7, from the model that ships
	$(BIN)/haarflow run u1-freezing --out runs/u1-freezing

test: $(VENV)/dev.done   ## the default tests, about 9 minutes on two cores
	$(call default_tests)

test-engines: $(VENV)/dev.done   ## the laws and mutants on every further backend, further cases on JAX
	$(BIN)/python -m pytest $(SHARE) -m "engines and not statistical and not slow"

test-statistical: $(VENV)/dev.done   ## the Monte Carlo tests
	$(BIN)/python -m pytest $(SHARE) -m statistical

test-slow: $(VENV)/dev.done   ## end-to-end tests of minutes
	$(BIN)/python -m pytest $(SHARE) -m slow

fuzz: $(VENV)/dev.done   ## 10,000 damaged files of each kind: read, or refused with one sentence (some ten minutes)
	$(BIN)/python -m tests.fuzz

kill: $(VENV)/dev.done   ## kill 100 runs at random times, resume them, and compare every number
	$(BIN)/python -m tests.kill

costs: $(VENV)/dev.done   ## the default tests, and which files and tests take most CPU and memory, in compilers and in all
	$(BIN)/python -m pytest $(SHARE) -p tests.support.costs

COVERED = --cov-append --cov-report= $(addprefix --cov=haarflow,"" .backends .core .theories .flows)

coverage: $(VENV)/dev.done   ## the default tests, and which share of each package they execute
	rm -f .coverage
	$(call default_tests,$(COVERED))
	$(BIN)/python -m tests.support.covered

release: $(VENV)/dev.done   ## build wheel and sdist, try them in empty environments on every Python here, list what is left to do
	$(BIN)/python -m tests.release

# The environment of `make lowest`, apart from its tests: it alone needs the network.
$(VENV)-lowest/done: pyproject.toml tests/support/lowest.py
	$(PYTHON) -m venv $(VENV)-lowest
	$(VENV)-lowest/bin/pip install -q 'packaging>=24' 'pytest>=8.3' 'pytest-xdist>=3.6'
	$(VENV)-lowest/bin/python tests/support/lowest.py > $(VENV)-lowest/pins.txt
	$(VENV)-lowest/bin/pip install -q --no-compile -r $(VENV)-lowest/pins.txt -e .
	touch $@

lowest: $(VENV)-lowest/done   ## a subset of the tests with the lowest versions allowed, in an environment of their own (torch apart)
	$(VENV)-lowest/bin/python -m pytest $(SHARE) $(BOUNDS)

newest:          ## the same subset with the newest versions (torch apart)
	$(PYTHON) -m venv $(VENV)-newest
	$(VENV)-newest/bin/pip install 'torch==2.13.0'
	$(VENV)-newest/bin/pip install -e '.[dev,demo,torch]'
	$(VENV)-newest/bin/python -m pytest $(BOUNDS)

# The environment of `make docs`, apart from the site itself: it alone needs the network.
$(VENV)-docs/done: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)-docs
	$(VENV)-docs/bin/pip install -q --upgrade pip
	$(VENV)-docs/bin/pip install -q --no-compile -c constraints.txt -e '.[docs]'
	touch $@

docs: $(VENV)-docs/done   ## the manual and the reference as HTML in build/site; a broken link or reference fails
	$(VENV)-docs/bin/python -m docs.tools.pages build/pages
	$(VENV)-docs/bin/zensical build --strict --clean

check: $(VENV)/dev.done   ## ruff, mypy, the layer contracts and the default tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(call default_tests,$(SHUFFLE))

format: $(VENV)/dev.done   ## put the sources into the house format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:           ## remove the environment and build leftovers
	rm -rf $(VENV) $(VENV)-docs $(VENV)-lowest $(VENV)-newest .cache build dist *.egg-info
