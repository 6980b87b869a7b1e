#!/usr/bin/env sh
# Runs each fuzz target, or those in FUZZ_TARGETS, for FUZZ_SECONDS (60). The same bodies run as tests in `cargo test`, on a bounded
# number of cases. What is found lies in fuzz/artifacts, what was learnt in fuzz/corpus, from where the next run goes on.
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

# With its checks on, the decoder of AVIF notes the stack each time it takes hold of pixels, if stacks are wanted of panics: then
# pictures go nine times slower.
export RUST_BACKTRACE=0
export LSAN_OPTIONS="suppressions=$PWD/fuzz/leaks.txt:print_suppressions=0"

for target in ${FUZZ_TARGETS:-ring items messages acceptance jpeg picture profile}; do
    length=600
    corpus=fuzz/corpus/$target
    mkdir -p "$corpus"
    # A picture is not come upon by chance, nor a profile: the fuzzer begins with small files of all kinds.
    case $target in
    jpeg)
        length=8000
        $cargo run --quiet --release -p procpool-jpeg --example samples -- "$corpus" $length
        ;;
    picture | profile)
        length=6000
        $cargo run --quiet --release -p procpool-cli --example picture_samples -- "$target" "$corpus"
        ;;
    esac
    set -- -max_total_time="${FUZZ_SECONDS:-60}" -max_len=$length -len_control=0
    if [ -f "fuzz/$target.dict" ]; then
        set -- "$@" -dict="fuzz/$target.dict"
    fi
    $cargo +nightly fuzz run "$target" -- "$@" -timeout=20 -rss_limit_mb=2500 -print_final_stats=1
done
