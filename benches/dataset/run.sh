#!/bin/sh
# A training set of photographs beside Pillow and OpenCV in Python's ProcessPoolExecutor. Needs Rust and Python 3.11 or newer
# with venv. The photographs are made once, in target/bench-thumbs. Arguments are passed on to bench.py: --rounds N.
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
here=$root/benches/dataset

if [ ! -x "$root/.venv/bin/python" ]; then
    "${PYTHON:-python3}" -m venv "$root/.venv"
fi
python=$root/.venv/bin/python
"$python" -m pip install --quiet --disable-pip-version-check -r "$here/requirements.txt"

cd "$root"
cargo build --quiet --release -p procpool-cli
target=$(cargo metadata --format-version 1 --no-deps |
    "$python" -c 'import json, sys; print(json.load(sys.stdin)["target_directory"])')
pictures=$target/bench-thumbs
if [ ! -e "$pictures/made" ]; then
    echo "making the pictures: a minute"
    "$python" "$root/benches/thumbs/pictures.py" "$root/images" "$pictures"
    touch "$pictures/made"
fi
exec "$python" "$here/bench.py" --program "$target/release/procpool" --pictures "$pictures" "$@"
