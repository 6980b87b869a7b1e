"""The executor and its futures."""

import functools
import math
import operator
import os
import threading
import time

import pytest
import support

import procpool


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
