"""The executor and its futures."""

import asyncio
import concurrent.futures
import functools
import logging
import math
import operator
import os
import pickle
import subprocess
import sys
import textwrap
import threading
import time

import pytest
import support

import procpool


def run_program(text, *arguments, timeout=60, **more):
    program = subprocess.run(
        [sys.executable, *arguments, "-c", textwrap.dedent(text)], capture_output=True, text=True, timeout=timeout, check=False, **more
    )
    return program.returncode, program.stdout, program.stderr


def test_calls(pool):
    assert pool.submit(support.add, 1, b=2, c=3).result() == 6
    assert pool.submit(math.factorial, 20).result() == math.factorial(20)
    assert pool.submit(functools.partial(support.add, 1), 2).result() == 3
    assert pool.submit("a{}".format, 1).result() == "a1"
    assert pool.submit(complex, 1, 2).result() == 1 + 2j
    assert pool.submit(operator.itemgetter(1), [1, 2]).result() == 2
    assert pool.submit(lambda x: x + 1, 1).result() == 2


@pytest.mark.parametrize(
    "value",
    [
        None, True, False, 0, -1, 127, -129, 2**31, -(2**63), 2**63, 2**200, 1.5, float("inf"), "", "häß\U0001f600", "\ud800",
        b"", b"\0x", (), (1, (2, (3, (4, (5,))))), [1, [2]], {"a": 1, 2: [3]}, {1, 2}, frozenset([1]), 1j, range(3),
        bytearray(b"x"), "x" * 100_000, b"y" * 1_000_000, list(range(10_000)), {"k": {"l": {"m": 1}}}, [()], ([], {}),
    ],
)  # fmt: skip
def test_values_come_back_as_they_were(pool, value):
    back = pool.submit(support.identity, value).result()
    assert back == value and type(back) is type(value)


def test_types_are_exact_and_identity_is_kept(pool):
    class Sub(int):
        pass

    assert pool.submit(lambda x: type(x).__name__, Sub(3)).result() == "Sub"
    assert type(pool.submit(support.identity, True).result()) is bool
    shared = [1]
    assert pool.submit(lambda a, b: a is b, shared, shared).result()
    back = pool.submit(support.identity, (shared, shared)).result()
    assert back[0] is back[1]


def test_functions_of_all_kinds_by_value(pool):
    factor = 3

    def local(x):
        return x * factor

    class Local:
        def __init__(self, x):
            self.x = x

        def __eq__(self, other):
            return type(self) is type(other) and self.x == other.x

        def method(self):
            return Local(self.x + 1)

    for _ in range(3):
        assert pool.submit(local, 2).result() == 6
    factor = 4
    assert pool.submit(local, 2).result() == 8
    assert pool.submit(Local(1).method).result() == Local(2)
    assert list(pool.map(local, [1, 2])) == [4, 8]


def test_map(pool):
    assert list(pool.map(support.square, range(1000))) == [n * n for n in range(1000)]
    assert list(pool.map(support.add, [1, 2, 3], [10, 20])) == [11, 22]
    assert list(pool.map(support.square, range(1000), chunksize=7)) == [n * n for n in range(1000)]
    assert list(pool.map(support.square, [])) == []
    results = pool.map(support.die, ["error", "error"])
    with pytest.raises(ArithmeticError):
        next(results)
    assert list(results) == []
    with pytest.raises(ValueError, match="chunksize"):
        pool.map(support.square, [1], chunksize=0)


def test_map_draws_all_inputs_at_once_or_as_many_as_asked_for(pool):
    drawn = []

    def inputs():
        for n in range(2000):
            drawn.append(n)
            yield n

    results = pool.map(support.square, inputs())
    assert len(drawn) == 2000
    assert list(results) == [n * n for n in range(2000)]
    drawn.clear()
    results = pool.map(support.square, inputs(), buffersize=5)
    assert len(drawn) <= 5
    assert next(results) == 0
    assert len(drawn) <= 6
    results.close()
    assert list(pool.map(support.square, inputs(), buffersize="auto")) == [n * n for n in range(2000)]
    endless = pool.map(support.square, iter(int, 1), buffersize=3)
    assert [next(endless) for _ in range(10)] == [0] * 10


def test_map_raises_what_its_inputs_raise_and_what_cannot_be_pickled(pool):
    def inputs():
        yield 1
        raise LookupError("no more")

    with pytest.raises(LookupError):
        pool.map(support.square, inputs())
    with pytest.raises(TypeError, match="lock"):
        list(pool.map(support.square, [threading.Lock()]))
    with pytest.raises(TypeError, match="lock"):
        pool.submit(support.square, threading.Lock()).result()
    assert pool.submit(support.square, 2).result() == 4


