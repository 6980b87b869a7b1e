"""Measures ProcessPoolExecutor once. Takes the plan as JSON in its argument, prints the samples as JSON.

What is measured, and the names, are those of src/measure.rs.
"""

import array
import collections
import json
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import shared_memory

CHUNK = 1000
# Before 3.13 every process that attaches to shared memory believes that it must remove it.
TRACKS = sys.version_info >= (3, 13)


def nothing(number):
    return number


def echo(data):
    return data


kept = {}


def look(name):
    """Reads a byte at the start, in the middle and at the end of shared memory, which a worker attaches to once."""
    if name not in kept:
        kept[name] = shared_memory.SharedMemory(name=name, track=False) if TRACKS else shared_memory.SharedMemory(name=name)
    buf = kept[name].buf
    return buf[0] + buf[len(buf) // 2] + buf[len(buf) - 1]


def compute(steps):
    for _ in range(steps):
        pass
    return steps


def elapsed(function, *arguments):
    start = time.perf_counter()
    function(*arguments)
    return time.perf_counter() - start


def enough(plan, tasks, run):
    """Four times as many tasks each time, until the run takes long enough; then the median of three."""
    while (seconds := elapsed(run, tasks)) < plan["throughput_s"]:
        tasks *= 4
    return tasks, sorted([seconds, elapsed(run, tasks), elapsed(run, tasks)])[1]


def main():
    plan = json.loads(sys.argv[1])
    workers = plan["workers"]
    samples = collections.defaultdict(list)

    for _ in range(plan["starts"]):
        start = time.perf_counter()
        pool = ProcessPoolExecutor(workers)
        pool.submit(nothing, 1).result()
        samples["start_ms"].append((time.perf_counter() - start) * 1e3)
        samples["shutdown_ms"].append(elapsed(pool.shutdown) * 1e3)

    pool = ProcessPoolExecutor(workers)

    def round_trip():
        pool.submit(nothing, 1).result()

    def gather(function, argument, tasks):
        for future in [pool.submit(function, argument) for _ in range(tasks)]:
            future.result()

    def run_map(function, argument, chunk, tasks):
        collections.deque(pool.map(function, (argument for _ in range(tasks)), chunksize=chunk), maxlen=0)

    for _ in range(plan["warm_up"]):
        round_trip()
    times = []
    begin = time.perf_counter()
    while time.perf_counter() - begin < plan["round_trips_s"]:
        times.append(elapsed(round_trip))
    times.sort()
    samples["round_trip_p50_us"].append(times[len(times) * 50 // 100] * 1e6)
    samples["round_trip_p99_us"].append(times[len(times) * 99 // 100] * 1e6)

    tasks, seconds = enough(plan, 256, lambda tasks: gather(nothing, 1, tasks))
    samples["gather_per_s"].append(tasks / seconds)
    tasks, seconds = enough(plan, 16_384, lambda tasks: run_map(nothing, 1, CHUNK, tasks))
    samples["map_per_s"].append(tasks / seconds)

    data = b"\7" * plan["bytes"]
    # Once before it counts.
    pool.submit(len, data).result()
    pool.submit(echo, data).result()
    for _ in range(plan["transfers"]):
        seconds = elapsed(lambda: pool.submit(len, data).result())
        samples["send_gb_s"].append(len(data) / seconds / 1e9)
        seconds = elapsed(lambda: pool.submit(echo, data).result())
        samples["echo_gb_s"].append(2 * len(data) / seconds / 1e9)
        numbers = array.array("d", [0.5]) * (plan["bytes"] // 8)
        seconds = elapsed(lambda: pool.submit(echo, numbers).result())
        samples["numbers_gb_s"].append(2 * len(data) / seconds / 1e9)

    memory = shared_memory.SharedMemory(create=True, size=plan["bytes"])
    try:
        memory.buf[:] = data
        pool.submit(look, memory.name).result()
        times = sorted(elapsed(lambda: pool.submit(look, memory.name).result()) for _ in range(plan["warm_up"]))
        samples["lend_us"].append(times[len(times) // 2] * 1e6)
    finally:
        memory.close()
        memory.unlink()

    calibration = 50_000
    steps_per_us = calibration / (min(elapsed(compute, calibration) for _ in range(50)) * 1e6)
    for us in plan["task_us"]:
        steps = int(steps_per_us * us)
        tasks, seconds = enough(plan, 256, lambda tasks: gather(compute, steps, tasks))
        samples[f"gather_{us}us_share"].append(100 * tasks * us / 1e6 / (seconds * workers))
        # Four chunks per worker, as multiprocessing.Pool would choose.
        tasks, seconds = enough(plan, 256, lambda tasks: run_map(compute, steps, max(1, tasks // (4 * workers)), tasks))
        samples[f"map_{us}us_share"].append(100 * tasks * us / 1e6 / (seconds * workers))

    pool.shutdown()
    json.dump(samples, sys.stdout)


if __name__ == "__main__":
    main()
