#!/bin/sh
# Does the same faults to procpool and to the pools of Python, and prints what became of each. Needs Rust, and Python
# 3.11 or newer with venv; makes and uses the virtual environment .venv in the repository's root.
# Arguments are passed on to faults.py.
set -eu
root=$(cd "$(dirname "$0")/../../.." && pwd)
here=$root/tests/faults/peers

if [ ! -x "$root/.venv/bin/python" ]; then
    "${PYTHON:-python3}" -m venv "$root/.venv"
fi
"$root/.venv/bin/python" -m pip install --quiet --disable-pip-version-check -r "$here/requirements.txt"

cd "$root"
cargo build --quiet --release -p procpool-faults --bin peer
target=$(cargo metadata --format-version 1 --no-deps |
    "$root/.venv/bin/python" -c 'import json, sys; print(json.load(sys.stdin)["target_directory"])')
exec "$root/.venv/bin/python" "$here/faults.py" --peer "$target/release/peer" "$@"
