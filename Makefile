# Every verb is one plain command that can also be typed by hand; `make` alone lists them.
# The scripts read CARGO, so that another cargo can be named: make test CARGO=/opt/rust/bin/cargo
export CARGO ?= cargo
export PATH := $(HOME)/.cargo/bin:$(PATH):/usr/sbin:/sbin
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help demo build test unit model it fleet bench bench-quick lint fmt doc deny units deb size release \
        test-containerd-matrix test-vm setup install uninstall ci clean bless

help: ## list the verbs
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-24s%s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: ## a DaemonSet from a YAML file, running, crashing, surviving: in three minutes
	@scripts/demo
build: ## the development binary, target/debug/podward
	@scripts/setup build && $(CARGO) build --locked
test: ## everything that can be tested on this machine
	@scripts/test $(ARGS)
unit: ## the tests that need neither root nor containerd
	@scripts/setup build && $(CARGO) test --locked --lib --test tidy --test licences $(ARGS)
model: ## the protocol of turns explored further than `make unit` does: minutes, and up to 4 GB
	@$(CARGO) test --locked --profile quick --features model --lib rollout::model -- --nocapture --test-threads=1
it: ## the whole binary against a private containerd (root); ARGS=name runs a part
	@scripts/test --it $(ARGS)
fleet: ## hosts in namespaces of their own around a real etcd (root); ARGS=name runs a part
	@scripts/test --fleet $(ARGS)
bench: ## criterion for the pure parts, then the whole system beside `ctr run -d`
	@scripts/bench $(ARGS)
bench-quick: ## the same with few samples and a quick build: a look, not a measurement
	@scripts/bench --quick $(ARGS)
bench-fleet: ## whole rollouts over 100, 1,000 and 10,000 nodes without containers on one etcd; ARGS=--quick
	@scripts/bench --fleet $(ARGS)
lint: ## rustfmt, clippy, shell syntax, systemd units
	@scripts/lint
fmt: ## write every file as rustfmt wants it
	@$(CARGO) fmt --all
doc: ## the crate's own documentation, private items included
	@RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --no-deps --document-private-items
deny: ## licences and duplicate crates against deny.toml
	@scripts/deny
units: ## check the systemd units
	@scripts/units
deb: ## a Debian package in dist/
	@scripts/deb
size: ## the release binary against its budget
	@scripts/size
release: ## the static release binary, dist/podward
	@scripts/release
test-containerd-matrix: ## the integration tests on containerd 1.6, 1.7 and 2.x
	@scripts/test-containerd-matrix $(ARGS)
test-vm: ## under systemd and cgroup v2 in a QEMU guest (root); ARGS="bookworm trixie forky"
	@scripts/test-vm $(ARGS)
setup: ## install through apt what the other verbs need and this machine lacks
	@scripts/setup all
install: ## the release binary and its units onto this host (PREFIX=/usr, DESTDIR=)
	@scripts/install
uninstall: ## remove them again; settings, state and logs stay
	@scripts/install --remove
ci: ## exactly what CI runs, in its order
	@bash .ci/run
clean: ## what was built, and nothing else
	@$(CARGO) clean && rm -rf dist
bless: ## rewrite generated pages and recorded outputs; then read the diff
	@PODWARD_BLESS=1 $(CARGO) test --locked --lib --test tidy -- --test-threads=1
