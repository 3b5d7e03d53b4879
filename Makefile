# Two commands do everything on a machine with Python, git and a C compiler:
#     make demo      make test
# Another Python:    make test PYTHON=python3.12

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.installed
SPEED := .venv-speed
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

# Threads of PyTorch that wait shall sleep: spinning, they slow down whatever shares the cores.
export OMP_WAIT_POLICY ?= PASSIVE

.DEFAULT_GOAL := help
.PHONY: demo test plain lint types sanitize mutations benchmarks speed clean help

help: ## List the targets
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

demo: $(READY) ## Learn the packaged table of particle collisions and show that it was learned
	@$(BIN)/pushforward demo --out demo

test: $(READY) ## All tests and the examples in the documentation
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --maxprocesses 8 --dist worksteal

plain: $(READY) ## The tests of what has kernels once more, without them
	@PUSHFORWARD_KERNELS=0 OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --maxprocesses 8 --dist worksteal tests/maps tests/transforms -k "(oupling or utoregressi or pline or ffine or ixture) and not (compiled or small_steps or stored)"

lint: $(READY) ## Style
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

types: $(READY) ## Types
	@$(BIN)/mypy

# The flags of setup.py but for the optimization. TEST_WIDE: the widest vectors run anywhere. A
# report ends the process; pytest lets through what is written past Python. Errors that PyTorch throws
# must be known to the sanitizer: hence the library of C++ beside its own.
SANITIZED := build/kernels-sanitized.so
SANITIZE := -fsanitize=address,undefined -fno-sanitize-recover=undefined -g -O1 -fno-omit-frame-pointer

$(SANITIZED): $(wildcard src/pushforward/kernels/csrc/*)
	@mkdir -p build
	@gcc -std=gnu11 -fvisibility=hidden -fno-math-errno -fno-trapping-math -fPIC -shared $(SANITIZE) -DTEST_WIDE -Wno-psabi src/pushforward/kernels/csrc/kernels.c -o $@ -lm

sanitize: $(READY) $(SANITIZED) ## The kernels' tests, watched for writes out of bounds and undefined behaviour (gcc)
	@for target in avx512 avx2 plain; do \
	  LD_PRELOAD="$$(gcc -print-file-name=libasan.so) $$(gcc -print-file-name=libstdc++.so.6)" PYTHONMALLOC=malloc OMP_NUM_THREADS=2 \
	  ASAN_OPTIONS=detect_leaks=0:malloc_context_size=3:quarantine_size_mb=32 UBSAN_OPTIONS=print_stacktrace=1 \
	  PUSHFORWARD_KERNELS=$(SANITIZED) PUSHFORWARD_KERNELS_TARGET=$$target \
	  $(BIN)/python -m pytest -x --capture=sys -p no:cacheprovider -k "not in_float32 and not float32_is" \
    tests/kernels/test_rows.py tests/kernels/test_retraced.py tests/kernels/test_density.py \
    tests/kernels/test_accuracy.py tests/kernels/test_transformations.py \
	  || exit 1; \
	done

mutations: $(READY) ## Break the mathematics in many ways: the tests must notice each
	@$(BIN)/python tests/mutations.py

benchmarks: $(READY) ## Compare with other libraries (needs PUSHFORWARD_DATA, takes long)
	@$(PIP) install -c constraints.txt -r benchmarks/requirements.txt
	@$(BIN)/python benchmarks/fidelity.py
	@$(BIN)/python benchmarks/tables.py

speed: ## Time ours and the other libraries in an environment of their own (takes half an hour)
	@test -d $(SPEED) || $(PYTHON) -m venv $(SPEED)
	@$(SPEED)/bin/python -m pip --disable-pip-version-check --quiet install -c constraints.txt -r benchmarks/requirements.txt .
	@env -u OMP_WAIT_POLICY $(SPEED)/bin/python benchmarks/speed.py

clean: ## Remove what the other targets made
	@rm -rf $(VENV) $(SPEED) demo build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis src/*.egg-info
	@find src tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +
	@rm -f src/pushforward/kernels/_compiled*

# The stamp is written last, so that an installation that broke off is begun again. What is never
# imported need not be compiled to bytecode, which takes long.
$(READY): pyproject.toml setup.py constraints.txt $(wildcard src/pushforward/kernels/csrc/*)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "Python 3.10 or newer is needed, $(PYTHON) is %d.%d; try make PYTHON=python3.12" % sys.version_info[:2])'
	@echo "Installing into $(VENV) (once; PyTorch is large) …"
	@$(PYTHON) -m venv $(VENV)
	@$(PIP) install --no-compile -c constraints.txt -e '.[dev]'
	@touch $@
