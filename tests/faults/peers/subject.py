"""Does one fault to one pool of Python and tells in one line of JSON what became of it: `subject.py POOL FAULT`.

The program src/bin/peer.rs does the same to procpool; names, numbers and lengths are the same in both.
"""

import json
import os
import random
import resource
import signal
import sys
import tempfile
import threading
import time

import processes
import tasks
from pools import POOLS

# What has not ended this long after the last that did never will.
PATIENCE = 8
TICK = 0.01
TIMEOUT = 1


def within_patience(function):
    """What the function returns or raises, or None if it takes too long."""
    outcome = []

    def call():
        try:
            outcome.append((function(), None))
        except BaseException as error:
            outcome.append((None, error))

    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    thread.join(PATIENCE)
    return outcome[0] if outcome else None


def settle(pool, handles, meanwhile):
    """Waits until all have ended, or none has for a long time."""
    ended, last = 0, time.monotonic()
    while ended < len(handles) and time.monotonic() - last < PATIENCE:
        time.sleep(TICK)
        meanwhile(ended)
        now = sum(pool.done(handle) for handle in handles)
        if now > ended:
            ended, last = now, time.monotonic()


def run(pool, calls, meanwhile=lambda ended: None):
    """Runs tasks to their end and tells how many ended how, and whether the pool is good for more."""
    handles, errors = [], []
    for call in calls:
        try:
            handles.append(pool.submit(*call))
        except Exception as error:
            errors.append(error)
    settle(pool, handles, meanwhile)
    ended = [handle for handle in handles if pool.done(handle)]
    lost = len(handles) - len(ended)
    outcomes = [pool.error(handle) for handle in ended]
    errors += [error for error in outcomes if error is not None]
    return {
        "tasks": len(calls),
        "ok": outcomes.count(None),
        "failed": len(errors),
        "lost": lost,
        "error": type(errors[0]).__name__ if errors else None,
        "message": str(errors[0]) if errors else None,
        "pool": probe(pool),
        "ends": within_patience(pool.end) is not None,
    }


def probe(pool):
    """Whether the pool runs one more task."""

    def one_more():
        handle = pool.submit(tasks.double, 21)
        while not pool.done(handle):
            time.sleep(TICK)
        return pool.error(handle)

    match within_patience(one_more):
        case None:
            return "hangs"
        case (None, None):
            return "alive"
        case _:
            return "dead"


def storm(make, fault, notes):
    pool = make(2)
    assert probe(pool) == "alive"
    killed = set()
    last = (0, time.monotonic())

    def kill(ended):
        """Kills as long as tasks end: whoever only waits for what is lost is spared."""
        nonlocal last
        if time.monotonic() - last[1] < 0.1 or ended == last[0]:
            return
        last = (ended, time.monotonic())
        if pids := processes.workers_of(os.getpid()):
            pid = random.choice(pids)
            try:
                os.kill(pid, signal.SIGKILL)
                killed.add(pid)
            except ProcessLookupError:
                pass

    facts = run(pool, [(tasks.nap, 1 + 37 * number % 50, number) for number in range(200)], kill)
    return facts | {"kills": len(killed)}


def one_of_eight(make, fault, notes):
    pool = make(2)
    return run(pool, [(tasks.meet, fault, number) for number in range(8)])


def with_timeout(make, fault, notes):
    pool = make(2, timeout=TIMEOUT)
    facts = run(pool, [(tasks.meet, fault, number) for number in range(8)])
    return facts | {"has_timeout": pool.has_timeout}


def initializer(make, fault, notes):
    pool = make(2, initializer=tasks.refuse, initargs=(notes,))
    facts = run(pool, [(tasks.double, number) for number in range(8)])
    return facts | {"starts": len(tasks.noted(notes, "start"))}


def to_be_killed(make, fault, notes):
    """Prints which processes there are and waits for the end."""
    pool = make(2)
    if fault == "parent-idle":
        handles = [pool.submit(tasks.nap, 50, number) for number in range(8)]
        settle(pool, handles, lambda ended: None)
    else:
        handles = [pool.submit(tasks.stay, notes, fault) for _ in range(2)]
        while len(tasks.noted(notes, "worker")) < 2:
            time.sleep(TICK)
    facts = {"workers": processes.workers_of(os.getpid()), "grandchildren": tasks.noted(notes, "grandchild")}
    os.unlink(notes)
    print(json.dumps(facts), flush=True)
    while True:
        signal.pause()


def grandchild(make, fault, notes):
    pool = make(2)
    handle = pool.submit(tasks.start_a_program, notes)
    settle(pool, [handle], lambda ended: None)
    pids = tasks.noted(notes, "grandchild")
    ends = within_patience(pool.shutdown) is not None
    time.sleep(1)
    return {"grandchildren": pids, "left": sum(map(processes.lives, pids)), "ends": ends}


def descriptors(make, fault, notes):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))
    try:
        pool = make(40)
        facts = run(pool, [(tasks.nap, 5, number) for number in range(200)])
    except OSError as error:
        facts = {"refused": type(error).__name__, "message": str(error)}
    time.sleep(1)
    # The count itself needs descriptors, and the pool may have taken them all.
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return facts | {"children_left": len(processes.workers_of(os.getpid()))}


def cancel(make, fault, notes):
    pool = make(2)
    if pool.cancel is None:
        return {"cancelled": None}
    handle = pool.submit(tasks.take_three_seconds, notes)
    while not tasks.noted(notes, "begin"):
        time.sleep(TICK)
    cancelled = pool.cancel(handle)
    time.sleep(5)
    ran_on = len(tasks.noted(notes, "end")) == 1
    facts = {"cancelled": cancelled, "ran_on": ran_on, "pool": probe(pool)}
    return facts | {"ends": within_patience(pool.end) is not None}


def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


def memory(make, fault, notes):
    pool = make(2)
    assert probe(pool) == "alive"
    before = most = resident()
    outputs = pool.map(tasks.grow, range(1_000_000))
    for _ in range(1000):
        next(outputs)
    read = 1000
    # Until nothing has grown for two seconds.
    grew = time.monotonic()
    while time.monotonic() - grew < 2:
        time.sleep(TICK)
        if resident() > most + (1 << 20):
            most, grew = resident(), time.monotonic()
    for _ in outputs:
        read += 1
        if read % 10_000 == 0:
            most = max(most, resident())
    return {"read": read, "grown": most - before}


FAULTS = {
    "storm": storm,
    "killed": one_of_eight,
    "exits": one_of_eight,
    "two-arguments": one_of_eight,
    "unpicklable": one_of_eight,
    "initializer": initializer,
    "stopped": with_timeout,
    "endless": with_timeout,
    "ignores-sigterm": with_timeout,
    "parent-busy": to_be_killed,
    "parent-idle": to_be_killed,
    "parent-grandchildren": to_be_killed,
    "grandchild": grandchild,
    "descriptors": descriptors,
    "cancel": cancel,
    "memory": memory,
}


def main():
    pool, fault = sys.argv[1:]
    file, notes = tempfile.mkstemp(prefix="procpool-faults-")
    os.close(file)
    facts = FAULTS[fault](POOLS[pool], fault, notes)
    os.unlink(notes)
    print(json.dumps(facts), flush=True)
    # Whatever hangs does not hang this program.
    os._exit(0)


if __name__ == "__main__":
    main()
