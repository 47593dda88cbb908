# make lab    open the book in JupyterLab       make test       everything that must hold
# make book   run and rewrite the chapters      make quick      the part of it that takes three minutes
# make bench  measure, against other libraries  make exercises  rebuild exercises/ from solutions/
# make site   the book as pages, in site/        make clean      remove the environment
#
# PYTHON=python3.12        another Python (3.11 or newer)
# TORCH_FLAGS="…"          options of pip for PyTorch alone, such as the index of its CPU-only builds
# LAB_FLAGS=--no-browser   options of JupyterLab
# JOBS=4                   how many processes run tests
# TESTS="…"                options of pytest, such as --random-order-seed=7: the tests in another order
#
# What is done stands in book/starting.py; without make, `python lab.py help` says the same.

PYTHON ?= python3
HERE := $(PYTHON) lab.py
# A program of the environment under the settings of tests: one thread, a fixed hash seed, no progress bars.
NOTHING :=
RUN := $(HERE) run $(NOTHING)
export VENV ?= .venv
export JOBS ?= 2

.PHONY: lab install test quick lint pytest notebooks book exercises site bench clean
.NOTPARALLEL:

lab: install
	@$(HERE) $(LAB_FLAGS)

install:
	@$(HERE) install $(TORCH_FLAGS)

test quick pytest: install
	$(HERE) $@ $(TESTS)

lint notebooks: install
	$(HERE) $@

book: install
	$(RUN)toolkit book
	$(RUN)toolkit states

exercises: install
	$(RUN)toolkit build

site: install
	$(RUN)toolkit site site --jobs $(JOBS)

bench: install
	$(RUN)python -m benchmarks

clean:
	@$(HERE) clean
