# Each target works on a fresh clone with Python >= 3.11, make and a C++ compiler, and nothing else.
PYTHON ?= python3
BIN := .venv/bin
CORE_SOURCES := $(shell find csrc -name '*.cpp' -o -name '*.h' -o -name '*.cu' -o -name '*.cuh')

.PHONY: demo test lint bench clean

.venv/installed: pyproject.toml setup.py constraints.txt $(CORE_SOURCES)
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[train,parquet,dev]'
	touch $@

demo: .venv/installed
	$(BIN)/python examples/demo.py

test: .venv/installed
	$(BIN)/python -m pytest -n auto

lint: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	find csrc -name '*.cpp' -o -name '*.h' -o -name '*.cu' -o -name '*.cuh' | xargs $(BIN)/clang-format --dry-run --Werror

bench: .venv/installed
	$(BIN)/python benchmarks/kernels.py --quick

clean:
	rm -rf .venv build demo sparsefit.egg-info sparsefit/_core*.so
