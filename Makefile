# `make` alone prints this help. A line after ## is a target's help.
DATASET ?= mnist-5k
DATASETS ?= $(DATASET)
LABEL   ?=
PROFILE ?= quick
PARAMS  ?=
BUILD   ?= book/_build
VENV    ?= .venv
PYTHON  ?= python3
PIP_ARGS ?=
PORT    ?= 8000
OUT     ?=
# tcp://host:8786: `make -j book` runs its notebooks on that Dask cluster.
SCHEDULER ?=

PY     := $(VENV)/bin/python
READY  := $(VENV)/.rapp-installed
export RAPP_CACHE ?= $(abspath $(BUILD))/cache
export JUPYTER_PREFER_ENV_PATH := 1

ifneq ($(words $(DATASET)) $(words $(PROFILE)),1 1)
$(error DATASET="$(DATASET)" and PROFILE="$(PROFILE)" must be one word each; several data sets are DATASETS="a b")
endif
quoted = '$(subst ','\'',$(1))'
cksum  = $(shell printf '%s' $(call quoted,$(1)) | cksum | cut -d' ' -f1)
# A name with a dot is the path of a table. The path of an executed notebook carries all that it was run with, so Make itself knows what is stale.
name_of  = $(if $(findstring .,$(1)),$(firstword $(subst ., ,$(notdir $(1))))-$(call cksum,$(1) $(LABEL)),$(1))
label_of = $(if $(findstring .,$(1)),--label $(call quoted,$(LABEL)))
key_of   = $(call name_of,$(1))/$(PROFILE)$(if $(PARAMS),-$(call cksum,$(PARAMS)))
KEYS     := $(foreach dataset,$(DATASETS),$(call key_of,$(dataset)))
HTML     := $(BUILD)/html
empty    :=
BUILT    := $(HTML)/.built/$(subst $(empty) ,+,$(strip $(subst /,-,$(KEYS))))
# It takes two minutes more, so the book leaves it out; `make rerun NOTEBOOK=11` adds it.
ON_REQUEST := 11_why_nap_works.ipynb
NOTEBOOKS := $(filter-out $(ON_REQUEST),$(notdir $(wildcard notebooks/*.ipynb)))
# Chapters without a dataset among their parameters are the same on all; they run for the first one.
GENERAL  := $(notdir $(shell grep -L '"dataset = ' notebooks/*.ipynb))
CHAPTERS := $(NOTEBOOKS:%=$(BUILD)/runs/$(firstword $(KEYS))/%) \
            $(foreach key,$(KEYS),$(patsubst %,$(BUILD)/runs/$(key)/%,$(filter-out $(GENERAL),$(NOTEBOOKS))))
MODULE   := $(shell find rapp book/rappbook -name '*.py') .constraints.txt $(wildcard book/paper/*)
# The chapters that show published rows; new rows make these stale and no others.
RESULTS  := $(filter-out book/results/plan.csv,$(wildcard book/results/*.* book/results/*/*))
SHOW_ROWS := $(notdir $(shell grep -lE 'published\.(our_rows|committed|has_rows|ablations|from_scores|about)' notebooks/*.ipynb))
PAGES    := $(shell find book -type f -not -path '*/_build/*' -not -path '*/__pycache__/*' -not -path '*.egg-info/*')
SETTINGS  = --profile $(call quoted,$(PROFILE)) --params $(call quoted,$(PARAMS))

# Where `make rows` keeps its cells and the commit that it is pinned to; `make clean` leaves it alone.
ROWS    ?= .rows

.PHONY: help book rerun results table rows rows-status rows-publish row serve test bench lint format clean
.DELETE_ON_ERROR:

help:  ## show this help
	@echo "usage: make TARGET [DATASET=mnist-5k|digits|mnist|fashion-mnist|kmnist|steel|...] [DATASETS=\"mnist-5k digits\"]"
	@echo "       [DATASET=table.csv LABEL=column] [PROFILE=quick|paper|tiny] [PARAMS=\"target=8 seeds=5\"]"
	@awk -F ':.*## ' '/^[a-z.-]+:.*## / {printf "  %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.venv: $(READY)  ## set up the environment, pinned by .constraints.txt (the other targets do it by themselves)

$(READY): pyproject.toml book/pyproject.toml .constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "rapp needs Python 3.11 or newer, $(PYTHON) is %d.%d; say make PYTHON=python3.12 or the like" % sys.version_info[:2])'
	@test -x $(PY) || $(PYTHON) -m venv $(VENV)
	$(PY) -m pip install --quiet --disable-pip-version-check $(PIP_ARGS) --constraint .constraints.txt --editable '.[book,dev]' --editable ./book
	@touch $@

book: $(BUILT)  ## run the notebooks and build the site
	@echo "The book: $(HTML)/index.html"

$(BUILT): $(CHAPTERS) $(PAGES)
	@$(PY) book/build.py --build $(BUILD) $(KEYS)

# One data set's chapters. 02, 03 and 04 share trained models, so they do not run side by side.
define chapters
$(BUILD)/runs/$(2)/%.ipynb: notebooks/%.ipynb $(MODULE) book/execute.py $(wildcard $(1)) | $(READY)
	@$(PY) book/execute.py $$< $$@ --dataset $(call quoted,$(1)) $(call label_of,$(1)) $$(SETTINGS) \
	  $(if $(SCHEDULER),--scheduler $(call quoted,$(SCHEDULER)))
$(SHOW_ROWS:%=$(BUILD)/runs/$(2)/%): $(RESULTS)
$(BUILD)/runs/$(2)/03_rapp.ipynb: | $(BUILD)/runs/$(2)/02_when_reconstruction_fails.ipynb
$(BUILD)/runs/$(2)/04_base_models.ipynb: | $(BUILD)/runs/$(2)/03_rapp.ipynb
endef
$(foreach dataset,$(DATASETS),$(eval $(call chapters,$(dataset),$(call key_of,$(dataset)))))

rerun: $(READY)  ## run one chapter again: NOTEBOOK=02 DATASET=fashion-mnist PARAMS="target=8 epochs=30"
	@$(PY) book/rerun.py --build $(BUILD) --notebook $(call quoted,$(NOTEBOOK)) --dataset $(call quoted,$(DATASET)) \
	  $(call label_of,$(DATASET)) $(SETTINGS)

results: $(READY)  ## put the cells of `rapp run` and `rapp ablate` among the published rows (OUT="folder folder")
	@$(PY) book/rows.py publish --out $(foreach folder,$(or $(OUT),$(error say OUT=folder, where rapp run put its cells)),$(call quoted,$(folder)))

table: $(READY)  ## print the paper's tables beside the published rows, or beside cells (OUT=folder)
	@$(PY) book/rows.py table $(if $(OUT),--out $(foreach folder,$(OUT),$(call quoted,$(folder))))

rows: $(READY)  ## train what book/results/plan.csv lacks, for hours (MINUTES=150 JOBS=2); interrupt it at any time
	@nice -n 19 $(PY) book/rows.py run --home $(call quoted,$(ROWS)) $(if $(MINUTES),--minutes $(call quoted,$(MINUTES))) $(if $(JOBS),--jobs $(call quoted,$(JOBS)))

rows-status: $(READY)  ## say for each block of the plan what is done and what the rest costs
	@$(PY) book/rows.py status --home $(call quoted,$(ROWS))

rows-publish: $(READY)  ## put the finished cells of `make rows` among the published rows
	@$(PY) book/rows.py publish --home $(call quoted,$(ROWS))

row: $(READY)  ## train one published row again and compare (ID="paper epochs=10/mnist/multimodal/vae/1/0")
	@LOKY_MAX_CPU_COUNT=1 $(PY) book/rows.py row --id $(call quoted,$(ID))

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
