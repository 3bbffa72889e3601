# One command surface. `make` alone lists it.
SHELL := /bin/bash
.DEFAULT_GOAL := help
export PATH := $(CURDIR)/.venv/bin:$(PATH)
export GOTOOLCHAIN := local
# Each start of a gateway or of pytest would else compile all that it imports.
unexport PYTHONDONTWRITEBYTECODE
PORT ?= 8080
WORKERS ?= 4
# BROWSER_REQUIRED=1: without a browser, the tests of pages fail; else they are skipped. VALKEY_REQUIRED=1: so for the store's,
# C_COMPILER_REQUIRED=1: for those of the engine inside Envoy.
# Checkouts share what mypy and ruff know of files that are the same in them.
export MYPY_CACHE_DIR ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/gatewright/mypy
export RUFF_CACHE_DIR ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/gatewright/ruff
GO_MODULES := $(shell sed -n 's,^	\./,,p' go.work)
# mypy runs once for each of these: the tests of all three have a conftest.py that Python's names do not tell apart.
TYPED := "sdk/python documents gateway-builder cli tools bench e2e" gateway-runtime/python-executor gateway-controller
POLICIES := $(filter-out %/misbehave/policy.py,$(wildcard policies/*/*.py conformance/*/*.py sample-policies/*/*.py e2e/kit/policies/*/*.py))
.PHONY: help setup run build test test-in-envoy check check-python check-others format docs changelog version release generate lock e2e faults outages fuzz api-fuzz planted-faults soak bench image-test helm-test kubernetes-test openapi-test h2spec-test mcp-conformance-test presidio-test wheels wheel-test clean

help: ## list the targets
	@grep -E '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup: ## install all that is needed into .venv (the targets below do it themselves)
	@python3 tools/setup.py

run: setup ## build the stock build.yaml and run it with the sample API (PORT=8080)
	@exec gatewright run --manifest build.yaml --port $(PORT) --with-echo --apis samples $(ARGS)

build: setup ## build build.yaml into build/stock
	@gatewright build --manifest build.yaml --output build/stock

test: setup ## all tests that could have another outcome than before (ALL=1: all tests; PART=cli: one component's, PART="cli sdk": those of two; SEED=N: in that order; WORKERS=4)
	@python tools/run_tests.py --workers $(WORKERS) $(if $(ALL),--all) $(if $(RECORD),--record) $(if $(PART),--part $(PART)) $(addprefix --seed ,$(SEED))

e2e: setup ## the end-to-end tests alone (ARGS="-k name")
	python tools/browser.py
	pytest -q --timeout 180 e2e $(ARGS)

test-in-envoy: setup ## the end-to-end tests with the policy engine inside Envoy (a C compiler; ARGS="-k name")
	python tools/browser.py
	pytest -q --timeout 180 e2e --engine in-envoy $(ARGS)

check: check-python check-others ## everything that is checked without running the product (with -j2: side by side)

check-python: setup
	ruff check . && ruff format --check .
	for parts in $(TYPED); do mypy $$parts || exit 1; done
	python tools/policy_types.py $(POLICIES)
	lint-imports --no-cache

check-others: setup
	buf lint proto && buf format --exit-code -d proto
	python tools/generate.py --check
	python tools/dashboard.py --check
	python tools/chart_readme.py --check
	$$(python tools/go_tool.py golangci-lint) run $(patsubst %,./%/...,$(GO_MODULES))
	python tools/javascript.py
	hadolint gateway-runtime/Dockerfile deploy/policies/Dockerfile
	shellcheck gateway-runtime/docker-entrypoint.sh .ci/run deploy/compose/secrets.sh
	$$(python tools/go_tool.py actionlint) -no-color
	pre-commit validate-config
	python tools/fragments.py
	python tools/words.py && python tools/curve.py

format: setup ## format Python, Go and proto files, and fix the JavaScript where that is safe
	ruff check --fix-only . && ruff format . && gofmt -w $(GO_MODULES) && buf format -w proto
	python tools/javascript.py --format

