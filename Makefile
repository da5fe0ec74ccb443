# `make run` runs the default configuration end to end, `make test` the tests; both build the environment first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: env run test test-slow test-gpu test-cluster test-cluster-all docs lint clean test-robustness lock

env: $(VENV)/.installed

# Installed again when the dependencies change.
$(VENV)/.installed: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@

run: env
	$(BIN)/snakemake

# Files in the order of testpaths, the long ones first, so that no core ends alone with one of them. A test that hangs ends
# the run after six minutes, with its name and where it stood.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto --dist loadfile --no-loadscope-reorder \
	  --max-worker-restart 0 -o faulthandler_timeout=360 -o faulthandler_exit_on_timeout=true

test: env
	$(PYTEST) -m "not slow"

# Whole chains of jobs, and what else takes ten seconds or more. CI runs them too.
test-slow: env
	$(PYTEST) -m slow

# Methods and extractors on CUDA against the CPU; each test is skipped where torch can use no GPU, and says why.
test-gpu: env
	$(BIN)/python -m pytest tests/gpu -rs

# On a SLURM of one node that is started for it and ended after it: as root, on Debian.
test-cluster: env
	tests/cluster/run.sh -m "not long"

test-cluster-all: env
	tests/cluster/run.sh

# The pages of docs/, from disk: docs/_build/index.html. A warning is an error.
docs: env
	$(BIN)/python docs/generate.py
	$(BIN)/python -m sphinx -q -W --keep-going docs docs/_build

# Faults, bad input, leakage: the long part too, whose figures go into docs/robustness.md. A part is a file of tests, and
# can be run alone: `make tests/robustness/.counts/test_disk.json`. Where it is stopped, the same command goes on with
# the parts that have not passed since code or tests were edited.
PARTS := $(patsubst tests/robustness/%.py,tests/robustness/.counts/%.json,$(wildcard tests/robustness/test_*.py))
TRIED := $(shell find workflow tests/robustness tests/workflow tests/*.py Snakefile -name '*.py' -o -name '*.smk' -o -name Snakefile)

tests/robustness/.counts/%.json: $(TRIED) | env
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/robustness/$*.py --numprocesses auto --long --counts $@

test-robustness: $(PARTS)
	$(BIN)/python tests/robustness/table.py tests/robustness/.counts

# Every package of the environment with the hashes of its files, for Linux and Python 3.11.
lock: env
	$(BIN)/python -m pip install --quiet uv==0.13.9
	$(BIN)/uv pip compile pyproject.toml --extra dev --python-version 3.11 --generate-hashes --quiet \
	  --custom-compile-command "make lock" --output-file requirements.lock

lint: env
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/snakefmt --check Snakefile workflow/rules
	$(BIN)/snakemake --lint

clean:
	rm -rf results/data results/weights results/features results/codes results/fits results/runs \
	  results/experiments results/report* results/.partial results/.logs .snakemake
