#!/bin/sh
# Does the same faults to procpool and to the pools of Python, and prints what became of each. Needs Rust, and Python
# 3.11 or newer with venv; makes and uses the virtual environment .venv in the repository's root.
# Arguments are passed on to faults.py.
set -eu
root=$(cd "$(dirname "$0")/../../.." && pwd)
here=$root/tests/faults/peers

. "$root/tests/venv.sh"
packages "$here/requirements.txt"
build -p procpool-faults --bin peer
exec "$python" "$here/faults.py" --peer "$target/release/peer" "$@"
