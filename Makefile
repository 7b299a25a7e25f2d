# make demo   build and start Shipwake with a simulated shop
# make demo-kafka  the same shop in front of several processes, with Kafka and an S3 server
# make test   everything that a change is judged by
# make torture  the faults of make test, for longer (docs/faults.md; some hours)
# make bench  the figures of docs/benchmarks.md (takes about a quarter of an hour)
# make verdict-bench  how often verdicts are wrong, and how soon they are right (minutes; SCALE=10 for more runs)
# make ui     rebuild dashboards/dist from dashboards/ui

SHELL := /bin/bash
BIN := target/release/shipwake
# Not root: ask for the right to install. Root: no sudo needed (and often not there).
AS_ROOT := $(if $(filter 0,$(shell id -u)),,sudo)

SCALE := 1

.PHONY: demo demo-kafka test torture test-rust test-ui lint bench verdict-bench ui build needs-build needs-java needs-test

demo: build
	exec $(BIN) demo $(DEMO_ARGS)

# Kafka comes with Maven, the S3 server is built with Go, both once.
demo-kafka: build needs-java
	@command -v go >/dev/null || [ -x target/s3/versitygw ] || { echo "Go 1.26 is missing: see https://go.dev/dl"; exit 1; }
	exec deploy/demo-kafka/run.sh $(DEMO_ARGS)

build: needs-build
	cargo build --release --locked --bin shipwake

# A C and a C++ compiler for zstd, mimalloc and librdkafka, and what the last one is built with: cmake, pkg-config, OpenSSL,
# zlib, and headers of libcurl, which it includes and does not use.
needs-build:
	@command -v cargo >/dev/null || { echo "Rust is missing: see https://rustup.rs"; exit 1; }
	@{ command -v cc && command -v c++ && command -v cmake && command -v make && command -v pkg-config && \
		pkg-config --exists openssl zlib libcurl; } >/dev/null || { $(AS_ROOT) apt-get update && $(AS_ROOT) apt-get install -y \
		--no-install-recommends gcc g++ libc6-dev cmake make pkg-config libssl-dev zlib1g-dev libcurl4-openssl-dev; }

needs-java:
	@{ command -v javac && command -v mvn; } >/dev/null || \
		{ $(AS_ROOT) apt-get update && $(AS_ROOT) apt-get install -y --no-install-recommends openjdk-17-jdk-headless maven; }

# A browser for the page tests, libfiu to make fsync fail, and the programs whose logs are read: none of their services is
# started, which is what a policy of 101 says. For the real OpenTelemetry clients: Node and Go, which are newer than Debian's,
# Java with Maven, which Kafka needs too, and Python with venv; the SDKs and Kafka themselves are installed by the tests.
SENDERS := rsyslog nginx apache2-bin haproxy varnish prometheus
needs-test: needs-build needs-java
	@command -v node >/dev/null || { echo "Node 20 is missing: see https://nodejs.org"; exit 1; }
	@command -v go >/dev/null || { echo "Go 1.26 is missing: see https://go.dev/dl"; exit 1; }
	@python3 -c 'import ensurepip' >/dev/null || { $(AS_ROOT) apt-get update && $(AS_ROOT) apt-get install -y --no-install-recommends python3-venv; }
	@( PATH=$$PATH:/usr/sbin; for program in chromium fiu-run rsyslogd nginx apache2 haproxy varnishd prometheus; do \
		command -v $$program >/dev/null || exit 1; done ) || \
		$(AS_ROOT) sh -ec 'apt-get update; policy=/usr/sbin/policy-rc.d; \
		if [ ! -e $$policy ]; then trap "rm -f $$policy" EXIT; printf "#!/bin/sh\nexit 101\n" >$$policy; chmod +x $$policy; fi; \
		apt-get install -y --no-install-recommends chromium fiu-utils libfiu0 $(SENDERS)'

test: needs-test
	$(MAKE) test-rust
	$(MAKE) test-ui
	$(MAKE) lint

test-rust:
	cargo build --release --locked --bin shipwake
	cargo test --release --locked --workspace

# The same faults for longer. A failed run prints what to set to repeat it.
torture: needs-test
	cargo build --release --locked --bin shipwake
	SHIPWAKE_ALERT_KILLS=150 cargo test --release --locked -p shipwake-alerts --test kill
	SHIPWAKE_VERDICT_KILLS=150 SHIPWAKE_VERDICT_OUTAGE=600 cargo test --release --locked --test program told -- --nocapture
	SHIPWAKE_TORTURE=long cargo test --release --locked -p shipwake-journal -p shipwake-store --test damage -- --nocapture
	SHIPWAKE_TORTURE=long cargo test --release --locked --test faults -- --nocapture --test-threads 1
	SHIPWAKE_KAFKA_ROUNDS=40 cargo test --release --locked --test kafka faults -- --nocapture --test-threads 1
	SHIPWAKE_CLUSTER_LONGER=3 cargo test --release --locked --test kafka cluster -- --nocapture --test-threads 1

test-ui: build
	cd dashboards/ui && npm ci --ignore-scripts && npm run check && npm test && npm run dist-check && npm run size && npm run e2e

lint:
	cargo fmt --all --check
	cargo clippy --release --locked --workspace --all-targets -- -D warnings

ui:
	cd dashboards/ui && npm ci --ignore-scripts && npm run build

bench: build
	cargo bench -p shipwake-otlp
	cargo bench -p shipwake-aggregate
	cargo bench -p shipwake-journal

verdict-bench:
	cargo bench -p shipwake-verdict --bench verdict -- $(SCALE)
