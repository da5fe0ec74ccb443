# `make run` runs the default configuration end to end, `make test` the tests; both build the environment first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: env run test test-cluster test-cluster-all lint clean

env: $(VENV)/.installed

# Installed again when the dependencies change.
$(VENV)/.installed: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@

run: env
	$(BIN)/snakemake
	@$(BIN)/python -m cmr summary results
	@echo "report: $(CURDIR)/results/report/index.html"

test: env
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto --dist loadfile

# On a SLURM of one node that is started for it and ended after it: as root, on Debian.
test-cluster: env
	tests/cluster/up.sh
	$(BIN)/python -m pytest tests/cluster -m "not long"; status=$$?; tests/cluster/down.sh; exit $$status

test-cluster-all: env
	tests/cluster/up.sh
	$(BIN)/python -m pytest tests/cluster; status=$$?; tests/cluster/down.sh; exit $$status

lint: env
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/snakefmt --check Snakefile workflow
	$(BIN)/snakemake --lint

clean:
	rm -rf results/data results/weights results/features results/codes results/fits results/runs \
	  results/experiments results/report* results/.partial results/.logs .snakemake
