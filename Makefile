# Everything starts here: `make demo` shows the engine at work, `make test` proves it. Both set themselves up.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
OUT ?= demo

.PHONY: demo test test-all check format bench wheel clean

demo: $(STAMP)  ## search over real models, end with a verdict and a report
	$(BIN)/archon search zoo --benchmark ledger+minicode --seed 1 \
		--trials 16 -o search=40 -o selection=60 -o held_out=500 --out $(OUT) --json $(OUT).json --resume

test: $(STAMP)  ## the test suite, with the coverage it must keep
	$(BIN)/python -m pytest -n 2 -m "not slow" --cov --cov-report=term:skip-covered --cov-fail-under=90

test-all: $(STAMP)  ## the slow tests as well
	$(BIN)/python -m pytest -n 2

check: $(STAMP)  ## what must hold before a commit
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(STAMP)  ## performance scripts; each prints a table and one JSON line
	for script in bench/*.py; do echo "== $$script"; $(BIN)/python $$script || exit 1; done

wheel: $(STAMP)
	rm -rf dist
	$(BIN)/python -m build --wheel

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $(STAMP)

clean:
	rm -rf $(VENV) $(OUT) dist build .mypy_cache .pytest_cache .ruff_cache .coverage
