"""What the benchmarks over files have in common: programs that take turns, and a table of their figures in a document.

Wall-clock time is what counts on a quiet machine; CPU time, user and system of all processes together, says more on a busy one.
"""

import argparse
import os
import resource
import shutil
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path


@dataclass
class Row:
    """One kind of work, and the programs that do it: the first one is ours.

    A program is a function that does the work once and returns its wall and CPU seconds.
    """

    work: str
    amount: float  # in the unit of the table, for the speed
    programs: dict


def arguments(description, rounds=5):
    """The flags of every benchmark."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=rounds)
    parser.add_argument("--document", type=Path, help="a file in which the table replaces what stands between its marks")
    return parser


def installed(program):
    found = shutil.which(program)
    if not found:
        print(f"SKIPPED: {program} is not installed", file=sys.stderr)
    return found


def cpu():
    """CPU seconds of this process and of those of its children that have ended."""
    usage = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(use.ru_utime + use.ru_stime for use in usage)


def timed(work):
    """Wall and CPU seconds of a call."""
    begun, used = time.perf_counter(), cpu()
    work()
    return time.perf_counter() - begun, cpu() - used


def command(words, environment=None):
    """A program that is a command, timed as a whole: a list, or a text for the shell."""

    def run():
        subprocess.run(
            words,
            shell=isinstance(words, str),
            env=os.environ | (environment or {}),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=True,
        )

    return lambda: timed(run)


def told(words, environment=None):
    """The wall and CPU seconds that a command prints, which times itself with `tell`."""
    ended = subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True, env=os.environ | (environment or {}))
    wall, used = map(float, ended.stdout.split())
    return wall, used


def tell(work):
    """Times a call, for whoever has started this process with `told`."""
    print(*timed(work))


def figures(row, rounds):
    """The medians of each program of a row. The first round brings the files into memory and does not count."""
    runs = {name: [] for name in row.programs}
    for number in range(rounds + 1):
        for name, program in row.programs.items():
            taken = program()
            if number:
                runs[name].append(taken)
    return {name: tuple(map(statistics.median, zip(*taken))) for name, taken in runs.items()}


def table(rows, rounds, unit):
    """The table of all rows, with the speed in `unit` per CPU second."""
    cores, before = len(os.sched_getaffinity(0)), os.getloadavg()[0]
    lines = [
        f"| work | program | wall, s | times ours | CPU, s | times ours | {unit} per CPU second |",
        "|---|---|---:|---:|---:|---:|---:|",
    ]
    for row in rows:
        found = figures(row, rounds)
        ours = next(iter(found.values()))
        for name, (wall, used) in found.items():
            ratios = f"{wall:.2f} | {wall / ours[0]:.1f} | {used:.2f} | {used / ours[1]:.1f}"
            lines.append(f"| {row.work} | {name} | {ratios} | {row.amount / max(used, 1e-9):,.0f} |")
            print(lines[-1], file=sys.stderr, flush=True)
    load = f"load average {before:.1f} before and {os.getloadavg()[0]:.1f} after"
    return "\n".join([f"{cores} cores, medians of {rounds} rounds, {load}.", "", *lines])


def publish(text, name, document):
    """Prints a table and, if a document is given, puts it there between the marks of this name."""
    print(text)
    if document:
        marks = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
        before, _, rest = document.read_text().partition(marks[0])
        _, found, after = rest.partition(marks[1])
        if not found:
            sys.exit(f"{document} has no marks {marks[0]} and {marks[1]}")
        document.write_text(f"{before}{marks[0]}\n{text}\n{marks[1]}{after}")
