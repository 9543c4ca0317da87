# Two commands for a newcomer: `make demo` and `make test`. A machine needs python3 (3.11 or newer) and make.
PYTHON ?= python3
WORKERS ?= 2
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt
TORCH := $(shell grep -o '^torch==.*' constraints.txt)
PACKAGE := pyproject.toml constraints.txt
CODE := src tests docs demo bench

.PHONY: demo test check format clean bench
.DELETE_ON_ERROR:

demo: .venv/.installed-demo  ## train two small GPTs on real text, one with a planted fault, and diagnose both
	$(BIN)/python demo/run.py

test: .venv/.installed-dev  ## the tests, under five minutes
	$(BIN)/pytest -n $(WORKERS) -m "not slow"

check: .venv/.installed-dev  ## what CI runs: format, lint, strict types, tests, fresh docs
	$(BIN)/ruff format --check $(CODE)
	$(BIN)/ruff check $(CODE)
	$(BIN)/mypy
	$(MAKE) test

format: .venv/.installed-dev  ## rewrite the code and the generated pages as `check` wants them
	$(BIN)/ruff format $(CODE)
	$(BIN)/ruff check --fix $(CODE)
	$(BIN)/python docs/generate.py

bench: .venv/.installed-dev  ## the measured figures, as the notes quote them
	@for script in bench/*.py; do echo "== $$script"; $(BIN)/python $$script || exit 1; done

clean:  ## everything that make made
	rm -rf .venv .venv-bare build dist runs/demo demo/cache .mypy_cache .ruff_cache .pytest_cache .hypothesis

# The stamps say that an installation is complete and newer than what it was made from.
.venv/bin/python:
	@command -v $(PYTHON) >/dev/null || { echo "Talweg needs Python 3.11 or newer; there is no $(PYTHON) here."; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Talweg needs Python 3.11 or newer; \
	$(PYTHON) is $$($(PYTHON) --version). Name another one: make PYTHON=python3.12 ..."; exit 1; }
	@echo "== a virtual environment in .venv"
	@$(PYTHON) -m venv .venv || { rm -rf .venv; \
	echo "This Python cannot make virtual environments; on Debian or Ubuntu: apt install python3-venv"; exit 1; }

.venv/.installed-torch: constraints.txt | .venv/bin/python
	@echo "== PyTorch ($(TORCH)): the largest part, once"
	$(PIP) $(TORCH)
	@touch $@

.venv/.installed-demo: $(PACKAGE) .venv/.installed-torch
	@echo "== Talweg and what it needs to train and to draw"
	$(PIP) -e ".[train,report]"
	@touch $@

.venv/.installed-dev: $(PACKAGE) .venv/.installed-torch
	@echo "== Talweg and what its tests need"
	$(PIP) -e ".[dev]"
	@touch $@
