# Two commands on a fresh machine with Python 3.11 and make: `make demo` and `make test`.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test docs bench fuzz clean

demo: .venv/core
	$(BIN)/genvet demo --out genvet-demo

# One thread a worker: xdist runs as many workers as there are cores.
test: export OMP_NUM_THREADS = 1
test: .venv/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pytest -n auto --dist loadfile

docs: .venv/dev
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

bench: .venv/dev
	$(BIN)/python -m benchmarks

fuzz: .venv/dev
	$(BIN)/python -m benchmarks.fuzz_readers

clean:
	rm -rf .venv build dist site genvet-demo

# torch goes first and alone: whatever comes after it then keeps this build.
.venv/torch: constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet -c constraints.txt torch
	touch $@

.venv/core: .venv/torch pyproject.toml
	$(BIN)/pip install --quiet -c constraints.txt -e .
	touch $@

.venv/dev: .venv/torch pyproject.toml
	$(BIN)/pip install --quiet -c constraints.txt -e '.[dev]'
	touch $@ .venv/core
