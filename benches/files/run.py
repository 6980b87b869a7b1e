"""Measures the jobs of the command over many files beside the tools that people use for the same.

    python run.py PROCPOOL [--rounds N] [--only WORD] [--document FILE]

The programs take turns, round after round, and each figure is the median over the rounds; the files are in memory by then. What is
measured stands in the modules rows_*.py here: each has a function rows(Place) that makes its files and returns its rows. With
--document the table replaces what stands between the marks in that file.
"""

import argparse
import importlib.util
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).parent
MARKS = ("<!-- bench-files: begin -->", "<!-- bench-files: end -->")


@dataclass
class Row:
    """One kind of work, and the programs that do it: the first one is ours. Commands are lists, or texts for the shell."""

    work: str
    size: int  # bytes of input, for the speed
    programs: dict
    environment: dict = field(default_factory=dict)


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


def installed(program):
    found = shutil.which(program)
    if not found:
        print(f"SKIPPED: {program} is not installed", file=sys.stderr)
    return found


def once(command, environment):
    """Wall and CPU seconds of one run, its children's included."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    begun = time.monotonic()
    subprocess.run(
        command,
        shell=isinstance(command, str),
        env=os.environ | environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=True,
    )
    wall = time.monotonic() - begun
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def measure(row, rounds):
    runs = {name: [] for name in row.programs}
    for number in range(rounds + 1):
        for name, command in row.programs.items():
            taken = once(command, row.environment)
            # The first round warms up.
            if number:
                runs[name].append(taken)
    return {name: tuple(map(statistics.median, zip(*taken))) for name, taken in runs.items()}


def table(rows, rounds):
    lines = [
        f"{os.cpu_count()} cores, median of {rounds} rounds, load average {os.getloadavg()[0]:.1f} at the beginning.",
        "",
        "| work | program | wall, s | times ours | CPU, s | times ours | MB per CPU second |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        figures = measure(row, rounds)
        ours = next(iter(figures.values()))
        for name, (wall, cpu) in figures.items():
            speed = row.size / max(cpu, 1e-9) / 1e6
            lines.append(
                f"| {row.work} | {name} | {wall:.2f} | {wall / ours[0]:.1f} | {cpu:.2f} | {cpu / ours[1]:.1f} | {speed:,.0f} |"
            )
            print(lines[-1], file=sys.stderr)
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("procpool")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", default="")
    parser.add_argument("--document", type=Path)
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
        result = table([row for row in rows if args.only in row.work], args.rounds)
    print(result)
    if args.document:
        text = args.document.read_text()
        (before, rest), mark = text.split(MARKS[0], 1), MARKS[1]
        after = rest.split(mark, 1)[1]
        args.document.write_text(f"{before}{MARKS[0]}\n{result}\n{mark}{after}")


# The modules of rows take what they need from here.
sys.modules["run"] = sys.modules[__name__]
if __name__ == "__main__":
    main()
