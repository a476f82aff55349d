# `make` alone prints this help. A line after ## is a target's help.
DATASET ?= mnist-5k
PROFILE ?= quick
PARAMS  ?=
BUILD   ?= book/_build
VENV    ?= .venv
PYTHON  ?= python3
PIP_ARGS ?=
PORT    ?= 8000

PY     := $(VENV)/bin/python
READY  := $(VENV)/.rapp-installed
export RAPP_CACHE ?= $(abspath $(BUILD))/cache
export JUPYTER_PREFER_ENV_PATH := 1

ifneq ($(words $(DATASET)) $(words $(PROFILE)),1 1)
$(error DATASET="$(DATASET)" and PROFILE="$(PROFILE)" must be one word each)
endif
# The path of an executed notebook carries all that it was run with, so Make itself knows what is stale.
quoted    = '$(subst ','\'',$(1))'
KEY      := $(DATASET)/$(PROFILE)$(if $(PARAMS),-$(shell printf '%s' $(call quoted,$(PARAMS)) | cksum | cut -d' ' -f1))
RUN      := $(BUILD)/runs/$(KEY)
HTML     := $(BUILD)/html
BUILT    := $(HTML)/.built/$(KEY)
CHAPTERS := $(patsubst notebooks/%,$(RUN)/%,$(wildcard notebooks/[0-9]*.ipynb))
MODULE   := $(shell find rapp -name '*.py') .constraints.txt
PAGES    := $(shell find book -type f -not -path '*/_build/*' -not -path '*/__pycache__/*')

.PHONY: help book serve test bench lint format clean
.DELETE_ON_ERROR:

help:  ## show this help
	@echo "usage: make TARGET [DATASET=mnist-5k|mnist|fashion-mnist] [PROFILE=quick|paper|tiny] [PARAMS=\"target=8 seeds=5\"]"
	@awk -F ':.*## ' '/^[a-z.]+:.*## / {printf "  %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.venv: $(READY)  ## set up the environment, pinned by .constraints.txt (the other targets do it by themselves)

$(READY): pyproject.toml .constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "rapp needs Python 3.11 or newer, $(PYTHON) is %d.%d; say make PYTHON=python3.12 or the like" % sys.version_info[:2])'
	@test -x $(PY) || $(PYTHON) -m venv $(VENV)
	$(PY) -m pip install --quiet --disable-pip-version-check $(PIP_ARGS) --constraint .constraints.txt --editable '.[book,dev]'
	@touch $@

book: $(BUILT)  ## run the notebooks and build the site
	@echo "The book: $(HTML)/index.html"

$(BUILT): $(CHAPTERS) $(PAGES)
	@$(PY) book/build.py --runs $(RUN) --out $(HTML) --key $(KEY)

$(RUN)/%.ipynb: notebooks/%.ipynb $(MODULE) book/paper/mnist_per_digit.csv book/execute.py | $(READY)
	@$(PY) book/execute.py $< $@ --dataset $(call quoted,$(DATASET)) \
	  --profile $(call quoted,$(PROFILE)) --params $(call quoted,$(PARAMS))

# 03 scores the models that 02 has trained, so they do not run side by side.
$(RUN)/03_rapp.ipynb: | $(RUN)/02_when_reconstruction_fails.ipynb

serve: book  ## build the book and serve it on http://localhost:8000 (PORT=...)
	$(PY) -m http.server --bind 127.0.0.1 --directory $(HTML) $(PORT)

test: $(READY)  ## run every test, the smallest book included
	$(PY) -m pytest

bench: $(READY)  ## measure the speed ratios that README.md states
	$(PY) tests/bench.py

lint: $(READY)  ## check format, style and types
	$(PY) -m ruff format --check .
	$(PY) -m ruff check .
	$(PY) -m mypy

format: $(READY)  ## format the code
	$(PY) -m ruff format .
	$(PY) -m ruff check --fix .

clean:  ## remove the book, executed notebooks and trained models (not .venv)
	rm -rf $(BUILD)
