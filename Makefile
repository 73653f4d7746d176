# Needs python3 (>= 3.11), make and a network for the first run; everything lands in .venv.
PYTHON ?= python3
BIN := .venv/bin
export RAY_USAGE_STATS_ENABLED := 0
export RAY_AUTH_MODE := disabled

# The fast tests; arithmetic of CPUs without AVX-512, and without vectors, on one that has them.
FAST := -n 2 -m "not slow and not ray and not cluster"
AVX2 := ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2 MKL_ENABLE_INSTRUCTIONS=AVX2
PLAIN := ATEN_CPU_CAPABILITY=default ONEDNN_MAX_CPU_ISA=SSE41 MKL_ENABLE_INSTRUCTIONS=SSE4_2

.PHONY: setup demo test test-ray test-cpus cluster-test lint docs bench evidence mutants clean
setup: .venv/.ready

# uv (from the package index, inside the environment) is the fastest ordinary installer; the versions are those of constraints.txt.
.venv/.ready: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "python 3.11 or newer is needed, this is " + sys.version.split()[0])'
	@$(PYTHON) -c 'import ensurepip, venv' 2> /dev/null || { echo "this Python comes without venv or pip; on Debian and Ubuntu: apt install python3-venv" >&2; exit 2; }
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv -c constraints.txt
	$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python -c constraints.txt -e '.[docs]' --group dev
	touch $@

demo: setup
	$(BIN)/python sweeps/hetero_grid.py --preset demo

# Both parts run, whatever the first one says; either makes it fail.
test: setup
	@failed=0; set -x; \
	$(BIN)/python -m pytest $(FAST) || failed=1; \
	$(BIN)/python -m pytest -m "ray and not slow" || failed=1; \
	exit $$failed

# By hand and nightly: the tests that start a Ray, on another one than the environment's, as RAY=2.59.0; all else is shared.
test-ray: setup
	test -n "$(RAY)" || { echo "which Ray? make test-ray RAY=2.59.0" >&2; exit 2; }
	test -d .venv/ray-$(RAY) || $(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --target .venv/ray-$(RAY) ray==$(RAY)
	PYTHONPATH="$(CURDIR)/.venv/ray-$(RAY)" $(BIN)/python -m pytest -m "ray and not slow"

# By hand and nightly: the fast tests as on other kinds of CPU.
test-cpus: setup
	@failed=0; set -x; \
	$(AVX2) $(BIN)/python -m pytest $(FAST) || failed=1; \
	$(PLAIN) $(BIN)/python -m pytest $(FAST) || failed=1; \
	exit $$failed

# Two nodes and a laptop in namespaces of this machine, and a SLURM: needs root and a few programs, and says which is not there.
cluster-test:
	@$(PYTHON) tests/cluster/netns/machines.py
	@$(MAKE) --no-print-directory setup
	$(BIN)/python -m pytest -s -vv -m cluster --durations=10 tests/cluster/test_two_nodes.py tests/cluster/test_slurm.py

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m sweeps.version --check

# The site, in site/: neither a network nor an import of the packages is needed; a link or a reference that leads nowhere is an error.
docs: setup
	$(BIN)/zensical build --clean --strict

bench: setup
	$(BIN)/python -m tests.bench

# The reports of the studies in evidence/, anew from their ledgers; fails where a committed table is not what they give.
evidence: setup
	$(BIN)/python -m tests.evidence

# By hand, on any machine with a GPU: whether it computes rightly, and how fast; under eight minutes, no network.
gpu-check: setup
	$(BIN)/python -m tests.gpu

# By hand and nightly: small faults, one at a time, that the tests must find.
mutants: setup
	$(BIN)/python -m tests.mutants

clean:
	rm -rf .venv build site *.egg-info
