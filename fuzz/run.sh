#!/usr/bin/env sh
# Runs each fuzz target for FUZZ_SECONDS (60). The same bodies run as tests in `cargo test`, on a bounded number of cases.
set -eu
cd "$(dirname "$0")/.."
cargo=${CARGO:-cargo}
if ! $cargo fuzz --version >/dev/null 2>&1; then
    echo "make fuzz needs cargo-fuzz: $cargo install cargo-fuzz" >&2
    missing=1
fi
if ! $cargo +nightly --version >/dev/null 2>&1; then
    echo "make fuzz needs a nightly toolchain: rustup toolchain install nightly" >&2
    missing=1
fi
if [ -n "${missing:-}" ]; then
    echo "without them, the same bodies on more random cases: FUZZ_CASES=100 $cargo test -p procpool --lib fuzz" >&2
    echo "and: FUZZ_CASES=100 $cargo test -p procpool-jpeg --test damage" >&2
    echo "and: FUZZ_CASES=100 $cargo test -p procpool-cli --test pictures --lib damage" >&2
    exit 1
fi
for target in ${FUZZ_TARGETS:-ring items messages acceptance jpeg picture profile}; do
    length=600
    # A JPEG is not come upon by chance: the fuzzer begins with files of all kinds.
    if [ "$target" = jpeg ]; then
        length=20000
        mkdir -p fuzz/corpus/jpeg
        $cargo run --quiet --release -p procpool-jpeg --example samples -- fuzz/corpus/jpeg
    fi
    # Nor any other picture, nor a profile.
    if [ "$target" = picture ] || [ "$target" = profile ]; then
        length=20000
        $cargo run --quiet --release -p procpool-cli --example picture_samples -- "$target" "fuzz/corpus/$target"
    fi
    $cargo +nightly fuzz run "$target" -- -max_total_time="${FUZZ_SECONDS:-60}" -max_len=$length -len_control=0 -print_final_stats=1
done
