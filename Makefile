# Every target makes the environment it needs, with uv, below .venvs/. Nothing is installed outside this folder.
.DEFAULT_GOAL := help
SHELL := /bin/sh

VENVS := .venvs
DEMO := $(VENVS)/demo
TEST := $(VENVS)/test
CORPUS := $(VENVS)/corpus
MINUTES := 60
WHEELS := build/wheels

# Interpreters are probed by running them: a name on the PATH may be a shim that fails.
PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11 python3.10 python; do \
	"$$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null && echo "$$python" && break; done)
UV ?= $(shell command -v uv 2>/dev/null || echo $(VENVS)/tools/bin/uv)
export UV_PYTHON_DOWNLOADS := never

SOURCES := $(shell find mlguard_nb converter jupyter-config labextension -type f \
	-not -path '*/node_modules/*' -not -path 'labextension/lib/*' -not -path 'mlguard_nb/labextension/*' \
	-not -path '*/__pycache__/*' 2>/dev/null) pyproject.toml hatch_build.py

# mkdocs-material prints an advertisement of its successor otherwise.
export NO_MKDOCS_2_WARNING := 1

.PHONY: help demo lab test docs lint accept bench soak gpu-check corpus fuzz clean test-pythons test-kernels test-frameworks

help:  ## what each target does
	@grep -hE '^[a-z-]+:.*  ## ' $(MAKEFILE_LIST) | awk -F':.*  ## ' '{printf "make %-16s %s\n", $$1, $$2}'

$(VENVS)/tools/bin/uv:
	@test -n "$(PYTHON)" || { echo "No Python of 3.10 or newer was found. Install python3, or name one: make PYTHON=/path/to/python" >&2; exit 1; }
	@echo "installing uv into $(VENVS)/tools"
	@$(PYTHON) -m venv $(VENVS)/tools || { echo "python3 has no venv module here. Install it (on Debian: apt-get install python3-venv)." >&2; exit 1; }
	@$(VENVS)/tools/bin/python -m pip install --quiet --disable-pip-version-check uv

# The wheel holds the prebuilt JupyterLab extension; it is built again only when a source changed.
$(WHEELS)/.stamp: $(SOURCES) | $(UV)
	@echo "building the wheel (the JupyterLab extension is compiled only when its sources changed)"
	@rm -rf $(WHEELS) && mkdir -p $(WHEELS)
	@$(UV) build --quiet --wheel --python $(PYTHON) --out-dir $(WHEELS) .
	@touch $@

# Dependencies first, then the wheel alone: a change of a source file does not resolve them again.
$(DEMO)/.dependencies: pyproject.toml | $(UV)
	@echo "making the environment $(DEMO)"
	@$(UV) venv --quiet --clear --seed --python $(PYTHON) $(DEMO)
	@$(UV) pip install --quiet --python $(DEMO)/bin/python --group examples -r pyproject.toml --extra lab --extra convert --extra prometheus
	@touch $@

