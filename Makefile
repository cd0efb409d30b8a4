# make reproduce · make test · make lab · make bench; each sets up .venv by itself, once.
PYTHON ?= python3.11
PROFILE ?= quick
BIN := .venv/bin
READY := .venv/.ready

.PHONY: help reproduce test faults lab bench notebooks
help:
	@echo "make reproduce   the paper's figures and tables, into figures/$(PROFILE), with report.html"
	@echo "make test        everything that is checked"
	@echo "make faults      what can go wrong, tried on purpose: an hour, half of it fuzzing"
	@echo "make lab         JupyterLab on the notebooks"
	@echo "make bench       speed and memory"
	@echo "make notebooks   after an edit in nbs: export the package, run the pages, write README.md"

$(READY): constraints.txt settings.ini setup.py pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[dev,lab]"
	touch $@

reproduce: $(READY)
	$(BIN)/fourier-mask reproduce --profile $(PROFILE)

test: $(READY)
	$(BIN)/ruff check fourier_mask nbs tests benchmarks tools
	cd nbs && MPLBACKEND=agg OMP_NUM_THREADS=1 ../$(BIN)/nbdev_test --n_workers 2
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder

faults: $(READY)
	cd tests && OMP_NUM_THREADS=1 ../$(BIN)/python -m faults

lab: $(READY)
	$(BIN)/jupyter lab --notebook-dir nbs

bench: $(READY)
	$(BIN)/python benchmarks/dataset_mask.py
	$(BIN)/python benchmarks/image_masks.py
	$(BIN)/python benchmarks/image_masks.py --network full
	$(BIN)/python benchmarks/diagnostics.py
	$(BIN)/python benchmarks/own_networks.py
	$(BIN)/python benchmarks/scaling.py
	$(BIN)/python benchmarks/paper_profile.py

notebooks: $(READY)
	$(BIN)/nbdev_export
	$(BIN)/python tools/pages.py
