#!/bin/sh
# A training set of photographs beside Pillow and OpenCV in Python's ProcessPoolExecutor. Needs Rust and Python 3.11 or newer
# with venv. The photographs are made once, in target/bench-thumbs. Arguments are passed on to bench.py: --rounds N.
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
here=$root/benches/dataset

. "$root/tests/venv.sh"
packages "$here/requirements.txt"
build -p procpool-cli
pictures=$target/bench-thumbs
if [ ! -e "$pictures/made" ]; then
    echo "making the pictures: a minute"
    "$python" "$root/benches/thumbs/pictures.py" "$root/images" "$pictures"
    touch "$pictures/made"
fi
exec "$python" "$here/bench.py" --program "$target/release/procpool" --pictures "$pictures" "$@"
