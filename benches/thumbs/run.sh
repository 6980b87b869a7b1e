#!/bin/sh
# Thumbnails beside other programs. Needs Rust and Python 3.11 or newer with venv; uses vipsthumbnail and ImageMagick if they
# are installed. The pictures are made once, in target/bench-thumbs. Arguments are passed on to compare.py: --rounds N.
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
here=$root/benches/thumbs

if [ ! -x "$root/.venv/bin/python" ]; then
    "${PYTHON:-python3}" -m venv "$root/.venv"
fi
python=$root/.venv/bin/python
"$python" -m pip install --quiet --disable-pip-version-check -r "$root/crates/procpool-cli/tests/pillow/requirements.txt"

cd "$root"
cargo build --quiet --release -p procpool-cli
target=$(cargo metadata --format-version 1 --no-deps |
    "$python" -c 'import json, sys; print(json.load(sys.stdin)["target_directory"])')
pictures=$target/bench-thumbs
if [ ! -e "$pictures/avif/made" ]; then
    echo "making the pictures: a minute"
    "$python" "$here/pictures.py" "$root/images" "$pictures"
    touch "$pictures/avif/made"
fi
exec "$python" "$here/compare.py" --program "$target/release/procpool" --pictures "$pictures" "$@"
