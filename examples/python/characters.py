"""Counts the characters of the files that a pattern names: eight processes.

usage: characters.py [PATTERN]
"""

import glob
import multiprocessing
import sys


def characters(path):
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return path, len(file.read())
    except OSError:
        return path, 0


if __name__ == "__main__":
    pattern = sys.argv[1] if len(sys.argv) > 1 else "/etc/*.conf"
    with multiprocessing.Pool(processes=8) as pool:
        counts = pool.map(characters, sorted(glob.glob(pattern)))
    for path, count in counts:
        print(f"{count:8} {path}")
    print(f"{sum(count for _, count in counts):8} in all")
