# Everything a fresh machine needs is Rust, Python 3.11 or newer, gcc and make; the rest is fetched.
CARGO ?= cargo
PYTHON ?= python3
PROCPOOL = target/release/procpool

export CARGO_TARGET_DIR = $(CURDIR)/target

.PHONY: demo test bench soak build clean

demo: build
	@$(PROCPOOL) thumbs images -o thumbs
	@echo "The thumbnails are in $(CURDIR)/thumbs"

build:
	$(CARGO) build --release --quiet -p procpool-cli

test:
	$(CARGO) test --workspace --quiet
	PYTHON=$(PYTHON) bash crates/procpool-cli/tests/pillow/run.sh

bench: build
	$(CARGO) run --release --quiet -p procpool-benches
	$(PROCPOOL) bench

# Workers killed at random for a hundred thousand tasks: minutes.
soak:
	$(CARGO) run --release --quiet -p procpool-faults --bin soak

clean:
	$(CARGO) clean
	rm -rf thumbs .venv
