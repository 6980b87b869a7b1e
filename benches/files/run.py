"""Measures `procpool count` and `procpool logs` beside the tools that people use for the same.

    python run.py PROCPOOL [--rounds N] [--only WORD] [--document FILE]

What is measured stands in the modules rows_*.py here: each has a function rows(Place) that makes its files and returns its rows.
"""

import importlib.util
import os
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
import turns  # noqa: E402


class Place:
    """A folder for input files, and the program to be measured."""

    def __init__(self, folder, procpool):
        self.folder, self.procpool = Path(folder), procpool

    def made(self, name, command):
        """The file of this name, which `command` writes to its standard output; made once."""
        path = self.folder / name
        if not path.exists():
            with open(path, "wb") as out:
                subprocess.run(command, stdout=out, check=True)
        return path


def main():
    parser = turns.arguments(__doc__)
    parser.add_argument("procpool")
    parser.add_argument("--only", default="")
    parser.add_argument("--folder", help="where the input files are kept [default: a temporary folder]")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        place = Place(args.folder or temporary, os.path.abspath(args.procpool))
        rows = []
        for module in sorted(HERE.glob("rows_*.py")):
            spec = importlib.util.spec_from_file_location(module.stem, module)
            loaded = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(loaded)
            rows += loaded.rows(place)
        result = turns.table([row for row in rows if args.only in row.work], args.rounds, "MB")
    turns.publish(result, "bench-files", args.document)


if __name__ == "__main__":
    main()
