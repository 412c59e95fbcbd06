# Each target works on a fresh clone with Python >= 3.11, make and a C++ compiler, and nothing else.
PYTHON ?= python3
BIN := .venv/bin
CORE_SOURCES := $(shell find csrc -name '*.cpp' -o -name '*.h' -o -name '*.cu' -o -name '*.cuh')

.PHONY: demo results test lint bench sanitize clean

.venv/installed: pyproject.toml setup.py constraints.txt $(CORE_SOURCES)
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[train,parquet,dev]'
	touch $@

demo: .venv/installed
	$(BIN)/python examples/demo.py

results: .venv/installed
	$(BIN)/python results/make.py

# A worker has one core; tests of threads set their own number.
test: .venv/installed
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto

lint: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	find csrc -name '*.cpp' -o -name '*.h' -o -name '*.cu' -o -name '*.cuh' | xargs $(BIN)/clang-format --dry-run --Werror

bench: .venv/installed
	$(BIN)/python benchmarks/kernels.py --quick

# The core without Python under three sanitizers, then the kernel tests in Python on a core built with two of them.
SANITIZERS := address,undefined
CORE_TEST := csrc/packed.cpp csrc/threads.cpp $(wildcard csrc/cpu/*.cpp) csrc/tests/core.cpp
KERNEL_TESTS := $(addprefix tests/conv/test_,kernels.py small_batches.py blocked_core.py regressions.py \
                determinism.py nonfinite.py isas.py border.py finish.py pooling.py \
                backward_input_rows.py blocked.py)

build/sanitize/core-%: $(CORE_TEST) $(CORE_SOURCES)
	mkdir -p $@.o && cd $@.o && printf '%s\n' $(CORE_TEST) | xargs -P 2 -I{} $(CXX) -std=c++17 -g -O1 -pthread \
	    -fsanitize=$* -fno-sanitize-recover=all -I$(CURDIR)/csrc -c $(CURDIR)/{}
	$(CXX) -pthread -fsanitize=$* $@.o/*.o -o $@

sanitize: .venv/installed build/sanitize/core-$(SANITIZERS) build/sanitize/core-thread
	build/sanitize/core-$(SANITIZERS)
	build/sanitize/core-thread
	rm -rf build/sanitize/tree && mkdir -p build/sanitize/tree
	cp -r csrc sparsefit tests setup.py pyproject.toml README.md LICENSE build/sanitize/tree
	rm -f build/sanitize/tree/sparsefit/_core*.so
	cd build/sanitize/tree && SPARSEFIT_CUDA=0 CXXFLAGS="-fsanitize=$(SANITIZERS) -fno-sanitize-recover=all" \
	    LDFLAGS="-fsanitize=$(SANITIZERS)" $(CURDIR)/$(BIN)/python setup.py build_ext --inplace
	nm -D build/sanitize/tree/sparsefit/_core*.so | grep -q __asan_init
	# Python itself leaks on exit; libstdc++ comes first so that exceptions are intercepted.
	cd build/sanitize/tree && ASAN_OPTIONS=detect_leaks=0 \
	    LD_PRELOAD="$$($(CXX) -print-file-name=libasan.so) $$($(CXX) -print-file-name=libstdc++.so)" \
	    $(CURDIR)/$(BIN)/python -m pytest -q -p no:cacheprovider $(KERNEL_TESTS)

clean:
	rm -rf .venv build demo sparsefit.egg-info sparsefit/_core*.so
