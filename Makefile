# `make` alone prints this help. A line after ## is a target's help.
DATASET   ?= mnist-5k
# several data sets, in place of the one
DATASETS  ?=
# the label column of a table
LABEL     ?=
# which of its classes is the normal one; all others together are then novel
NORMAL    ?=
PROFILE   ?= quick
# "name=value name=value", as in the first code cell of a notebook
PARAMS    ?=
# of `make rerun`
NOTEBOOK  ?=
# how many notebooks (two if it is not said), or processes of `make rows`, run side by side
JOBS      ?=
# tcp://host:8786: a Dask cluster on which the notebooks run
SCHEDULER ?=
BUILD     ?= book/_build
# where `make rows` keeps its cells and the commit that it is pinned to; `make clean` leaves it alone
ROWS      ?= .rows
MINUTES   ?=
OUT       ?=
ID        ?=
PORT      ?= 8000
VENV      ?= .venv
PYTHON    ?= python3
PIP_ARGS  ?=

PY    := $(VENV)/bin/python
READY := $(VENV)/.rapp-installed
RAPP_CACHE ?= $(if $(filter /%,$(firstword $(BUILD))),,$(CURDIR)/)$(BUILD)/cache
# a user of a container that is only a number has no home, and Jupyter wants one
HOME ?= $(RAPP_CACHE)/home
JUPYTER_PREFER_ENV_PATH := 1
# Recipes take these as "$$NAME" from the environment, where spaces and quotes in them do no harm.
export DATASET DATASETS LABEL NORMAL PROFILE PARAMS NOTEBOOK JOBS SCHEDULER BUILD ROWS MINUTES OUT ID
export RAPP_CACHE HOME JUPYTER_PREFER_ENV_PATH
# As they were typed: in a$b.csv, $b is no variable of Make's.
override DATASET  := $(value DATASET)
override DATASETS := $(value DATASETS)
override LABEL    := $(value LABEL)
override NORMAL   := $(value NORMAL)
override PARAMS   := $(value PARAMS)
override BUILD    := $(value BUILD)
override ROWS     := $(value ROWS)
override OUT      := $(value OUT)
$(if $(filter 1,$(words $(VENV))),,$(error VENV="$(VENV)" must be a folder without a space, for Make parts files by spaces))
$(if $(strip $(BUILD)),,$(error BUILD="$(BUILD)" names no folder))

.PHONY: help book pdf archive playground rerun results table rows rows-status rows-publish row serve test test-fast bench lint format clean

help:  ## show this help
	@echo "usage: make TARGET [DATASET=mnist-5k|digits|mnist|fashion-mnist|kmnist|steel|...] [DATASETS=\"mnist-5k digits\"]"
	@echo "       [DATASET=table.csv LABEL=column NORMAL=class] [PROFILE=quick|paper|tiny] [PARAMS=\"target=8 seeds=5\"] [JOBS=1]"
	@awk -F ':.*## ' '/^[a-z.-]+:.*## / {printf "  %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.venv: $(READY)  ## set up the environment, pinned by .constraints.txt (the other targets do it by themselves)

$(READY): pyproject.toml book/pyproject.toml .constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "rapp needs Python 3.11 or newer, $(PYTHON) is %d.%d; say make PYTHON=python3.12 or the like" % sys.version_info[:2])'
	@$(PY) -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv $(VENV)
	$(PY) -m pip install --quiet --disable-pip-version-check $(PIP_ARGS) --constraint .constraints.txt --editable '.[book,dev]' --editable ./book
	@touch $@

book: $(READY)  ## run the notebooks that are out of date and build the site (JOBS=1 runs one after the other)
	@exec $(PY) book/book.py --build="$$BUILD" --dataset="$$DATASET" --datasets="$$DATASETS" --label="$$LABEL$${NORMAL:+=$$NORMAL}" \
	  --profile="$$PROFILE" --params="$$PARAMS" --jobs="$$JOBS" --scheduler="$$SCHEDULER"

pdf: book  ## print the book into one PDF: book/_build/rapp.pdf
	@$(PY) book/pdf.py --build="$$BUILD"

archive: pdf  ## pack site, PDF, notebooks, rows and locked environment into one zip: book/_build/rapp-COMMIT.zip
	@$(PY) book/archive.py --build="$$BUILD" --pip-args="$(PIP_ARGS)"

rerun: $(READY)  ## run one chapter again: NOTEBOOK=02 DATASET=fashion-mnist PARAMS="target=8 epochs=30"
	@$(PY) book/rerun.py --build="$$BUILD" --notebook="$$NOTEBOOK" --dataset="$$DATASET" --label="$$LABEL$${NORMAL:+=$$NORMAL}" \
	  --profile="$$PROFILE" --params="$$PARAMS"

results: $(READY)  ## put the cells of `rapp run` among the published rows (OUT="folder folder")
	@$(PY) book/rows.py publish --out $${OUT:?say OUT=folder, where rapp run put its cells}

table: $(READY)  ## print the paper's tables beside the published rows, or beside cells (OUT=folder)
	@$(PY) book/rows.py table $${OUT:+--out $$OUT}

rows: $(READY)  ## train what book/results/plan.csv lacks, for hours (MINUTES=150 JOBS=2); interrupt it at any time
	@nice -n 19 $(PY) book/rows.py run --home="$$ROWS" $${MINUTES:+--minutes="$$MINUTES"} $${JOBS:+--jobs="$$JOBS"}

rows-status: $(READY)  ## say for each block of the plan what is done and what the rest costs
	@$(PY) book/rows.py status --home="$$ROWS"

rows-publish: $(READY)  ## put the finished cells of `make rows` among the published rows
	@$(PY) book/rows.py publish --home="$$ROWS"

row: $(READY)  ## train one published row again and compare (ID="paper epochs=10/mnist/multimodal/vae/1/0")
	@LOKY_MAX_CPU_COUNT=1 $(PY) book/rows.py row --id="$$ID"

playground: $(READY)  ## train the playground's ten networks again, on all 70,000 digits (half an hour)
	@$(PY) book/playground.py

serve: book  ## build the book and serve it on http://localhost:8000 (PORT=...)
	@$(PY) -c 'import socket, sys; sys.exit(not socket.socket().connect_ex(("127.0.0.1", int(sys.argv[1]))) and "error: port %s is in use; say make serve PORT=8001 or the like" % sys.argv[1])' $(PORT)
	$(PY) -m http.server --bind 127.0.0.1 --directory "$$BUILD/html" $(PORT)

test: $(READY)  ## run every test, the smallest book included
	$(PY) -m pytest -n 2 --dist=loadfile --no-loadscope-reorder

test-fast: $(READY)  ## run every test but those of the book and the browser, in 3 to 5 minutes
	$(PY) -m pytest -n 2 --dist=loadfile --no-loadscope-reorder -m "not slow"

bench: $(READY)  ## measure the speed ratios that README.md states
	$(PY) tests/bench.py

lint: $(READY)  ## check format, style and types
	$(PY) -m ruff format --check .
	$(PY) -m ruff check .
	$(PY) -m mypy

format: $(READY)  ## format the code
	$(PY) -m ruff format .
	$(PY) -m ruff check --fix .

clean:  ## remove the book, executed notebooks and trained models (not .venv, nor data that were fetched)
	if [ ! -d "$$BUILD/cache/data" ]; then rm -rf "$$BUILD"; else cd "$$BUILD" && \
		find . -mindepth 1 -maxdepth 2 ! -path ./cache ! -path ./cache/data -exec rm -rf {} +; fi
