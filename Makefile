# What there is to do with a checkout of Dibs. Needs Debian 12, make and Swift; everything else is installed on the way.
.DEFAULT_GOAL := help
.PHONY: help run test test-sanitized fuzz conformance chaos chaos-checker soak bench bench-quick bench-all bench-plots hostile rush format lint install clean

SWIFT_SOURCES := Sources Tests Package.swift

help: ## say what there is
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(firstword $(MAKEFILE_LIST)) | expand -t 24

run: ## build the server and run it with a private Redis and PostgreSQL; DIBS_LISTEN=127.0.0.1:8080
	@scripts/run.sh

test: ## build, and run all tests in a throw-away place
	@scripts/test.sh

test-sanitized: ## run what matters under AddressSanitizer, ThreadSanitizer and LeakSanitizer; SANITIZERS="address thread leak"
	@scripts/test-sanitized.sh $(SANITIZERS)

fuzz: ## look for inputs that break a parser; PARSER=message SECONDS=60, all of them by default
	@scripts/fuzz.sh "$(SECONDS)" $(PARSER)

conformance: ## run Autobahn's WebSocket suite against our gateway; needs Python 2.7
	@scripts/conformance.sh

chaos: ## break things under load, and compare what clients were told with what is true; ROUNDS=100 SEED=…
	@scripts/chaos.sh

chaos-checker: ## show that `make chaos` finds bugs that are made on purpose
	@CHECKER=1 scripts/chaos.sh

soak: ## ten minutes of rushes, restarts and reconnects, and a look at a server's memory
	@scripts/soak.sh

bench: ## measure what has a goal, and more, beside what can't be argued with: docs/performance.md; some minutes
	@scripts/bench.sh

bench-quick: ## what has a goal, once and short: about a minute
	@scripts/bench.sh --quick

bench-all: ## all that docs/performance.md reports, three times: half an hour
	@scripts/bench.sh --all

bench-plots: ## draw how cost grows with clients, waiters, sales, instances and workers: docs/plots
	@scripts/bench.sh --plots

hostile: ## measure well-behaved clients beside each kind of hostile one; ARGS="--rounds 3"
	@scripts/hostile.sh $(ARGS)

rush: ## send simulated buyers to the running server; ARGS="--buyers 1000 --quantity 100"
	@scripts/rush.sh $(ARGS)

format: ## format the Swift sources in place
	swift format --in-place --recursive $(SWIFT_SOURCES)

lint: ## check the format of the Swift sources
	swift format lint --strict --recursive $(SWIFT_SOURCES)

install: ## install the Debian packages that are missing
	@scripts/install-packages.sh scripts/packages.txt scripts/packages-test.txt
	@scripts/require-swift.sh

clean: ## remove what was built; the data in .data stays
	rm -rf .build bench/build
