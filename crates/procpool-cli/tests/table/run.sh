#!/bin/sh
# Compares the tables of `procpool table` with what Python's csv, json and xml modules read, and what pyarrow, DuckDB and
# polars find in the outputs. Needs Rust, and Python 3.11 or newer with venv; makes and uses the virtual environment .venv in
# the repository's root. Arguments are passed on to compare.py.
set -eu
root=$(cd "$(dirname "$0")/../../../.." && pwd)
here=$root/crates/procpool-cli/tests/table

. "$root/tests/venv.sh"
packages "$here/requirements.txt"
build -p procpool-cli
exec "$python" "$here/compare.py" --program "$target/release/procpool" "$@"
