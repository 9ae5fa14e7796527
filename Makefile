# Everything starts here. `make` lists what there is.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help setup setup-test run demo build console test test-rust test-web test-e2e test-spark lint fmt bench dist docs clean

CACHE := $(or $(TARN_CACHE),$(or $(XDG_CACHE_HOME),$(HOME)/.cache)/tarn)
export CARGO_TARGET_DIR ?= $(CACHE)/target
BINARY := $(CARGO_TARGET_DIR)/release/tarn
CARGO := PATH="$(HOME)/.cargo/bin:$$PATH" cargo
# Arguments of the command that is run: make run ARGS="--http 127.0.0.1:9000"
ARGS ?=

help: ## This list
	@awk -F':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: build ## Install what is missing, build, start the demo and print where the console is
	@$(BINARY) demo $(ARGS)

demo: run

build: console ## The release binary with the console in it
	@echo "build: the first time takes a while (about 40 minutes on two cores), later changes some minutes"
	$(CARGO) build --release --locked --package tarn
	@echo "build: $(BINARY)"

console: setup
	@if [[ -f web/package.json ]]; then cd web && npm run build; else mkdir -p web/dist; fi

setup: ## Install what building and running need
	@scripts/setup.sh run

setup-test: ## Install what tests need as well
	@scripts/setup.sh test

test: ## Install what tests need, then run everything that CI runs
	@scripts/test.sh all

test-rust: ## clippy and the Rust tests
	@scripts/test.sh rust

test-web: ## Types, lint and unit tests of the console
	@scripts/test.sh web

test-e2e: ## Browser and end-to-end tests against the built binary
	@scripts/test.sh e2e

test-spark: build ## Spark reads and writes tables of the built binary; installs Spark first
	@scripts/setup.sh spark
	@TARN_BIN=$(BINARY) tests/e2e/run.sh -m spark test_spark.py test_interop.py

lint: ## Format, tidy, clippy
	@scripts/test.sh lint

fmt: ## Format the Rust code
	$(CARGO) fmt --all

bench: build ## Measure; tables on the screen, results in docs/bench/
	@scripts/setup.sh test
	@PATH="$(CACHE)/venv/bin:$$PATH" scripts/with_postgres.sh $(BINARY) bench $(ARGS)

dist: console ## A wheel (pip install) and a tarball in dist/
	@scripts/dist.sh

docs: ## Write docs/reference from the code
	$(CARGO) build --workspace --locked
	TARN_BIN="$(CARGO_TARGET_DIR)/debug/tarn" $(CARGO) xtask generate

clean: ## Remove what was built in this checkout; the shared build folder stays
	rm -rf web/dist web/node_modules dist target
	@echo "clean: $(CARGO_TARGET_DIR) is shared by all checkouts; remove it by hand to build from nothing"
