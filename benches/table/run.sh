#!/bin/sh
# `procpool table` beside polars, DuckDB and Python: makes the inputs and runs bench.py in the virtual environment .venv in the
# repository's root, which it makes. Arguments are passed on to bench.py.
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
if [ ! -x "$root/.venv/bin/python" ]; then
    "${PYTHON:-python3}" -m venv "$root/.venv"
fi
"$root/.venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    -r "$root/crates/procpool-cli/tests/table/requirements.txt"
cd "$root"
cargo build --quiet --release -p procpool-cli
"$root/.venv/bin/python" benches/table/make_inputs.py target/bench-table
exec "$root/.venv/bin/python" benches/table/bench.py --program target/release/procpool --folder target/bench-table "$@"
