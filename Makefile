# Two commands: `make demo` and `make test`. Both set everything up first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: demo test setup lint clean

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[dev]"
	# Only its weights are read; what it depends on needs a compiler and is not used.
	$(BIN)/python -m pip install --quiet --no-deps Resemblyzer==0.1.4
	touch $(READY)

setup: $(READY)

demo: $(READY)
	$(BIN)/calm demo

# One OpenMP thread per worker: two threads beside a busy neighbour are several times slower than one.
# Bytecode is kept, whatever the shell says: each of the suite's many processes would compile the sources again.
test: $(READY)
	PYTHONDONTWRITEBYTECODE= OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

lint: $(READY)
	$(BIN)/ruff check calm tests
	$(BIN)/lint-imports

clean:
	rm -rf $(VENV) runs corpora
