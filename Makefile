# PYTHON is any Python 3.10 or newer; all else is installed into .venv. `make demo` needs nothing but that.
PYTHON ?= python3
VENV ?= .venv
DATA ?= ../shared/data
export PYTHON VENV

SAMPLES = $(sort $(wildcard $(addprefix funasr/bundled/samples/*., flac mp3 wav ogg m4a)))

.PHONY: demo test check slow bench parity clean

demo: ## Transcribe the sample recordings with the bundled models: text, then the time of every word
	@scripts/install base
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

bench: ## Speed here and now; accuracy too where DATA, a folder of recordings, is there
	@scripts/install dev
	$(VENV)/bin/python benchmarks/import_time.py
	$(VENV)/bin/python benchmarks/fbank.py
	$(VENV)/bin/python benchmarks/vad.py funasr/bundled/fsmn-vad-small
	@if [ -d "$(DATA)" ]; then for script in benchmarks/*accuracy.py; do \
	    echo "$$script"; $(VENV)/bin/python "$$script" --data "$(DATA)" || exit 1; done; fi

parity: ## Our results beside upstream's: FUNASR_REFERENCE_PYTHON=... make parity ARGS="--models DIR --audio a.wav"
	@scripts/install dev
	$(VENV)/bin/python scripts/parity.py $(ARGS)
	$(VENV)/bin/python scripts/parity_onnx.py $(ARGS)
	$(VENV)/bin/python scripts/parity_engines.py $(ARGS)

clean: ## Remove what the targets above made
	rm -rf $(VENV) *.egg-info build dist .mypy_cache .ruff_cache .pytest_cache