$(DEMO)/.stamp: $(DEMO)/.dependencies $(WHEELS)/.stamp
	@$(UV) pip install --quiet --python $(DEMO)/bin/python --no-deps --reinstall-package mlguard-nb $(WHEELS)/*.whl
	@touch $@

$(TEST)/.stamp: pyproject.toml hatch_build.py | $(UV)
	@echo "making the environment $(TEST)"
	@$(UV) venv --quiet --clear --python $(PYTHON) $(TEST)
	@$(UV) pip install --quiet --python $(TEST)/bin/python --group test --group lint --editable '.[all]'
	@touch $@

demo: $(DEMO)/.stamp  ## the main job on real notebooks: run, export, install, compare
	@UV="$(UV)" $(DEMO)/bin/python example_notebooks/run_demo.py --wheels $(WHEELS)

lab: $(DEMO)/.stamp  ## open JupyterLab with everything enabled
	@$(DEMO)/bin/python -m jupyterlab --ServerApp.root_dir=example_notebooks $(LAB_OPTIONS)

test: $(TEST)/.stamp  ## the whole test suite, two tests at a time (TEST_OPTIONS=-n0: one)
	@UV="$(UV)" $(TEST)/bin/python -m pytest -n2 $(TEST_OPTIONS)

test-pythons: | $(UV)  ## the runtime's tests on every other interpreter of this machine
	@UV="$(UV)" sh tests/other_pythons.sh

test-kernels: $(TEST)/.stamp  ## guarded cells beside plain ones, on IPython 8 and 9 and ipykernel 6 and 7
	@UV="$(UV)" PYTHON="$(TEST)/bin/python" sh tests/other_kernels.sh

test-frameworks: $(TEST)/.stamp  ## install torch and jax and run the tests that want them (not part of CI)
	@$(UV) pip install --quiet --python $(TEST)/bin/python torch jax
	@$(TEST)/bin/python -m pytest tests -k "torch or jax"

lint: $(TEST)/.stamp  ## ruff, mypy, pyright, import contracts, tsc
	$(TEST)/bin/ruff check .
	$(TEST)/bin/ruff format --check .
	$(TEST)/bin/mypy
	$(TEST)/bin/pyright --project pyproject.toml --pythonpath $(TEST)/bin/python
	$(TEST)/bin/lint-imports
	$(TEST)/bin/python -m pytest -q tests/test_contracts.py
	$(TEST)/bin/python hatch_build.py typecheck

docs: $(TEST)/.stamp  ## the documentation site, in build/site (DOCS=serve: while you write)
	@$(UV) pip install --quiet --python $(TEST)/bin/python --group docs
	@$(TEST)/bin/mkdocs $(or $(DOCS),build) --quiet
	@echo "build/site/index.html"

accept: $(TEST)/.stamp  ## write the golden files anew (then read the diff)
	@MLGUARD_ACCEPT=1 $(TEST)/bin/python -m pytest -q tests/converter -k golden

bench: $(TEST)/.stamp  ## our figures beside the peers', in one run
	@$(UV) pip install --quiet --python $(TEST)/bin/python --group bench
	@$(TEST)/bin/python -m benchmarks $(BENCH_OPTIONS)

soak: $(TEST)/.stamp  ## ten minutes of mixed load with faults, every memory bomb in a container, 60,000 cells under signals, 2,000 cells of one notebook
	@broken=0; \
	$(TEST)/bin/python -m tests.soak $(SOAK_OPTIONS) || broken=1; \
	$(TEST)/bin/python -m tests.notebook.soak_bombs || broken=1; \
	$(TEST)/bin/python -m tests.notebook.races || broken=1; \
	$(TEST)/bin/python -m tests.notebook.soak_cells || broken=1; \
	exit $$broken

gpu-check: $(TEST)/.stamp  ## what only a machine with an NVIDIA GPU can show, as a table
	@broken=0; \
	$(TEST)/bin/python -m tests.gpu.check || broken=1; \
	$(TEST)/bin/python -m pytest -m gpu tests/gpu $(TEST_OPTIONS) || broken=1; \
	exit $$broken

# The notebooks' own libraries and the peers, in an environment of their own.
$(CORPUS)/.stamp: pyproject.toml | $(UV)
	@echo "making the environment $(CORPUS)"
	@$(UV) venv --quiet --clear --seed --python $(PYTHON) $(CORPUS)
	@$(UV) pip install --quiet --python $(CORPUS)/bin/python --group corpus --editable '.[lab,convert]'
	@touch $@

corpus: $(CORPUS)/.stamp  ## public notebooks, converted by us and by our peers: the goal table
	@$(CORPUS)/bin/python -m tests.public $(CORPUS_OPTIONS)

fuzz: $(TEST)/.stamp  ## an hour of drawn notebooks: each must compute as a package what it computes as cells
	@$(TEST)/bin/python -m tests.converter.fuzz_notebooks --minutes $(MINUTES) $(FUZZ_OPTIONS)

clean:  ## remove every environment and build output
	rm -rf $(VENVS) build dist mlguard_nb/labextension labextension/lib labextension/node_modules tests/artefacts
