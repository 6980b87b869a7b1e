#!/bin/sh
# Measures procpool beside all other process pools for Python, in one run. Needs Rust, and Python 3.11 or newer with venv.
# Arguments are passed on to run.py.
set -eu
root=$(cd "$(dirname "$0")/../../.." && pwd)
package=$root/crates/procpool-python
environment=$root/target/python/bench
export PIP_DISABLE_PIP_VERSION_CHECK=1

[ -x "$environment/bin/python" ] || "${PYTHON:-python3}" -m venv "$environment"
"$environment/bin/python" -m pip install --quiet -r "$package/bench/requirements.txt"
rm -rf "$root/target/python/bench-wheels"
(cd "$package" && "$environment/bin/maturin" build --quiet --release --out "$root/target/python/bench-wheels")
"$environment/bin/python" -m pip install --quiet --force-reinstall --no-deps "$root"/target/python/bench-wheels/procpool-*.whl
exec "$environment/bin/python" "$package/bench/run.py" "$@"
