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

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
STAMP := $(VENV)/.installed
# One thread and a fixed hash seed: the same numbers on every run. No progress bars in outputs that are compared.
RUN := env OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 PYTHONHASHSEED=0 MPLBACKEND=Agg TQDM_DISABLE=1 $(BIN)/
# The same for whoever reads, unless they have chosen a number: see book/threads.py.
ONE_THREAD := env OMP_NUM_THREADS=$${OMP_NUM_THREADS:-1} MKL_NUM_THREADS=$${MKL_NUM_THREADS:-1} \
	OPENBLAS_NUM_THREADS=$${OPENBLAS_NUM_THREADS:-1}
JOBS ?= 2
ROOT := $(if $(filter 0,$(shell id -u)),--allow-root)
QUIET := --LabApp.news_url=None --LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate \
	--LabApp.extension_manager=readonly

.PHONY: lab test quick lint pytest notebooks book exercises site bench clean
.NOTPARALLEL:

lab: $(STAMP)
	$(ONE_THREAD) $(BIN)/jupyter lab $(ROOT) $(QUIET) --LabApp.default_url=/lab/tree/chapters/00_start_here.ipynb $(LAB_FLAGS)

test: lint pytest notebooks
	@cat $(VENV)/.skipped

# By their order and not by how many tests they have: the longest files have few, and would come last, alone.
SHARED := -n $(JOBS) --dist loadgroup --no-loadscope-reorder

# For the daily round: what is not marked slow, in three minutes on two cores.
quick: lint
	$(RUN)python -m pytest -q $(SHARED) -m 'not slow and not browser' $(TESTS)

lint: $(STAMP)
	$(RUN)ruff check .

# Claims whose experiments a page shows are decided below, in the kernel that has run them.
pytest: $(STAMP) $(VENV)/.nbgrader
	$(RUN)python -m pytest -q $(SHARED) -m 'not claims' --skipped-to $(VENV)/.skipped $(TESTS)

JUDGED := -p tests.book.notebooks.form -p tests.book.notebooks.claimed

# The chapters as nbval sees them; what it got is then compared, to the byte, with what is committed, and the claims
# of the experiments that it shows are decided.
notebooks: $(STAMP)
	$(RUN)python -m pytest -q -n $(JOBS) --dist loadfile $(JUDGED) --nbval --nbval-current-env chapters

book: $(STAMP)
	$(RUN)toolkit book
	$(RUN)toolkit states

exercises: $(STAMP)
	$(RUN)toolkit build

site: $(STAMP)
	$(RUN)toolkit site site --jobs $(JOBS)

bench: $(STAMP)
	$(RUN)python -m benchmarks

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
		{ echo "Python 3.11 or newer is needed, and $(PYTHON) is not: install one and say make PYTHON=python3.12."; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@echo "Installing PyTorch and JupyterLab into $(VENV): once, some minutes."
	$(PIP) $(TORCH_FLAGS) torch
	$(PIP) --editable '.[book,test]'
	@# These two would pull a second torch; the few packages that their samplers import are in the extra `test`.
	$(PIP) --no-deps k-diffusion smalldiffusion
	@# JupyterLab would ask each new reader whether to fetch news.
	@$(BIN)/jupyter labextension disable --level=sys_prefix @jupyterlab/apputils-extension:announcements >$(VENV)/.log 2>&1
	@touch $@

# nbgrader, which our marks are compared with, brings a tab of its own into JupyterLab: so it lies in an environment
# beside, which sees the packages of the first.
$(VENV)/.nbgrader: $(STAMP)
	$(BIN)/python -m venv $(VENV)/nbgrader
	@packages='import sysconfig; print(sysconfig.get_path("purelib"))'; \
		echo "import site; site.addsitedir('$$($(BIN)/python -c "$$packages")')" \
		> "$$($(VENV)/nbgrader/bin/python -c "$$packages")/above.pth"
	$(VENV)/nbgrader/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt 'nbgrader>=0.9.6'
	@touch $@

clean:
	rm -rf $(VENV)
