"""Squares numbers in two processes that get them from a queue and put the results into another.

usage: queues.py [COUNT]
"""

import multiprocessing
import sys


def square(numbers, results):
    for n in iter(numbers.get, None):
        results.put((n, n * n))


if __name__ == "__main__":
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 10
    numbers, results = multiprocessing.Queue(), multiprocessing.Queue()
    workers = [multiprocessing.Process(target=square, args=(numbers, results)) for _ in range(2)]
    for worker in workers:
        worker.start()
    for n in range(count):
        numbers.put(n)
    for _ in workers:
        numbers.put(None)
    for n, squared in sorted(results.get() for _ in range(count)):
        print(n, squared)
    for worker in workers:
        worker.join()