def test_a_map_that_nobody_reads_is_done_all_the_same(pool, tmp_path):
    def touch(name):
        (tmp_path / name).touch()

    pool.map(touch, ["a", "b", "c"])
    pool.shutdown()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "b", "c"]


def test_map_timeout(pool):
    results = pool.map(support.wait_for, ["/nowhere"], timeout=0.05)
    with pytest.raises(TimeoutError):
        next(results)
    pool.kill_workers()


def test_futures_are_futures(pool):
    future = pool.submit(support.square, 3)
    assert isinstance(future, concurrent.futures.Future) and isinstance(future, procpool.Future)
    assert future.result() == 9 and future.exception() is None and future.done() and not future.running()
    assert not future.cancel() and not future.cancelled()
    failed = pool.submit(support.raise_value_error, "x")
    with pytest.raises(ValueError, match="x"):
        failed.result()
    assert failed.exception() is failed.exception()
    assert "finished" in repr(future) and "ValueError" in repr(failed)


def test_wait_and_as_completed(pool, tmp_path):
    slow = pool.submit(support.wait_for, str(tmp_path / "go"))
    quick = [pool.submit(support.square, n) for n in range(10)]
    done, pending = concurrent.futures.wait([slow, *quick], return_when=concurrent.futures.FIRST_COMPLETED)
    assert slow in pending and done
    bad = pool.submit(support.raise_value_error, "x")
    done, pending = concurrent.futures.wait([slow, bad], return_when=concurrent.futures.FIRST_EXCEPTION)
    assert bad in done and slow in pending
    assert {f.result() for f in concurrent.futures.as_completed(quick)} == {n * n for n in range(10)}
    with pytest.raises(TimeoutError):
        slow.result(timeout=0.01)
    with pytest.raises(TimeoutError):
        list(concurrent.futures.as_completed([slow], timeout=0.01))
    (tmp_path / "go").touch()
    assert concurrent.futures.wait([slow]).done == {slow}


def test_callbacks(pool, tmp_path):
    heard = []
    event = threading.Event()
    slow = pool.submit(support.wait_for, str(tmp_path / "go"))
    slow.add_done_callback(heard.append)
    slow.add_done_callback(lambda f: 1 / 0)
    # A callback may submit, and wait for what it has submitted.
    slow.add_done_callback(lambda f: (heard.append(pool.submit(support.square, 5).result()), event.set()))
    (tmp_path / "go").touch()
    assert event.wait(60)
    assert heard == [slow, 25]
    slow.add_done_callback(lambda f: heard.append("at once"))
    assert heard[-1] == "at once"


def test_asyncio(pool):
    async def main():
        loop = asyncio.get_running_loop()
        results = await asyncio.gather(*(loop.run_in_executor(pool, support.square, n) for n in range(50)))
        with pytest.raises(ValueError, match="x"):
            await loop.run_in_executor(pool, support.raise_value_error, "x")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(loop.run_in_executor(pool, support.sleep_forever), 0.05)
        return results

    assert asyncio.run(main()) == [n * n for n in range(50)]


def test_cancel_ends_what_runs_and_what_waits():
    with procpool.ProcessPoolExecutor(1) as pool:
        first = pool.submit(support.sleep_forever)
        waiting = [pool.submit(support.square, n) for n in range(3)]
        while not first.running():
            time.sleep(0.001)
        heard = []
        first.add_done_callback(heard.append)
        assert waiting[1].cancel() and waiting[1].cancelled()
        assert first.cancel() and first.cancelled() and first.done() and first.cancel()
        assert heard == [first]
        for future in (first, waiting[1]):
            with pytest.raises(concurrent.futures.CancelledError):
                future.result()
        assert [waiting[0].result(), waiting[2].result()] == [0, 4]


def test_limits():
    with procpool.ProcessPoolExecutor(1) as pool:
        error = pool.options(timeout=0.05).submit(support.sleep_forever).exception()
        assert type(error) is procpool.TaskTimeout and isinstance(error, TimeoutError)
        error = pool.options(memory_limit=300 << 20).submit(lambda: len(bytearray(2 << 30))).exception()
        assert type(error) in (procpool.TaskMemoryError, MemoryError)
        assert pool.submit(support.square, 3).result() == 9
        with pytest.raises(TypeError, match="tmeout"):
            pool.options(tmeout=3)


def test_retries(tmp_path):
    def die_at_first(path):
        if not os.path.exists(path):
            open(path, "w").close()
            os._exit(1)
        return "second"

    with procpool.ProcessPoolExecutor(1) as pool:
        assert pool.options(retries=1).submit(die_at_first, str(tmp_path / "tried")).result() == "second"
        assert pool.stats()["retries"] == 1


