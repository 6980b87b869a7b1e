#!/bin/sh
# Compares the thumbnails' pixels with Pillow's. Needs Rust, and Python 3.11 or newer with venv;
# makes and uses the virtual environment .venv in the repository's root.
# Arguments are passed on to compare.py.
set -eu
root=$(cd "$(dirname "$0")/../../../.." && pwd)
here=$root/crates/procpool-cli/tests/pillow

if [ ! -x "$root/.venv/bin/python" ]; then
    "${PYTHON:-python3}" -m venv "$root/.venv"
fi
"$root/.venv/bin/python" -m pip install --quiet --disable-pip-version-check -r "$here/requirements.txt"

cd "$root"
cargo build --quiet --release -p procpool-cli --example thumbnail_pixels
cargo build --quiet --release -p procpool-jpeg --example samples
target=$(cargo metadata --format-version 1 --no-deps |
    "$root/.venv/bin/python" -c 'import json, sys; print(json.load(sys.stdin)["target_directory"])')
"$root/.venv/bin/python" "$here/shapes.py" --program "$target/release/examples/thumbnail_pixels" --images "$root/images"
"$root/.venv/bin/python" "$here/avif.py" --program "$target/release/examples/thumbnail_pixels" --images "$root/images"
exec "$root/.venv/bin/python" "$here/compare.py" \
    --program "$target/release/examples/thumbnail_pixels" --samples "$target/release/examples/samples" \
    --images "$root/images" "$@"
