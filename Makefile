# Two commands are all that a newcomer needs: `make demo` and `make test`. Each installs what it needs, once.
#   make demo            TORCH=cpu takes the small build of Torch where its index is reachable
#   make demo STORE=minio
#   make test
VENV      ?= .venv
BIN       := $(VENV)/bin
SAM       := $(VENV)/sam
TORCH     ?=
STORE     ?= auto
MINIO_VERSION := v0.0.0-20260212201848-7aac2a2c5b7c
MINIO_CACHE   := $(if $(XDG_CACHE_HOME),$(XDG_CACHE_HOME),$(HOME)/.cache)/modeldrop/bin

PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3 python; do \
	$$p -c 'import sys; sys.exit(not (3,11) <= sys.version_info[:2] < (3,14))' 2>/dev/null && { echo $$p; break; }; done)

.PHONY: help demo test check up minio install clean constraints image image-test package package-check
.DEFAULT_GOAL := help

help:
	@sed -n '1,5p' Makefile; echo '#   make up    the platform in the foreground'; echo '#   make minio builds the real store, once (needs Go; about 4 minutes)'; \
		echo '#   make package        what `sam deploy` sends to AWS (make package-check proves it)'; \
		echo '#   make image-test     builds the serving image, and asks its containers what its contracts say'

$(BIN)/uv:
	@test -n "$(PYTHON)" || { echo 'Modeldrop needs Python 3.11, 3.12 or 3.13 on PATH.' >&2; exit 1; }
	@echo '==> Making $(VENV) with $(PYTHON)'
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt uv

# One stamp for each set of extras; a change of the pins installs anew.
$(VENV)/.installed-%: pyproject.toml constraints.txt | $(BIN)/uv
	@echo '==> Installing modeldrop[$*] (the first time this downloads some GB of frameworks)'
	@$(BIN)/uv pip install --python $(BIN)/python --compile-bytecode -c constraints.txt \
		$(if $(TORCH),--torch-backend=$(TORCH)) -e '.[$*]'
	@touch $@

# The SAM CLI pins older libraries than ours, so it lives in a place of its own; cfn-lint comes with it.
$(VENV)/.installed-sam: constraints-sam.txt | $(BIN)/uv
	@echo '==> Installing the SAM CLI into $(SAM)'
	@$(BIN)/uv venv --quiet --clear --python $(BIN)/python $(SAM)
	@$(BIN)/uv pip install --quiet --python $(SAM)/bin/python --compile-bytecode -c constraints-sam.txt aws-sam-cli
	@touch $@

install: $(VENV)/.installed-demo

demo: $(VENV)/.installed-demo
	@$(BIN)/modeldrop demo --store $(STORE)

up: minio $(VENV)/.installed-demo
	@$(BIN)/modeldrop up

minio:
	@if command -v minio >/dev/null 2>&1 || test -x '$(MINIO_CACHE)/minio'; then :; else \
		command -v go >/dev/null 2>&1 || { echo 'MinIO is built from source: install Go first.' >&2; exit 1; }; \
		echo '==> Building MinIO $(MINIO_VERSION) into $(MINIO_CACHE) (about 4 minutes, once)'; \
		mkdir -p '$(MINIO_CACHE)' && GOBIN='$(MINIO_CACHE)' go install -v github.com/minio/minio@$(MINIO_VERSION) 2>&1 \
			| awk '{n++} n % 100 == 0 {print "    " n " steps"; fflush()}' && test -x '$(MINIO_CACHE)/minio'; fi

check: $(VENV)/.installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	PYTHONPATH=serving_image $(BIN)/lint-imports

# Whole platforms under load mostly wait, and want the machine when they don't: they are first in line, and all that
# only computes takes what they leave.
test: minio $(VENV)/.installed-test $(VENV)/.installed-sam check
	@mkdir -p build; export PATH="$(abspath $(BIN)):$$PATH"; \
	nice -n 15 $(BIN)/python -m pytest -m 'not alone' -n 2 --dist loadfile --no-loadscope-reorder & others=$$!; \
	$(BIN)/python -m pytest -m alone > build/platforms.log 2>&1; platforms=$$?; \
	wait $$others; others=$$?; echo '==> Whole platforms'; cat build/platforms.log; test $$platforms = 0 -a $$others = 0

# What `sam deploy` sends to AWS, in .aws-sam; it needs the Python of the Lambda runtime.
package: $(VENV)/.installed-sam
	@runtime=$$($(BIN)/python tools/runtime_python.py) && \
		PATH="$${runtime%/*}:$$PATH" SAM_CLI_TELEMETRY=0 $(SAM)/bin/sam build

# Each function with only its own role, and the built zips on the runtime's Python: two proofs of `make test`, alone.
package-check: $(VENV)/.installed-test $(VENV)/.installed-sam
	PATH="$(abspath $(BIN)):$$PATH" $(BIN)/python -m pytest tests/aws -k 'test_package or test_roles'

# The serving image's CPU targets, built with Docker or without it, and the contract suite against their containers.
#   make image-test BASE=IMAGE TORCH_CPU_INDEX=URL
image: $(VENV)/.installed-test
	$(BIN)/python -m tools.image_test --build-only

image-test: $(VENV)/.installed-test
	$(BIN)/python -m tools.image_test

constraints: $(BIN)/uv
	$(BIN)/uv pip compile pyproject.toml --all-extras --universal --python-version 3.11 \
		--no-header --no-annotate --no-emit-index-url --quiet -o constraints.txt
	@grep -q '^uv==' constraints.txt || $(BIN)/uv --version | awk '{print "uv==" $$2}' >> constraints.txt
	echo aws-sam-cli | $(BIN)/uv pip compile - --universal --python-version 3.11 \
		--no-header --no-annotate --no-emit-index-url --quiet -o constraints-sam.txt
	$(BIN)/uv pip compile layers/dependencies/requirements.in --no-deps -c constraints.txt --python-version 3.13 \
		--python-platform x86_64-manylinux2014 --no-header --no-annotate --no-emit-index-url --quiet \
		-o layers/dependencies/requirements.txt
	for target in tensorflow-cpu tensorflow-cuda pytorch-cuda; do \
		$(BIN)/uv pip compile serving_image/requirements/$$target.in -c constraints.txt --universal --python-version 3.11 \
			--no-header --no-annotate --no-emit-index-url --quiet -o serving_image/requirements/$$target.txt; done
	grep -Pv '^(triton|cuda-|nvidia-(?!cuda-(runtime|cupti)=))' serving_image/requirements/pytorch-cuda.txt \
		> serving_image/requirements/pytorch-cpu.txt

clean:
	rm -rf $(VENV) .aws-sam build demo-output *.egg-info
