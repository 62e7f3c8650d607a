# `make help` lists what can be done here. Nothing needs installing by hand but Go and make: the linter is built from
# the versions pinned in tools/go.mod, and the tests find, or obtain, PostgreSQL themselves.

GO ?= go
# The race detector needs cgo, and so a C compiler that works.
RACE := $(shell [ "$$($(GO) env CGO_ENABLED)" = 1 ] && \
	printf 'int main(void){return 0;}' | $$($(GO) env CC) -x c -o /dev/null - >/dev/null 2>&1 && echo -race)
LINTER = bin/golangci-lint

.DEFAULT_GOAL := help
TIME ?= 60
SEED ?= 1
VERSIONS ?= 14 15 16 17 18
FUZZTIME ?= 10m
FUZZ = jobs:FuzzParse internal/rowjson:FuzzRead internal/pgparse:FuzzFrom internal/pgparse:FuzzParseCommand \
	internal/pgparse:FuzzExpression internal/pgparse:FuzzScript internal/pgsql:FuzzExpand internal/pgsql:FuzzTextArray \
	configs:FuzzFile configs:FuzzLimits configs:FuzzConnection throttle:FuzzParseLimits throttle:FuzzParseSchedule

.PHONY: help build test model chaos long soak matrix tools lint fmt demo bench fuzz vuln sbom clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## build bin/pgbackfill
	$(GO) build -o bin/pgbackfill ./cmd/pgbackfill

# What ./cmd tests is the program, built without the detector and started as a process of its own: there the detector would watch the tests
# alone, for an eighth of their time (`make long` does). Both parts run at once, so that the longest packages begin first.
test: ## all tests but the long ones, with the race detector where there is a C compiler; `make lint` does the vetting
	@$(GO) test -vet=off -timeout 20m ./cmd/... & program=$$!; \
	$(GO) test $(RACE) -vet=off -timeout 20m $$($(GO) list ./... | grep -v /cmd/); rest=$$?; \
	wait $$program && exit $$rest

long: ## all tests, also those that take minutes
	PGBACKFILL_TEST_LONG=1 $(GO) test $(RACE) -tags long -count=1 -timeout 120m ./...

chaos: ## random faults while an application writes, for about TIME seconds (60); SEED and FAULT repeat one
	PGBACKFILL_CHAOS=$(TIME) PGBACKFILL_CHAOS_SEED=$(SEED) PGBACKFILL_CHAOS_FAULT='$(FAULT)' \
		$(GO) test -count=1 -vet=off -v -timeout 60m -run '^TestChaos' ./cmd/pgbackfill

model: ## schedules of workers, crashes and people over a model of the server for about TIME seconds (60); then each planted bug must be found
	PGBACKFILL_SIMULATE=$(TIME)s $(GO) test -count=1 -vet=off -v -timeout 60m -run '^TestSimulation$$' ./backfill
	$(GO) test -tags planted -count=1 -vet=off -v -timeout 60m -run '^TestSimulationFindsPlantedBugs$$' ./backfill

soak: ## one process lives through faults for TIME seconds (60; 1800 is the half hour), and its memory is read; SEED
	PGBACKFILL_SOAK=$(TIME) PGBACKFILL_CHAOS_SEED=$(SEED) $(GO) test -count=1 -vet=off -v -timeout 120m -run '^TestSoak$$' ./cmd/pgbackfill

matrix: ## all tests but the long ones against each PostgreSQL of VERSIONS (14 to 18), downloaded where it is not here
	@for v in $(VERSIONS); do echo "PostgreSQL $$v"; \
		if PGBACKFILL_PG_VERSION=$$v $(GO) test -count=1 -vet=off -timeout 40m ./...; then green="$$green $$v"; else red="$$red $$v"; fi; \
	done; echo "PostgreSQL: green$${green:- none}; red$${red:- none}"; [ -z "$$red" ]

tools: ## the migration tools on both sides of a backfill, each itself; installs them with mvn, npm, pip and go
	PGBACKFILL_TEST_TOOLS=1 $(GO) test -count=1 -timeout 20m ./examples/migrations

lint: $(LINTER) ## go vet, the linters of .golangci.yml, and the formatting
	$(GO) vet ./...
	$(LINTER) run ./...

fmt: $(LINTER) ## format the source
	$(LINTER) fmt ./...

demo: ## the whole story on a throwaway PostgreSQL
	$(GO) run ./cmd/pgbackfill demo

bench: ## the whole benchmark, about an hour; writes docs/benchmarks.md and docs/benchmarks/
	$(GO) run ./bench

fuzz: ## each parser with input that nobody thought of, for FUZZTIME (default 10m) each
	for t in $(FUZZ); do echo "$$t" && $(GO) test ./$${t%%:*} -run '^$$' -fuzz "^$${t##*:}\$$" -fuzztime $(FUZZTIME) || exit 1; done

vuln: ## what Go's vulnerability database says of what the program calls; needs the network
	$(GO) run -C tools/vuln golang.org/x/vuln/cmd/govulncheck -C ../.. ./...

sbom: build ## bin/pgbackfill.cdx.json: the modules in the program, as CycloneDX
	$(GO) run ./cmd/sbom bin/pgbackfill > bin/pgbackfill.cdx.json

clean: ## remove what was built
	rm -rf bin

# Built once for each pinned version: some two minutes on two cores.
$(LINTER): tools/go.mod tools/go.sum
	$(GO) build -C tools -o ../$(LINTER) github.com/golangci/golangci-lint/v2/cmd/golangci-lint
