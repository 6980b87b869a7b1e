# Everything a fresh machine needs is Rust, Python 3.11 or newer, gcc and make; the rest is fetched.
CARGO ?= cargo
PYTHON ?= python3
PROCPOOL = target/release/procpool

export CARGO_TARGET_DIR = $(CURDIR)/target

.PHONY: demo test bench bench-python bench-files bench-scaling bench-thumbs faults loom fuzz soak build clean

demo: build
	@$(PROCPOOL) thumbs images -o thumbs
	@echo "The thumbnails are in $(CURDIR)/thumbs"

build:
	$(CARGO) build --release --quiet -p procpool-cli

test:
	$(CARGO) test --workspace --quiet
	$(CARGO) run --quiet -p procpool-faults --bin soak -- for 60
	$(CARGO) test --quiet -p procpool-faults --features failpoints --test exhaustion
	PYTHON=$(PYTHON) bash crates/procpool-cli/tests/pillow/run.sh
	PYTHON=$(PYTHON) sh crates/procpool-cli/tests/table/run.sh
	PYTHON=$(PYTHON) sh crates/procpool-cli/tests/dataset/run.sh
	PYTHON=$(PYTHON) sh crates/procpool-python/tests/run.sh

bench: build
	$(CARGO) run --release --quiet -p procpool-benches
	$(PROCPOOL) bench

# The jobs over many files beside the tools that people use for the same, those that are installed: minutes.
bench-files: build
	$(PYTHON) benches/files/run.py $(PROCPOOL) --document docs/BENCHMARKS.md
	PYTHON=$(PYTHON) sh benches/table/run.sh --document docs/BENCHMARKS.md
	PYTHON=$(PYTHON) sh benches/dataset/run.sh --document docs/BENCHMARKS.md

# What more workers bring, to the pool and to the jobs; for a machine with many CPUs that is left alone: minutes.
bench-scaling: build
	$(CARGO) run --release --quiet -p procpool-benches -- --scaling 1,2,4,8,16 --rounds 3
	[ -x .venv/bin/python ] || $(PYTHON) -m venv .venv
	.venv/bin/python -m pip install --quiet --disable-pip-version-check pillow
	.venv/bin/python benches/scaling.py $(PROCPOOL)

# Thumbnails beside Pillow and, where installed, vipsthumbnail and ImageMagick: some minutes.
bench-thumbs:
	PYTHON=$(PYTHON) sh benches/thumbs/run.sh

# procpool beside every other process pool for Python that can be installed: about ten minutes.
bench-python:
	PYTHON=$(PYTHON) sh crates/procpool-python/bench/run.sh

# The same faults to procpool and to the pools of Python, and a table of what became of them: about five minutes.
faults:
	PYTHON=$(PYTHON) sh tests/faults/peers/run.sh

# The models of the ring with more interruptions than `make test` tries, and the proof that they can fail: minutes.
loom:
	LOOM_MAX_PREEMPTIONS=3 $(CARGO) test --release --quiet -p procpool-ring
	$(PYTHON) tests/ring/spoil.py

# What a hostile worker can send, made up by libFuzzer; a minute for each target, or FUZZ_SECONDS.
fuzz:
	CARGO=$(CARGO) sh fuzz/run.sh

# A hundred thousand tasks while workers are killed at random, a million tasks with a thousand replaced workers, values of more
# than 4 GiB, and each system call failing five times from each time on that it is made: minutes, and 9 GiB of memory for the
# large values. `make test` does a minute of the first two, and some of the last.
soak:
	EXHAUSTION_STRIDE=1 $(CARGO) test --quiet -p procpool-faults --features failpoints --test exhaustion
	$(CARGO) run --release --quiet -p procpool-faults --bin soak

clean:
	$(CARGO) clean
	rm -rf thumbs .venv
