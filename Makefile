# Thin commands over `python -m builders|lake|queries`; the lake, not Make, knows what is missing.
# Bare `make` prints help. Variables are handed over in the environment, so that a quote in one cannot break a command.

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
MAKEFLAGS += --no-builtin-rules

STUDY   ?= digits
LAKE    ?= data
FORMAT  ?= table
SHARD   ?= 1/1
WORKERS ?= 0
ENGINE  ?= local
REVISION ?= main
$(foreach name,MODELS BUDGET PARAMS Q REPO MIRROR ONLY T NAME FROM TO PATHS ARGS,$(eval $(name) ?=))
export STUDY LAKE FORMAT MODELS BUDGET SHARD WORKERS ENGINE PARAMS Q REPO MIRROR ONLY REVISION T NAME FROM TO PATHS ARGS

BASE_PYTHON ?= python3
PYTHON := .venv/bin/python
READY  := .venv/.ready

.PHONY: help build-missing status query queries sql verify doctor push pull adopt export judge report bench bench-methods bench-gpu test test-long lint types check format clean

help: ## Print this help.
	@printf 'usage: make TARGET [NAME=value ...]\n\n'
	@grep -hE '^[a-z-]+:.*## ' Makefile | sed -E 's/:.*## /\t/' | awk -F'\t' '{printf "  %-14s %s\n", $$1, $$2}'

