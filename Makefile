# make lab            open the course in JupyterLab        make lab LAB_ARGS="--no-browser --port 9000"
# make lab CPU=1      the same with PyTorch's small CPU build, for Linux without an NVIDIA GPU
# make test           lint, unit tests, every notebook     make test PYTEST_ARGS="--durations=10"
# make notebooks      run and tidy every notebook          make notebooks ONLY=01 FRESH=1
# make bench          our speed beside other libraries, and the README's table of it; with
#                     BENCH="--who ours --seeds 0" time to quality too: a minute or more of training for each row
# make mutants        which one-line bugs do the tests miss?
# make stamp          carry the repository's address from pyproject.toml to notebooks and README
# make browser        the notebooks' sliders, and the page, in a real browser (needs Chromium)
# make pictures       draw the README's pictures anew
# make site           the course as a site: build/site/index.html; make site SERVE=8000 shows it on that port
# make colab          a lesson beside Colab's versions of PyTorch, IPython and ipywidgets
# make clean          remove .venv, caches and build leftovers

PYTHON ?= python3
# A process of tests per core, up to four; OMP_NUM_THREADS=1, or their threads would fight for the same cores.
PARALLEL := --numprocesses auto --maxprocesses 4 --dist loadfile
PY := .venv/bin/python
READY := .venv/.installed
# What Colab had in November 2026.
COLAB := torch==2.11.* torchvision ipywidgets==7.7.1 ipython==7.34.0 ipykernel==6.17.1
CPU_BUILD := https://download.pytorch.org/whl/cpu

help:
	@grep '^# make' Makefile | cut -c 3-

$(READY): pyproject.toml
	$(PYTHON) -m venv .venv
	$(if $(CPU),$(PY) -m pip install --disable-pip-version-check torch torchvision --index-url $(CPU_BUILD))
	$(PY) -m pip install --disable-pip-version-check --no-compile -e ".[test]"
	$(PY) -m compileall -qq -j 0 .venv/lib || true  # on all cores; it fails on templates that some packages hold
	touch $(READY)

lab: $(READY)
	cd notebooks && ../$(PY) -m jupyterlab $(LAB_ARGS)

bench: $(READY)
	$(PY) -m pip install --disable-pip-version-check --quiet -e ".[bench]"
	$(PY) -m benchmarks.speed
	$(if $(BENCH),$(PY) -m benchmarks.quality $(BENCH))
	$(PY) -m benchmarks.table

mutants: $(READY)
	$(PY) -m tests.mutants

test: $(READY)
	$(PY) -m ruff check .
	DIFFUSION101_BUDGET=smoke OMP_NUM_THREADS=1 $(PY) -m pytest --nbval tests notebooks $(PARALLEL) $(PYTEST_ARGS)

notebooks: $(READY)
	$(PY) -m tools.execute $(if $(FRESH),--fresh) $(ONLY)

stamp: $(READY)
	$(PY) -m tools.stamp

browser: $(READY)
	$(PY) -m pip install --disable-pip-version-check --quiet -e ".[browser,app]"
	$(PY) -m pytest -m browser -rs $(PYTEST_ARGS)

pictures: $(READY)
	$(PY) -m tools.pictures

site: $(READY)
	$(PY) -m pip install --disable-pip-version-check --quiet -e ".[site]"
	$(PY) -m sphinx --nitpicky --fail-on-warning --keep-going --quiet --conf-dir site --doctree-dir build/trees . build/site
	$(if $(SERVE),$(PY) -m http.server --directory build/site $(SERVE))

colab: $(READY)
	$(PYTHON) -m venv build/colab
	build/colab/bin/python -m pip install --disable-pip-version-check $(COLAB) pytest $(if $(CPU),--extra-index-url $(CPU_BUILD))
	DIFFUSION101_COLAB=build/colab/bin/python $(PY) -m pytest -m colab -rs $(PYTEST_ARGS)

clean:
	rm -rf .venv build dist .pytest_cache .ruff_cache *.egg-info
	find . \( -name __pycache__ -o -name .ipynb_checkpoints \) -prune -exec rm -rf {} +

.PHONY: help lab test notebooks bench mutants stamp browser pictures site colab clean
