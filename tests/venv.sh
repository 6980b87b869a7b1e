# What the scripts have in common that run the programs of this repository beside Python packages. They source it with root set.

python=$root/.venv/bin/python

# Makes the virtual environment .venv in the repository's root, unless it is there, and installs what the file $1 lists.
packages() {
    [ -x "$python" ] || "${PYTHON:-python3}" -m venv "$root/.venv"
    "$python" -m pip install --quiet --disable-pip-version-check -r "$1"
}

# Builds with the arguments of cargo build, goes to the repository's root, and sets target to the folder of what is built.
build() {
    cd "$root"
    cargo build --quiet --release "$@"
    target=$(cargo metadata --format-version 1 --no-deps |
        "$python" -c 'import json, sys; print(json.load(sys.stdin)["target_directory"])')
}
