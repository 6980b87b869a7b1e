#!/bin/sh
# `procpool table` beside polars, DuckDB and Python: makes the inputs and runs bench.py in the virtual environment .venv in the
# repository's root, which it makes. Arguments are passed on to bench.py.
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
. "$root/tests/venv.sh"
packages "$root/crates/procpool-cli/tests/table/requirements.txt"
build -p procpool-cli
"$python" benches/table/make_inputs.py "$target/bench-table"
exec "$python" benches/table/bench.py --program "$target/release/procpool" --folder "$target/bench-table" "$@"