generate: setup ## write what is generated from proto/
	python tools/generate.py

lock: setup ## compile requirements/*.txt anew
	python tools/lock.py

docs: setup ## build the documentation's site, with search, into build/docs/site (ARGS=--serve: and show it)
	python tools/docs.py $(ARGS)

changelog: setup ## fold changes/ into CHANGELOG.md (VERSION=0.2.0)
	python tools/fragments.py
	towncrier build --yes --version $(or $(VERSION),$(error expected VERSION=, the version that is released, got none: make changelog VERSION=0.2.0))

version: setup ## write another version to every place that has it (VERSION=0.2.0)
	python tools/product_version.py $(or $(VERSION),$(error expected VERSION=, the version to come, got none: make version VERSION=0.2.0))

release: setup ## make what a release publishes, in dist/VERSION/, and say what that would be; nothing is published
	python tools/release.py

faults: setup ## break a gateway under load in every way, and account for every request (ARGS="kill": rows with this word)
	python -m e2e.faults $(ARGS)

outages: setup ## take controllers, their database and nodes away under load (ARGS="killed": those with this word; "--updates 60")
	python -m e2e.outages $(ARGS)

fuzz: setup ## look for input that breaks a parser, a minute for each (ARGS="--minutes 10", ARGS="archive": those with this word)
	@python tools/fuzz.py $(ARGS)

api-fuzz: setup ## hold a controller against its OpenAPI document by generated requests (ARGS="--examples 1000", ARGS="--seed N")
	python tools/api_fuzz.py $(ARGS)

planted-faults: setup ## plant faults one by one in a copy of HEAD, and see the tests find each (ARGS="cli": those with this word)
	python tools/planted_faults.py $(ARGS)

soak: setup ## 30 minutes of load, API changes, reloads and killed executors, after which nothing may have grown (ARGS="--minutes 5")
	python -m e2e.faults.soak $(ARGS)

bench: setup ## measure the gateway beside its peers, 15 minutes (ARGS="--rounds 1", "--record", "executor", "edit", "--compare REV")
	python -m bench $(ARGS)

image-test: setup ## build the container image and run it, without a container engine (root, Debian packages)
	pytest -q --timeout 3600 e2e/image/check_image.py e2e/image/check_users.py $(ARGS)

helm-test: setup ## render the Helm chart with Helm, and hold it to Kubernetes' schemas and Pod Security Standards (ARGS=--update)
	pytest -q --timeout 900 e2e/deploy/check_helm.py $(ARGS)

kubernetes-test: setup ## Gateway API's conformance suite, and an upgrade under load, in a cluster of Kubernetes on this machine (root, Go module proxy; ARGS="-k name")
	pytest -q -p no:randomly --timeout 3600 e2e/kubernetes/check_{rolling,lab,controller,gateway_api,two_controllers,conformance}.py $(ARGS)

openapi-test: setup ## import, serve and ask 33 published OpenAPI documents (Go module proxy)
	pytest -q -s --timeout 900 e2e/docs/check_openapi.py $(ARGS)

h2spec-test: setup ## h2spec against a listener with TLS, and against plain Envoy (Go module proxy)
	pytest -q -s --timeout 900 e2e/edge/check_h2spec.py $(ARGS)

mcp-conformance-test: setup ## MCP's conformance suite, asked of a server and through the gateway (npm registry)
	pytest -q -s --timeout 900 e2e/routing/check_mcp_conformance.py $(ARGS)

presidio-test: setup ## pii-mask with Presidio, in a group of its own (package registry, 300 MB)
	pytest -q -s --timeout 900 e2e/policies/check_presidio.py $(ARGS)

wheels: setup ## build the wheels gatewright and gatewright-sdk into dist/
	python tools/wheels.py dist

wheel-test: setup ## install the wheels with pip and follow docs/tutorial/quickstart.md (package registry, ports 8080, 9090, 9091)
	pytest -q --timeout 900 e2e/lifecycle/check_wheels.py $(ARGS)

clean: ## remove what the targets above made
	rm -rf .venv .tools .cache build dist .gatewright