def test_initializer_and_its_globals():
    with procpool.ProcessPoolExecutor(2, initializer=support.set_state, initargs=("ready",)) as pool:
        assert pool.submit(support.get_state).result() == "ready"
    with pytest.raises(TypeError):
        procpool.ProcessPoolExecutor(initializer=3)


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_start_methods(method):
    import multiprocessing

    context = multiprocessing.get_context(method)
    support.state = "inherited"
    with procpool.ProcessPoolExecutor(2, mp_context=context) as pool:
        assert pool.submit(support.get_state).result() == ("inherited" if method == "fork" else None)
        assert pool.submit(support.square, 2).result() == 4
    support.state = None


def test_locks_and_queues_go_to_workers_by_the_initializer():
    import multiprocessing

    queue = multiprocessing.Queue()
    with procpool.Pool(2, initializer=support.set_state, initargs=(queue,)) as pool:
        pool.map(lambda n: support.state.put(n), range(4))
        assert sorted(queue.get(timeout=30) for _ in range(4)) == [0, 1, 2, 3]
    queue.close()
    queue.join_thread()


def test_max_tasks_per_child():
    with procpool.ProcessPoolExecutor(1, max_tasks_per_child=3) as pool:
        pids = [pool.submit(support.pid).result() for _ in range(9)]
    assert len(set(pids)) == 3
    for wrong in (0, -1):
        with pytest.raises(ValueError, match="max_tasks"):
            procpool.ProcessPoolExecutor(max_tasks_per_child=wrong)


def test_after_shutdown(pool):
    future = pool.submit(support.square, 3)
    pool.shutdown()
    assert future.result() == 9
    with pytest.raises(RuntimeError, match="after shutdown"):
        pool.submit(support.square, 3)
    with pytest.raises(RuntimeError, match="after shutdown"):
        pool.map(support.square, [3])
    pool.shutdown()


def test_shutdown_cancels_on_request():
    with procpool.ProcessPoolExecutor(1) as pool:
        first = pool.submit(time.sleep, 0.05)
        while not first.running():
            time.sleep(0.001)
        others = [pool.submit(time.sleep, 60) for _ in range(10)]
        pool.shutdown(cancel_futures=True)
        assert first.result() is None
        assert all(f.cancelled() for f in others[2:])


def test_shutdown_without_waiting_finishes_what_was_accepted():
    pool = procpool.ProcessPoolExecutor(1)
    futures = [pool.submit(support.square, n) for n in range(50)]
    pool.shutdown(wait=False)
    assert [f.result() for f in futures] == [n * n for n in range(50)]


def test_a_pool_that_is_forgotten_finishes_what_was_accepted(tmp_path):
    def touch(name):
        (tmp_path / name).touch()

    for n in range(20):
        procpool.ProcessPoolExecutor(1).submit(touch, str(n)) if n % 5 == 0 else None
    procpool._core.join_lingering()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["0", "10", "15", "5"]


@pytest.mark.parametrize("end", ["kill_workers", "terminate_workers"])
def test_ending_the_workers(end):
    pool = procpool.ProcessPoolExecutor(2)
    futures = [pool.submit(support.sleep_forever) for _ in range(5)]
    getattr(pool, end)()
    assert all(isinstance(f.exception(), procpool.BrokenProcessPool) for f in futures)
    with pytest.raises(RuntimeError):
        pool.submit(support.square, 1)


