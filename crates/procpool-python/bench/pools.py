"""Measures one pool once: `pools.py NAME WORKERS SCALE`; prints the figures as JSON."""

import contextlib
import functools
import json
import math
import multiprocessing
import sys
import threading
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

clock = time.perf_counter


def nothing(x=None):
    return x


def spin(seconds):
    end = clock() + seconds
    while clock() < end:
        pass


def import_numpy(seconds):
    """Takes so long that each worker gets one."""
    import numpy

    time.sleep(seconds)
    return numpy.__version__


def first(array):
    return float(array[0])


class Executor:
    """Whatever has submit and map of concurrent.futures."""

    chunked = True

    def __init__(self, make, stop=lambda pool: pool.shutdown()):
        self.pool = make()
        self.stop = stop

    def submit(self, function, *args):
        return self.pool.submit(function, *args)

    def result(self, future):
        return future.result()

    def map(self, function, inputs, chunk):
        return list(self.pool.map(function, inputs, chunksize=chunk))

    def close(self):
        self.stop(self.pool)


class MpPool(Executor):
    """Whatever has the methods of multiprocessing.Pool."""

    def submit(self, function, *args):
        return self.pool.apply_async(function, args)

    def result(self, future):
        return future.get()

    def map(self, function, inputs, chunk):
        return self.pool.map(function, inputs, chunksize=chunk)


def finish(pool):
    pool.close()
    pool.join()


class Pebble(Executor):
    def submit(self, function, *args):
        return self.pool.schedule(function, args=args)

    def map(self, function, inputs, chunk):
        return list(self.pool.map(function, inputs, chunksize=chunk).result())


def make(name, workers):
    """What makes the pool of this name, once its package is imported. ImportError where it is not installed."""
    context = multiprocessing.get_context
    match name.split("/"):
        case ["procpool", *method]:
            import procpool

            found = context(method[0]) if method else None
            return functools.partial(Executor, lambda: procpool.ProcessPoolExecutor(workers, mp_context=found))
        case ["procpool.Pool"]:
            import procpool

            return functools.partial(MpPool, lambda: procpool.Pool(workers), finish)
        case ["ProcessPoolExecutor", method]:
            return functools.partial(Executor, lambda: ProcessPoolExecutor(workers, mp_context=context(method)))
        case ["multiprocessing.Pool", method]:
            return functools.partial(MpPool, lambda: context(method).Pool(workers), finish)
        case ["ThreadPoolExecutor"]:
            return functools.partial(Executor, lambda: ThreadPoolExecutor(workers))
        case ["loky"]:
            from loky import ProcessPoolExecutor as Loky

            return functools.partial(Executor, lambda: Loky(workers))
        case ["pebble"]:
            import pebble

            return functools.partial(Pebble, lambda: pebble.ProcessPool(workers), finish)
        case ["billiard"]:
            import billiard

            return functools.partial(MpPool, lambda: billiard.Pool(workers), finish)
    raise LookupError(name)


def timed(function, *args):
    start = clock()
    function(*args)
    return clock() - start


def gather(pool, count):
    futures = [pool.submit(nothing) for _ in range(count)]
    for future in futures:
        pool.result(future)


def round_trips(pool, count):
    times = sorted(timed(lambda: pool.result(pool.submit(nothing))) for _ in range(count))
    return times[count // 2], times[math.ceil(count * 0.99) - 1]


def beside_a_hog(pool, count):
    """The median of a round trip while another thread of this program computes in Python."""
    over = threading.Event()

    def hog():
        while not over.is_set():
            sum(range(1000))

    thread = threading.Thread(target=hog)
    thread.start()
    try:
        return round_trips(pool, count)[0]
    finally:
        over.set()
        thread.join()


def main():
    name, workers, scale = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
    figures = {}

    def count(number):
        return max(20, int(number * scale))

    build = make(name, workers)
    start = clock()
    pool = build()
    pool.result(pool.submit(nothing))
    figures["first result, ms"] = (clock() - start) * 1e3
    gather(pool, 200)
    round_trips(pool, count(200))
    p50, p99 = round_trips(pool, count(2000))
    figures["round trip, median, us"], figures["round trip, 99th percentile, us"] = p50 * 1e6, p99 * 1e6
    number = count(8000)
    figures["submit, then gather, per s"] = number / timed(gather, pool, number)
    fast = name.startswith("procpool")
    number = count(200_000 if fast else 8000)
    figures["map, chunksize 1, per s"] = number / timed(pool.map, nothing, range(number), 1)
    number = count(1_000_000)
    figures["map, chunksize 1000, per s"] = number / timed(pool.map, nothing, range(number), 1000)
    steps, tasks = 20e-6, count(2000)
    # Once before it counts, so that each worker knows the function.
    pool.map(spin, [steps] * tasks, 1)
    busy = timed(lambda: pool.map(spin, [steps] * tasks, 1))
    figures["20 us tasks: share of the workers' time, %"] = 100 * steps * tasks / workers / busy
    figures["round trip beside a thread that computes, us"] = beside_a_hog(pool, count(100)) * 1e6
    with contextlib.suppress(ImportError):
        import numpy

        # The workers import NumPy before anything is measured.
        pool.map(import_numpy, [0.5] * workers, 1)
        array = numpy.ones(8 << 20)
        rates = [array.nbytes / 1e9 / timed(lambda: pool.result(pool.submit(first, array))) for _ in range(5)]
        figures["64 MiB array to a worker, first, GB/s"] = rates[0]
        figures["64 MiB array to a worker, warm, GB/s"] = max(rates[1:])
        array.flags.writeable = False
        rates = [array.nbytes / 1e9 / timed(lambda: pool.result(pool.submit(first, array))) for _ in range(5)]
        figures["the same, of one that is read-only"] = max(rates)
    figures["stop, ms"] = timed(pool.close) * 1e3
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