# requirements.lock pins every version; a newer lock or pyproject.toml makes the environment again
$(READY): pyproject.toml requirements.lock
	@$(BASE_PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed, this is " + sys.version.split()[0] if sys.version_info < (3, 11) else 0)'
	@echo "making .venv (a few minutes the first time)" >&2
	@$(BASE_PYTHON) -m venv .venv
	@$(PYTHON) -m pip install --quiet --disable-pip-version-check -r requirements.lock
	@$(PYTHON) -m pip install --quiet --disable-pip-version-check --no-deps -e .
	@echo "compiling the numeric kernels once, on a study of seconds" >&2
	@$(PYTHON) -m builders build-missing --study tiny --lake .venv/warm-up --workers 1 >.venv/warm-up.log 2>&1 || { cat .venv/warm-up.log; exit 1; }
	@rm -rf .venv/warm-up && touch $@

build-missing: $(READY) ## Build what the lake lacks. [STUDY=digits] [LAKE=data] [MODELS=n] [BUDGET=2h] [SHARD=i/n] [WORKERS=n] [ENGINE=local|ray|slurm] [MIRROR=owner/name] [DRY_RUN=1]
	@said=$$($(PYTHON) -m builders build-missing --study "$$STUDY" --lake "$$LAKE" --budget "$$BUDGET" --shard "$$SHARD" \
	  --workers "$$WORKERS" --engine "$$ENGINE" $(if $(MIRROR),--mirror "$$MIRROR") $(if $(MODELS),--models "$$MODELS") $(if $(DRY_RUN),--dry-run)); echo "$$said"; \
	[[ $$said == *"nothing "* ]] || { name=$${said#study }; $(PYTHON) -m queries summary --study "$${name%%:*}" --lake "$$LAKE"; }

status: $(READY) ## What is planned, present, missing and failed, and what the rest costs. [STUDY=] [LAKE=] [FORMAT=json]
	@$(PYTHON) -m builders status --study "$$STUDY" --lake "$$LAKE" --format "$$FORMAT" $(if $(MODELS),--models "$$MODELS")

query: $(READY) ## Run a shipped query. Q=name [FORMAT=table|json|csv|parquet] [PARAMS="k=20 target_id=12"] [LAKE=]
	@$(PYTHON) -m queries run "$$Q" --params "$$PARAMS" --lake "$$LAKE" --format "$$FORMAT"

queries: $(READY) ## List the shipped queries with the questions they answer. [FORMAT=json]
	@$(PYTHON) -m queries list --format "$$FORMAT"

sql: $(READY) ## Open a DuckDB prompt on the lake. [LAKE=]
	@$(PYTHON) -m lake sql --lake "$$LAKE"

verify: $(READY) ## Check every file. [DEEP=1] derives masks and seeds anew; [QUARANTINE=1] sets damaged files aside. [LAKE=]
	@$(PYTHON) -m lake verify --lake "$$LAKE" $(if $(DEEP),--deep) $(if $(QUARANTINE),--quarantine)

doctor: $(READY) ## Environment, versions, disk, device, health of the lake, and the next sensible command. [LAKE=]
	@$(PYTHON) -m lake doctor --lake "$$LAKE"
push: $(READY) ## Send new partitions to a Hub dataset repo. REPO=owner/name [ONLY=margins] [REVISION=branch] [DRY_RUN=1] [LAKE=]
	@$(PYTHON) -m lake push "$$REPO" --lake "$$LAKE" --only "$$ONLY" --revision "$$REVISION" $(if $(DRY_RUN),--dry-run)

pull: $(READY) ## Fetch what the lake lacks from a Hub dataset repo. REPO=owner/name [ONLY=] [REVISION=tag] [CHECK=1] [DRY_RUN=1] [LAKE=]
	@$(PYTHON) -m lake pull "$$REPO" --lake "$$LAKE" --only "$$ONLY" --revision "$$REVISION" $(if $(CHECK),--check) $(if $(DRY_RUN),--dry-run)
adopt: $(READY) ## Bring others' masks, margins and weights in. NAME=study FROM=folder [ARGS="--heldout 500 --percent 50"] [LAKE=]
	@$(PYTHON) -m builders adopt "$$NAME" "$$FROM" --lake "$$LAKE" $$ARGS

export: $(READY) ## Give a study's masks and margins away as .npy files. NAME=study TO=folder [ARGS="--role all --layout trak"] [LAKE=]
	@$(PYTHON) -m builders export "$$NAME" "$$TO" --lake "$$LAKE" $$ARGS

judge: $(READY) ## Judge partitions that somebody else made, training a model of each again. PATHS="margins/study=x/fit-00003.parquet" [LAKE=]
	@$(PYTHON) -m lake check $$PATHS --lake "$$LAKE" $$ARGS

report: $(READY) ## Write a static site about a study, to look at: TO=site [STUDY=digits] [LAKE=] [ARGS=--offline]
	@$(PYTHON) -m queries report --study "$$STUDY" --lake "$$LAKE" --out "$${TO:-site}" $$ARGS
bench: $(READY) ## Measure ours against peers in one run; prints a table, keeps JSON in tests/bench/results.
	@$(PYTHON) tests/bench/run.py --format "$$FORMAT"
bench-methods: $(READY) ## Run TRAK by its authors' package on digits, print the leaderboard, remove what it puts first; cleanlab on planted labels. [LAKE=]
	@$(PYTHON) tests/bench/methods.py --lake "$$LAKE" && $(PYTHON) tests/bench/methods_labels.py --lake "$$LAKE"
bench-gpu: $(READY) ## Measure this machine's GPU in under ten minutes: every recipe, and regression at the paper's size. [CIFAR10=folder] [ARGS="--only resnet9"]
	@$(PYTHON) tests/bench/gpu.py $$ARGS
test: $(READY) ## Run the tests. [T=tests/lake] for some of them.
	@$(PYTHON) -m pytest -n auto --dist loadgroup -m "not slow and not gpu" $(if $(T),"$$T")
test-long: $(READY) ## Run every test, the slow ones too (an hour on two cores); its closing line is kept in build/reliability.json.
	@$(PYTHON) -m pytest -n auto --dist loadgroup -m "not gpu" --closing-line build/reliability.json

lint: $(READY) ## Check style and format with ruff.
	@$(PYTHON) -m ruff check . && $(PYTHON) -m ruff format --check .
types: $(READY) ## Check types with pyright.
	@$(PYTHON) -m pyright --pythonpath $(PYTHON)
check: lint types test ## Lint, types and tests.
format: $(READY) ## Format the code.
	@$(PYTHON) -m ruff check --fix . && $(PYTHON) -m ruff format .

clean: ## Remove .venv and caches; never touches a lake.
	@rm -rf .venv .pytest_cache .ruff_cache .hypothesis *.egg-info
	@find lake builders queries tests -name __pycache__ -type d -prune -exec rm -rf {} +
