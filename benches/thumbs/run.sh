#!/bin/sh
# Thumbnails beside other programs. Needs Rust and Python 3.11 or newer with venv; uses vipsthumbnail and ImageMagick if they
# are installed. The pictures are made once, in target/bench-thumbs. Arguments are passed on to compare.py: --rounds N.
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
here=$root/benches/thumbs

. "$root/tests/venv.sh"
packages "$root/crates/procpool-cli/tests/pillow/requirements.txt"
build -p procpool-cli
pictures=$target/bench-thumbs
if [ ! -e "$pictures/avif/made" ]; then
    echo "making the pictures: a minute"
    "$python" "$here/pictures.py" "$root/images" "$pictures"
    touch "$pictures/avif/made"
fi
exec "$python" "$here/compare.py" --program "$target/release/procpool" --pictures "$pictures" "$@"
