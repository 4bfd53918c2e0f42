# The commands of the project. `make` alone lists them.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# One pinned version, run from the module cache: nothing to install.
GOLANGCI_LINT := go run github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0

.PHONY: help
help: ## list the commands
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: run
run: ## start pizzamill with its defaults: the same as `go run .`
	go run .

.PHONY: build
build: ## build the binary into dist/
	go build -trimpath -o dist/pizzamill .

.PHONY: test
test: ## everything: real brokers, race detector, real browser, 20 rounds of kill -9; installs what it needs
	scripts/test.sh

.PHONY: test-short
test-short: ## what needs nothing but Go: the same as `go test ./...`
	go test ./...

.PHONY: test-race
test-race: ## the short tests with the race detector (needs a C compiler)
	go test -race ./...

.PHONY: test-browser
test-browser: ## the pages in a real Chromium, with axe
	scripts/test.sh browser

.PHONY: test-e2e
test-e2e: ## the built binary from outside, at full length
	scripts/test.sh e2e

.PHONY: services
services: ## start Kafka, RabbitMQ and PostgreSQL to develop with, and print where they are
	@scripts/services.sh up all
	@scripts/services.sh exports

.PHONY: services-down
services-down: ## stop them; what is in them stays
	@scripts/services.sh down all

.PHONY: scale
scale: ## measure what more processes are worth, on real brokers; writes docs/scaling.md
	scripts/test.sh scale

.PHONY: bench
bench: ## benchmarks; BENCH=Pattern picks some
	go test -run '^$$' -bench '$(or $(BENCH),.)' -benchmem ./...

.PHONY: generate
generate: ## make the generated files again: pages and config.example.toml
	go generate ./...
	go run . config default > config.example.toml.new
	mv config.example.toml.new config.example.toml

.PHONY: golden
golden: ## write the expected results of tests again; look at the difference before you commit it
	go test $$(grep -rlE 'flag\.Bool\("update"' --include='*_test.go' . | xargs -r dirname | sort -u) -update

.PHONY: fmt
fmt: ## format Go and templ files
	gofmt -w $$(find . -name '*.go' -not -name '*_templ.go')
	go tool templ fmt ui

.PHONY: lint
lint: ## go vet and golangci-lint
	go vet ./...
	go vet -tags browser ./...
	$(GOLANGCI_LINT) run --build-tags browser ./...

.PHONY: ci
ci: ## what the build server runs
	.ci/run

.PHONY: clean
clean: ## remove what was built; data/ stays
	rm -rf dist
