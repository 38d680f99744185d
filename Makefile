# Modules are found by their go.mod (scripts/modules), each is built and tested
# by itself. Recipes are plain sh and use the go that is on PATH.

.DEFAULT_GOAL := help
.PHONY: help build demo test test-core recipes lint fmt bench soak mutants release-check clean

STEP := scripts/step
EACH := scripts/each-module

# The linter is pinned and comes through the Go module proxy. Its version is in
# its path, so that raising it builds the new one.
LINTER_VERSION := v2.15.0
LINTER := $(CURDIR)/bin/tools/golangci-lint-$(LINTER_VERSION)/golangci-lint

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## bin/lockstep
	@test -e bin/lockstep || echo "The first build compiles SQLite and takes a minute or two; later ones take seconds."
	@$(STEP) 'build bin/lockstep' go build -o bin/lockstep ./cmd/lockstep

demo: build ## three workers, one lock, one killed, one frozen: half a minute on a terminal
	@bin/lockstep demo

test: ## everything, with the race detector; installs what is missing (Debian); no test is skipped
	@$(STEP) 'what the tests need' scripts/install-test-needs
	@$(STEP) 'the workspace builds' go build work
	@$(STEP) 'build noskip' go build -o bin/tools/noskip ./internal/tools/noskip
	@LOCKSTEP_REQUIRE=all $(EACH) 'go test -race' $(CURDIR)/bin/tools/noskip -race -count=1 -timeout 30m ./...
	@$(MAKE) --no-print-directory release-check

test-core: ## needs nothing but Go: tests whose server or tool is missing skip and say so
	@CGO_ENABLED=0 $(EACH) 'go test' go test -timeout 30m ./...

recipes: ## what every article shows, beside its Lockstep form: each runs on a real server (docs/recipes.md)
	@$(STEP) 'what the recipes need' scripts/install-test-needs
	@LOCKSTEP_REQUIRE=all scripts/recipes

lint: $(LINTER) ## gofmt, golangci-lint, tidy go.mod files; builds for macOS, Windows and arm64
	@$(STEP) 'gofmt' scripts/gofmt-check
	@$(EACH) 'go mod tidy -diff' go mod tidy -diff
	@$(EACH) 'go mod verify' go mod verify
	@$(EACH) 'golangci-lint' $(LINTER) run --config $(CURDIR)/.golangci.yml ./...
	@$(EACH) 'build and vet for other systems' $(CURDIR)/scripts/cross-build

$(LINTER):
	@echo "golangci-lint $(LINTER_VERSION) is built once, which takes some minutes."
	@GOWORK=off GOBIN=$(@D) $(STEP) 'build golangci-lint' \
		go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(LINTER_VERSION)

fmt: $(LINTER) ## formats every Go file
	@$(EACH) 'format' $(LINTER) fmt --config $(CURDIR)/.golangci.yml ./...

bench: ## measured side by side with peers: prints tables (internal/bench)
	@cd internal/bench && GOWORK=off go run .

soak: ## long trials: each fuzz target for FUZZTIME (2m), each Soak test in its long form
	@$(EACH) 'soak' $(CURDIR)/scripts/soak

mutants: ## breaks one rule at a time (mutants/*.patch) and shows that a test notices
	@$(STEP) 'mutants' go run ./internal/tools/mutants

release-check: ## a module outside of the tree uses the modules as they would be tagged
	@$(STEP) 'release check' go run ./internal/tools/releasecheck

clean: ## removes bin/, the linter included
	@rm -rf bin
