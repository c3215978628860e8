# PYTHON is any Python 3.10 or newer; all else is installed into .venv. `make demo` needs nothing but that.
PYTHON ?= python3
VENV ?= .venv
export PYTHON VENV

SAMPLES = $(sort $(wildcard $(addprefix funasr/bundled/samples/*., flac mp3 wav ogg m4a)))

.PHONY: demo test check slow bench parity clean

demo: ## Transcribe the sample recordings with the bundled models: text, then the time of every word
	@scripts/install torch
	$(VENV)/bin/funasr --timestamps $(SAMPLES)

test: ## The default tests: no network, no weights, no GPU
	@scripts/install dev
	@scripts/test

check: ## Style, types, layers
	@scripts/install dev
	@scripts/check

slow: ## The tests that take minutes
	@scripts/install dev
	@scripts/test -m "slow and not gpu and not reference"

bench: ## Every benchmark, one after the other
	@scripts/install dev
	@for script in benchmarks/*.py; do echo "== $$script"; $(VENV)/bin/python $$script || exit 1; done

parity: ## Our results beside those of upstream (FUNASR_REFERENCE_PYTHON: a Python that has it installed)
	@scripts/install dev
	$(VENV)/bin/python scripts/parity.py

clean: ## Remove what the targets above made
	rm -rf $(VENV) *.egg-info build dist .mypy_cache .ruff_cache .pytest_cache
