# haarflow: `make demo` trains, samples and reports; `make test` tests; `make check` is what a change must pass.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
JOBS ?= 2
# Neighbouring tests share compiled programs, so each worker begins with a row of them: less to compile and to keep.
SHARE = -n $(JOBS) --dist worksteal
# One thread a process: two pytest workers share two cores without treading on each other.
export OMP_NUM_THREADS = 1

.PHONY: demo freezing test test-statistical test-slow fuzz kill check format clean help

help:            ## show this list
	@grep -E '^[a-z-]+: .*##' Makefile | sed -E 's/:.*##/\t/'

$(VENV)/demo.done: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q -c constraints.txt -e '.[demo]'
	touch $@

$(VENV)/dev.done: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q -c constraints.txt 'torch==2.13.0'
	$(BIN)/pip install -q -c constraints.txt -e '.[dev,demo,torch]'
	touch $@

demo: $(VENV)/demo.done   ## train, sample and prove the 2D U(1) flow; the report lands in runs/u1-2d/report.html
	$(BIN)/haarflow run u1-2d --out runs/u1-2d

freezing: $(VENV)/demo.done   ## the charge history at 16x16, beta = 7, from the model that ships
	$(BIN)/haarflow run u1-freezing --out runs/u1-freezing

test: $(VENV)/dev.done   ## the default tests, under ten minutes on two cores
	$(BIN)/python -m pytest $(SHARE)

test-statistical: $(VENV)/dev.done   ## the Monte Carlo tests
	$(BIN)/python -m pytest $(SHARE) -m statistical

test-slow: $(VENV)/dev.done   ## end-to-end tests of minutes
	$(BIN)/python -m pytest $(SHARE) -m slow

fuzz: $(VENV)/dev.done   ## 10,000 damaged files of each kind: read, or refused with one sentence (some ten minutes)
	$(BIN)/python -m tests.fuzz

kill: $(VENV)/dev.done   ## kill 100 runs at random times, resume them, and compare every number
	$(BIN)/python -m tests.kill

check: $(VENV)/dev.done   ## ruff, mypy, the layer contracts and the default tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest $(SHARE)

format: $(VENV)/dev.done   ## put the sources into the house format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:           ## remove the environment and build leftovers
	rm -rf $(VENV) build dist *.egg-info
