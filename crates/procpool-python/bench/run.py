"""Measures all pools that can be imported here, in turns: `run.py [--workers N] [--rounds N] [--scale X] [NAME ...]`.

Prints a table of the medians over the rounds, each pool in a process of its own each time. Read across: other programs on the
machine disturb each row about equally, and rows of different runs not at all so.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

POOLS = [
    "procpool",
    "procpool/fork",
    "procpool.Pool",
    "ProcessPoolExecutor/fork",
    "ProcessPoolExecutor/forkserver",
    "multiprocessing.Pool/fork",
    "ThreadPoolExecutor",
    "loky",
    "pebble",
    "billiard",
]


def shown(value):
    """Three digits."""
    if value >= 1e6:
        return f"{value / 1e6:.2f} M"
    if value >= 1000:
        return f"{value / 1e3:.3g} k"
    return f"{value:.3g}"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="pools to measure (default: all)")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--scale", type=float, default=1.0, help="how many tasks, relative to the usual number")
    plan = parser.parse_args()
    names = plan.names or list(POOLS)
    samples = {name: [] for name in names}
    program = Path(__file__).parent / "pools.py"
    before = os.getloadavg()[0]
    for _ in range(plan.rounds):
        for name in list(samples):
            command = [sys.executable, program, name, str(plan.workers), str(plan.scale)]
            try:
                ran = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)
                samples[name].append(json.loads(ran.stdout.splitlines()[-1]))
            except subprocess.TimeoutExpired:
                print(f"{name}: no answer within 300 s", file=sys.stderr)
                del samples[name]
            except subprocess.CalledProcessError as error:
                why = (error.stderr.strip().splitlines() or ["?"])[-1]
                print(f"{name}: not measured: {why}", file=sys.stderr)
                del samples[name]
    names = list(samples)
    if not names:
        return 1
    figures = [figure for figure in samples[names[0]][0] if all(figure in one for name in names for one in samples[name])]
    after = os.getloadavg()[0]
    version = "%d.%d.%d" % sys.version_info[:3]
    load = f"load average {before:.1f} before, {after:.1f} after"
    print(f"Python {version}, {plan.workers} workers, {os.cpu_count()} CPUs, {plan.rounds} rounds, {load}\n")
    print("| work | " + " | ".join(names) + " |")
    print("|---" * (len(names) + 1) + "|")
    for figure in figures:
        cells = [shown(statistics.median(one[figure] for one in samples[name])) for name in names]
        print(f"| {figure} | " + " | ".join(cells) + " |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
