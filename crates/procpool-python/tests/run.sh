#!/bin/sh
# Tests of the Python package: builds the wheel, installs it into virtual environments of its own, runs tests/ with everything
# that a test may want, once more without NumPy under each other Python from 3.11 on that is there, and CPython's own suites where
# they are installed. Needs Rust, and Python 3.11 or newer with venv. Arguments are passed on to pytest.
set -eu
root=$(cd "$(dirname "$0")/../../.." && pwd)
package=$root/crates/procpool-python
python=${PYTHON:-python3}
environments=$root/target/python
wheels=$environments/wheels
export PIP_DISABLE_PIP_VERSION_CHECK=1

version() { "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])'; }

# The virtual environment $1 of the interpreter $2, with the wheel and what else is named.
environment() {
    [ -x "$environments/$1/bin/python" ] || "$2" -m venv "$environments/$1"
    into=$environments/$1
    shift 2
    "$into/bin/python" -m pip install --quiet "$@"
    "$into/bin/python" -m pip install --quiet --force-reinstall --no-deps "$wheels"/procpool-*.whl
}

mkdir -p "$environments"
rm -rf "$wheels"
first=$(version "$python")
[ -x "$environments/build/bin/python" ] || "$python" -m venv "$environments/build"
"$environments/build/bin/python" -m pip install --quiet 'maturin>=1.9,<2'
(cd "$package" && "$environments/build/bin/maturin" build --quiet --release --out "$wheels")

cd "$package"
echo "== the Python package under Python $first"
environment "$first" "$python" -r tests/requirements.txt
"$environments/$first/bin/python" -m pytest -q -rs "$@" tests

for other in 3.11 3.12 3.13 3.14; do
    [ "$other" = "$first" ] && continue
    found=
    for candidate in "python$other" "${PYENV_ROOT:-$HOME/.pyenv}"/versions/"$other".*/bin/python; do
        [ -z "$found" ] && [ "$(version "$candidate" 2>/dev/null)" = "$other" ] && found=$candidate
    done
    if [ -z "$found" ]; then
        echo "SKIPPED: Python $other is not installed"
        continue
    fi
    echo "== the Python package under Python $other, without NumPy"
    environment "$other" "$found" cloudpickle==3.1.3 pytest==9.2.0
    "$environments/$other/bin/python" -m pytest -q -rs "$@" tests
done

"$python" tests/conformance/run.py "$environments"
