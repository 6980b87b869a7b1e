#!/bin/sh
# Compares the sets of `procpool dataset` with what Pillow computes, and reads them with webdataset and Hugging Face's datasets.
# Needs Rust, and Python 3.11 or newer with venv; makes and uses the virtual environment .venv in the repository's root.
# Arguments are passed on to compare.py.
set -eu
root=$(cd "$(dirname "$0")/../../../.." && pwd)
here=$root/crates/procpool-cli/tests/dataset

. "$root/tests/venv.sh"
packages "$here/requirements.txt"
build -p procpool-cli
exec "$python" "$here/compare.py" \
    --program "$target/release/procpool" --images "$root/images" "$@"
