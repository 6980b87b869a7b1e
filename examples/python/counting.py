"""Counts to a number in two processes at once.

usage: counting.py [NUMBER]
"""

import multiprocessing
import sys


def count(name, number):
    n = 0
    while n < number:
        n += 1
    print(f"{name} has counted to {n}", flush=True)


if __name__ == "__main__":
    number = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000_000
    processes = [multiprocessing.Process(target=count, args=(name, number)) for name in ("one", "two")]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
