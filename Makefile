# `make demo` shows the main job on this machine; `make test` runs every test there is.
# Build output goes to CARGO_TARGET_DIR, by default ~/.cache/palisade/target: outside the checkout.

SHELL := /bin/bash
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
export CARGO_TARGET_DIR ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/palisade/target
CARGO ?= cargo
export CARGO

.PHONY: help build ui ui-dev demo test check fix bench soak packages bundle acceptance clean

help: ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10
	@echo "build output: $(CARGO_TARGET_DIR)"

build: ## the programs: palisade, pal, palctl
	@scripts/setup.sh build
	@scripts/ui.sh
	$(CARGO) build --locked --workspace --bins
	@echo "built: $(CARGO_TARGET_DIR)/debug/{palisade,pal,palctl}"

ui: ## the web pages, built into web/ui/dist, from where the next build embeds them
	@scripts/setup.sh build
	@scripts/ui.sh

ui-dev: ## the web pages with hot reload in front of a running node; NODE=https://localhost:3080
	@scripts/setup.sh build
	@NODE=$(NODE) scripts/ui.sh dev

demo: ## the main job on three nodes and a stock sshd; ONCE=1 ends by itself, non-zero if a step failed
	@ONCE=$(ONCE) scripts/demo.sh

test: ## every test; the last line is "N passed, N failed"
	@scripts/test.sh

check: ## reads only: format, lints, house rules, licences and bans, shell scripts
	@scripts/check.sh

fix: ## writes: formats, and applies what clippy can
	$(CARGO) fmt --all
	$(CARGO) clippy --locked --fix --allow-dirty --allow-staged --workspace --all-targets

bench: ## measurements beside etcd and OpenSSH
	@scripts/bench.sh $(BENCH)

soak: ## 300 faults in a row against real processes, at most an hour; FAULTS=n SEED=n; MUTANTS=1 shows that checkers can fail
	@FAULTS=$(FAULTS) SEED=$(SEED) MUTANTS=$(MUTANTS) scripts/soak.sh

packages: ## deb and rpm, checksums and bill of materials, with optimisation
	@scripts/setup.sh packages
	@packaging/build.sh

bundle: packages ## one archive for machines without internet; PALISADE_SIGN_KEY signs it
	@packaging/bundle.sh

acceptance: ## packages on whole machines, from install to purge; builds twice and compares; needs root, long
	@packaging/acceptance.sh

clean: ## removes the build output and what the demo left
	rm -rf "$(CARGO_TARGET_DIR)" demo-run
