# What people type. Everything runs in .venv, which `make install` makes.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/installed
NATIVE := $(wildcard CMakeLists.txt setup.py csrc/*.cpp csrc/core/* csrc/ops/*/*)
PIP := $(BIN)/python -m pip --disable-pip-version-check
# What is compiled is kept: an install, a wheel and the tests of the objects share it.
export GNAS_BUILD := $(CURDIR)/build/native

.PHONY: demo test test-all install lint format bench-ops bench-recommenders bench-search bench-finding bench-compress bench-serve install-bench fuzz gpu-check sanitize peers-check cuda-check emulate wheel-check torch-check clean help

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

demo: install  ## the main job on the embedded log: search, artefact, recommendations, report
	@$(BIN)/gnas-ext demo --out demo-out

# A worker a core; threads that wait for each other leave it to those that do not.
test: install  ## the whole fast test suite
	OMP_WAIT_POLICY=passive $(BIN)/python -m pytest -n auto

test-all: install  ## the slow tests too
	$(BIN)/python -m pytest -m "slow or not slow"

install: $(STAMP)  ## .venv with everything, and the extension built in place

# The native sources are prerequisites: an editable install is built again when they change, and only then.
$(STAMP): pyproject.toml constraints.txt $(NATIVE) | $(VENV)
	$(PIP) install -q -c constraints.txt torch numpy
	$(PIP) install -q -c constraints.txt 'setuptools>=77' wheel 'pybind11>=2.13' ninja $$(command -v cmake >/dev/null || echo cmake)
	PATH="$(abspath $(BIN)):$$PATH" $(PIP) install -q -c constraints.txt --no-build-isolation -e '.[search,test,lint]'
	@touch $@

$(VENV):
	$(PYTHON) -m venv $@

lint: install  ## ruff, clang-format, mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/clang-format --dry-run --Werror $$(git ls-files 'csrc/*.cpp' 'csrc/*.h' 'csrc/*.cu' 'csrc/*.cuh' 'csrc/*.c')
	$(BIN)/mypy

format: install  ## rewrite the sources as lint wants them
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/clang-format -i $$(git ls-files 'csrc/*.cpp' 'csrc/*.h' 'csrc/*.cu' 'csrc/*.cuh' 'csrc/*.c')

install-bench: install  ## the rivals of the benchmarks; torch-scatter takes five minutes to build
	$(PIP) install -q -c constraints.txt --no-build-isolation -e '.[bench]'

# A part: make bench-ops OPS=spmm,sddmm GRAPHS=gowalla SIZES=64
bench-ops: install  ## the ops beside their rivals (make install-bench), 40 minutes; OPS=spmm GRAPHS=gowalla for a part
	$(BIN)/python -m benchmarks --ops '$(OPS)' --graphs '$(GRAPHS)' --sizes '$(SIZES)'

# A part: make bench-recommenders DATA=../shared/data POINTS=gf-cf SETS=gowalla; it goes on where it was stopped
DATA ?= ../shared/data
POINTS ?=
SETS ?= gowalla,yelp2018

bench-recommenders: install  ## the recommenders beside their published figures, on the splits in DATA, two hours
	$(BIN)/python -m benchmarks.recommenders --data '$(DATA)' --points '$(POINTS)' --sets '$(SETS)'

# A part: make bench-search SEEDS=10 METHODS=ours,random; it goes on where it was stopped
SEEDS ?= 50
METHODS ?= ours,ours without predictor,ours with decoder,Optuna TPE,Optuna NSGA-II,random

bench-search: install  ## the search beside Optuna on NAS-Bench-Graph (make install-bench), an hour
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.search --seeds '$(SEEDS)' --methods '$(METHODS)'

# A part: make bench-finding MINUTES=10 SETS=movietweetings METHODS=ours,random
bench-finding: install  ## what an hour of searching finds, beside random search, TPE and recipes, eight hours
	$(BIN)/python -m benchmarks.finding --data '$(DATA)' --minutes '$(or $(MINUTES),60)' $(if $(filter command line,$(origin SETS)),--sets '$(SETS)') $(if $(filter command line,$(origin METHODS)),--methods '$(METHODS)')

# Another artefact: make bench-serve ARTEFACT=demo-out/artefact MINUTES=1
bench-serve: install  ## gnas-ext serve under load: milliseconds, memory, reloads; ten minutes
	$(BIN)/python -m benchmarks.serve_load --minutes '$(or $(MINUTES),10)' $(if $(ARTEFACT),--artefact '$(ARTEFACT)')

fuzz: install  ## a million damaged artefacts, each loaded or refused: MINUTES at most; exit status 1 if one is neither
	$(BIN)/python ci/fuzz_load.py --minutes '$(or $(MINUTES),60)'

# A part: make bench-compress DATA=../shared/data SETS=gowalla COMPRESS=12x,16x COMPRESS_SEEDS=0; it goes on where it was stopped
COMPRESS ?=
COMPRESS_SEEDS ?= 0,1,2

bench-compress: install  ## the best 64-float model made smaller, on the splits in DATA, three hours
	$(BIN)/python -m benchmarks.compress --data '$(DATA)' --points '$(COMPRESS)' --sets '$(SETS)' --seeds '$(COMPRESS_SEEDS)'

# No install: there may be no network beside a GPU.
gpu-check:  ## on a machine with an NVIDIA GPU: build, tests, compute-sanitizer, figures; with PYTHON, offline
	$(PYTHON) ci/gpu_check.py

# A part: make sanitize TESTS=python_tests/ops/test_safety.py
sanitize: install  ## the tests of the ops (TESTS: some of them) under the address and undefined behaviour sanitizers
	PATH="$(abspath $(BIN)):$$PATH" sh ci/sanitize.sh address $(TESTS)

peers-check: install  ## the ops and layers beside PyG and torch-scatter, in an environment of their own
	$(BIN)/python ci/peers_check.py

cuda-check: install  ## compile and link every .cu with nvcc, without a GPU
	PATH="$(abspath $(BIN)):$$PATH" sh ci/cuda_check.sh

# A part: make emulate TESTS=python_tests/ops/test_spmm.py
emulate: install  ## the tests of the ops (TESTS: some of them) on the CUDA kernels, run on the CPU: no GPU, no nvcc needed
	PATH="$(abspath $(BIN)):$$PATH" sh ci/emulate.sh $(TESTS)

wheel-check: install  ## build a wheel and try it in a fresh environment
	PATH="$(abspath $(BIN)):$$PATH" $(BIN)/python ci/wheel_check.py

torch-check: install  ## try the wheel under the oldest and the newest torch that has a CPU build
	PATH="$(abspath $(BIN)):$$PATH" $(BIN)/python ci/torch_check.py

clean:  ## remove what was built, not .venv
	rm -rf build dist demo-out gnas_ext/lib gnas_ext/_C.*.so *.egg-info
