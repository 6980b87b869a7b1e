"""Programs that use pools: their beginnings, their ends, and what is left of them."""

import os
import subprocess
import sys
import textwrap
import time

import pytest
from programs import run_program



def test_a_program_without_a_guard():
    code, out, err = run_program(
        """
        import procpool
        counter = None
        def prepare(n):
            global counter
            counter = n
        def work(x):
            return counter + helper(x)
        def helper(x):
            return 2 * x
        class Point:
            def __init__(self, x): self.x = x
        def move(p): return Point(p.x + 1)
        with procpool.ProcessPoolExecutor(2, initializer=prepare, initargs=(100,)) as pool:
            print(list(pool.map(work, range(4))))
            moved = pool.submit(move, Point(1)).result()
            print(type(moved) is Point, moved.x)
        def helper(x):
            return 3 * x
        with procpool.Pool(2, prepare, (1000,)) as pool:
            print(pool.map(work, range(4)))
            def helper(x):
                return 4 * x
            print(pool.map(work, range(4)))
        """
    )
    assert (code, out, err) == (
        0,
        "[100, 102, 104, 106]\nTrue 2\n[1000, 1003, 1006, 1009]\n[1000, 1004, 1008, 1012]\n",
        "",
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("e.submit(print, 'late', flush=True)", "late\n"),
        ("e.map(print, ['un-iterated'])", "un-iterated\n"),
        ("r = e.map(abs, range(100000)); print(next(r))", "0\n"),
        ("import itertools; r = e.map(abs, itertools.count(), buffersize=5); print(next(r))", "0\n"),
        ("import threading, time; f = e.submit(time.sleep, 0.2); threading.Thread(target=f.result, daemon=True).start(); print(1)", "1\n"),
        ("import threading, time; f = e.submit(time.sleep, 0.2); threading.Thread(target=lambda: print(f.result())).start()", "None\n"),
        ("p = procpool.Pool(1); import time; p.apply_async(time.sleep, (1000,)); print('end')", "end\n"),
        ("p = procpool.Pool(1); r = p.imap(abs, iter(range(10**9))); print(next(r))", "0\n"),
        ("f = e.submit(abs, -3); f.add_done_callback(lambda f: print(f.result()))", "3\n"),
        ("del procpool.ProcessPoolExecutor; print(e.submit(abs, -3).result()); del e", "3\n"),
    ],
)
def test_the_interpreter_ends(text, expected):
    code, out, err = run_program(f"import procpool; e = procpool.ProcessPoolExecutor(1)\n{text}\n")
    assert (code, out, err) == (0, expected, "")


def test_the_first_interrupt_ends_a_program():
    program = """
        import procpool, os, sys, time
        with procpool.ProcessPoolExecutor(2) as pool:
            futures = [pool.submit(time.sleep, 1000) for _ in range(10)]
            while not futures[0].running(): time.sleep(0.001)
            print("ready", flush=True)
            futures[0].result()
    """
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stdout.readline() == "ready\n"
    os.killpg(process.pid, 2)
    out, err = process.communicate(timeout=60)
    assert process.returncode == -2 and out == ""
    assert err.count("Traceback") == 1 and err.strip().endswith("KeyboardInterrupt")


def test_no_worker_outlives_a_killed_program():
    program = """
        import procpool, time
        pool = procpool.ProcessPoolExecutor(2)
        fs = [pool.submit(time.sleep, 1000) for _ in range(2)]
        fork = procpool.ProcessPoolExecutor(1, mp_context="fork")
        fs.append(fork.submit(time.sleep, 1000))
        while not all(f.running() for f in fs): time.sleep(0.001)
        print(*pool.worker_pids(), *fork.worker_pids(), procpool._template.pids()[0], fork._plan.template.pid, flush=True)
        time.sleep(1000)
    """
    process = subprocess.Popen([sys.executable, "-c", textwrap.dedent(program)], stdout=subprocess.PIPE, text=True)
    pids = list(map(int, process.stdout.readline().split()))
    assert len(pids) == 5
    process.kill()
    process.communicate()
    deadline = time.monotonic() + 30
    while any(os.path.exists(f"/proc/{pid}") for pid in pids):
        assert time.monotonic() < deadline, [pid for pid in pids if os.path.exists(f"/proc/{pid}")]
        time.sleep(0.01)


@pytest.mark.parametrize("method", ["fork", "forkserver"])
def test_classes_of_main_are_the_same_on_both_sides(method):
    code, out, err = run_program(
        f"""
        import multiprocessing, procpool
        class Point:
            def __init__(self, x): self.x = x
        class Wrong(Exception): pass
        data = list(range(5))
        def move(p):
            assert isinstance(p, Point)
            return Point(p.x + data[1])
        def fail(p):
            raise Wrong(p.x)
        with procpool.ProcessPoolExecutor(1, mp_context=multiprocessing.get_context({method!r})) as pool:
            moved = pool.submit(move, Point(1)).result()
            print(type(moved) is Point, moved.x)
            moved = list(pool.map(move, [Point(2), Point(3)]))
            print([type(m) is Point for m in moved], [m.x for m in moved])
            print(type(pool.submit(fail, Point(4)).exception()) is Wrong)
            class Later:
                pass
            def late(x): return Later(), isinstance(x, Later)
            back, same = pool.submit(late, Later()).result()
            print(type(back) is Later, same)
        """
    )
    assert (code, out, err) == (0, "True 2\n[True, True] [3, 4]\nTrue\nTrue True\n", "")


@pytest.mark.parametrize("method", ["fork", "forkserver"])
def test_nothing_is_left_of_a_pool(method):
    code, out, err = run_program(
        f"""
        import gc, multiprocessing, os, procpool
        def square(x): return x * x
        def descriptors(): return len(os.listdir("/proc/self/fd"))
        for round in range(4):
            with procpool.ProcessPoolExecutor(2, mp_context=multiprocessing.get_context({method!r})) as pool:
                pool.submit(square, 3).result()
                list(pool.map(square, range(100)))
            with procpool.Pool(2, context=multiprocessing.get_context({method!r})) as other:
                other.map(square, range(100))
            del pool, other
            gc.collect()
            procpool._core.join_lingering()
            if round == 0:
                before = descriptors()
        print(descriptors() - before)
        """
    )
    assert (code, out, err) == (0, "0\n", "")
