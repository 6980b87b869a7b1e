#!/bin/sh
# Compares the thumbnails' pixels with Pillow's. Needs Rust, and Python 3.11 or newer with venv;
# makes and uses the virtual environment .venv in the repository's root.
# Arguments are passed on to compare.py.
set -eu
root=$(cd "$(dirname "$0")/../../../.." && pwd)
here=$root/crates/procpool-cli/tests/pillow

. "$root/tests/venv.sh"
packages "$here/requirements.txt"
build -p procpool-cli --example thumbnail_pixels
build -p procpool-jpeg --example samples
"$python" "$here/shapes.py" --program "$target/release/examples/thumbnail_pixels" --images "$root/images"
"$python" "$here/avif.py" --program "$target/release/examples/thumbnail_pixels" --images "$root/images"
exec "$python" "$here/compare.py" \
    --program "$target/release/examples/thumbnail_pixels" --samples "$target/release/examples/samples" \
    --images "$root/images" "$@"