def test_many_threads(pool):
    found = []

    def work(base):
        futures = [pool.submit(support.square, n) for n in range(base, base + 200)]
        found.extend(f.result() for f in futures)

    threads = [threading.Thread(target=work, args=(200 * k,)) for k in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == [n * n for n in range(1600)]


def test_several_threads_wait_for_one_future(pool, tmp_path):
    future = pool.submit(support.wait_for, str(tmp_path / "go"))
    found = []
    threads = [threading.Thread(target=lambda: found.append(future.result())) for _ in range(4)]
    for thread in threads:
        thread.start()
    (tmp_path / "go").touch()
    for thread in threads:
        thread.join()
    assert found == [str(tmp_path / "go")] * 4


def test_nested_pools(pool):
    assert list(pool.map(support.nested, [2, 3])) == [4, 9]


def test_a_fork_says_that_the_pool_is_not_its_own(pool):
    assert pool.submit(support.square, 2).result() == 4
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            try:
                pool.submit(support.square, 2)
            except RuntimeError as error:
                os.write(writer, str(error).encode())
            with procpool.ProcessPoolExecutor(1) as own:
                os.write(writer, str(own.submit(support.square, 5).result()).encode())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        said = pipe.read().decode()
    os.waitpid(child, 0)
    assert "forked from" in said and said.endswith("25")
    assert pool.submit(support.square, 3).result() == 9


def test_resize_and_stats(pool):
    pool.resize(1)
    assert [pool.submit(support.square, n).result() for n in range(3)] == [0, 1, 4]
    stats = pool.stats()
    assert stats["tasks_ok"] == 3 and stats["tasks_failed"] == 0
    assert pool.worker_pids()


def test_what_workers_print(capfd):
    lines = []
    with procpool.ProcessPoolExecutor(1, output=lambda pid, error, text: lines.append((error, text))) as pool:
        pool.submit(print, "hello").result()
        pool.submit(lambda: sys.stderr.write("oh\n")).result()
    assert sorted(lines) == [(False, "hello"), (True, "oh")]


def test_logging(caplog):
    def work():
        logging.getLogger("some.name").warning("number %d", 7)

    with caplog.at_level(logging.INFO), procpool.ProcessPoolExecutor(1, logging=True) as pool:
        pool.submit(work).result()
        pool.shutdown()
    assert [(r.name, r.levelname, r.getMessage()) for r in caplog.records] == [("some.name", "WARNING", "number 7")]


def test_worker_env():
    with procpool.ProcessPoolExecutor(1, worker_env=lambda n: {"NUMBER": str(n)}) as pool:
        assert pool.submit(os.getenv, "NUMBER").result() == "0"
        pool.submit(support.die, "exit").exception()
        assert pool.submit(os.getenv, "NUMBER").result() == "0"


def test_processes_know_who_they_are(pool):
    import multiprocessing

    name, parent = pool.submit(lambda: (multiprocessing.current_process().name, multiprocessing.parent_process().pid)).result()
    assert name.startswith("ProcpoolProcess-") and parent == os.getpid()


def test_remote_traceback(pool):
    error = pool.submit(support.raise_value_error, "deep").exception()
    from concurrent.futures.process import _RemoteTraceback

    assert type(error.__cause__) is _RemoteTraceback
    assert "in raise_value_error" in str(error.__cause__) and "support.py" in str(error.__cause__)


def test_errors_can_be_pickled(pool):
    error = pool.submit(support.die, "exit").exception()
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is procpool.WorkerDied and again.exit_code == 7 and str(again) == str(error)


# Whole programs.


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
        print(*pool.worker_pids(), *fork.worker_pids(), procpool._context._clean[0].pid, fork._plan.template.pid, flush=True)
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


def test_chunks_are_one_call(pool):
    assert list(pool.map(support.identity, range(100), chunksize=8)) == list(range(100))
    assert list(pool.map(support.add, range(100), range(100), chunksize=1000)) == [2 * n for n in range(100)]
    # What the codec does not know.
    values = [{n} for n in range(50)] + [[n, [n]] for n in range(50)]
    assert list(pool.map(support.identity, values, chunksize=7)) == values
    assert list(pool.map(lambda a, b: a | b, [{1}] * 5, [{2}] * 5, chunksize=2)) == [{1, 2}] * 5
    results = pool.map(support.raise_value_error, "abcd", chunksize=2)
    with pytest.raises(ValueError, match="a"):
        next(results)
    with pytest.raises(TypeError, match="lock"):
        list(pool.map(support.identity, [1, threading.Lock(), 2], chunksize=2))
    assert list(pool.map(support.identity, iter(range(100)), chunksize=7, buffersize=20)) == list(range(100))
    with procpool.Pool(2) as workers:
        assert list(workers.imap(support.square, iter(range(100)), chunksize=9)) == [n * n for n in range(100)]
        assert sorted(workers.imap_unordered(support.square, range(100), chunksize=9)) == [n * n for n in range(100)]
        assert workers.starmap(support.add, [(n, n) for n in range(100)], chunksize=30) == [2 * n for n in range(100)]


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


def test_progress(capsys):
    pytest.importorskip("tqdm", reason="SKIPPED: tqdm is not installed")
    with procpool.ProcessPoolExecutor(1, progress=True) as pool:
        assert list(pool.map(support.square, range(30))) == [n * n for n in range(30)]
        assert list(pool.map(support.square, range(30), chunksize=4)) == [n * n for n in range(30)]
    assert capsys.readouterr().err.count("30/30") == 2


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


def test_a_call_that_runs_says_so_wherever_it_is(pool, tmp_path):
    # Short ones first, so that those that are submitted next travel together, and are parted when a worker has nothing to do.
    list(pool.map(support.square, range(2000)))
    for _ in range(5):
        path = str(tmp_path / "go")
        futures = [pool.submit(support.wait_for, path) for _ in range(8)]
        while sum(f.running() for f in futures) < 2:
            time.sleep(0.001)
        open(path, "w").close()
        assert [f.result() for f in futures] == [path] * 8
        os.remove(path)
