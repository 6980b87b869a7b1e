#!/bin/sh
# Compares the sets of `procpool dataset` with what Pillow computes, and reads them with webdataset and Hugging Face's datasets.
# Needs Rust, and Python 3.11 or newer with venv; makes and uses the virtual environment .venv in the repository's root.
# Arguments are passed on to compare.py.
set -eu
root=$(cd "$(dirname "$0")/../../../.." && pwd)
here=$root/crates/procpool-cli/tests/dataset

if [ ! -x "$root/.venv/bin/python" ]; then
    "${PYTHON:-python3}" -m venv "$root/.venv"
fi
"$root/.venv/bin/python" -m pip install --quiet --disable-pip-version-check -r "$here/requirements.txt"

cd "$root"
cargo build --quiet --release -p procpool-cli
target=$(cargo metadata --format-version 1 --no-deps |
    "$root/.venv/bin/python" -c 'import json, sys; print(json.load(sys.stdin)["target_directory"])')
exec "$root/.venv/bin/python" "$here/compare.py" \
    --program "$target/release/procpool" --images "$root/images" "$@"
