"""`Pool` as in multiprocessing, the other names of that module, and unmodified programs."""

import gc
import itertools
import multiprocessing
import os
import subprocess
import sys
import textwrap
import threading
import time
from multiprocessing.pool import RemoteTraceback

import pytest
import support

import procpool


@pytest.fixture
def workers():
    with procpool.Pool(2) as pool:
        yield pool
        pool.close()
        pool.join()


def test_all_methods(workers):
    squares = [n * n for n in range(100)]
    assert workers.apply(support.add, (1, 2), {"c": 3}) == 6
    assert workers.apply_async(support.add, (1,)).get() == 1
    assert workers.map(support.square, range(100)) == squares
    assert workers.map(support.square, range(100), chunksize=7) == squares
    assert workers.map(support.square, (n for n in range(100))) == squares
    assert workers.map(support.square, []) == []
    assert workers.map_async(support.square, range(100)).get() == squares
    assert workers.map_async(support.square, []).get() == []
    assert workers.starmap(support.add, [(1, 2), (3, 4)]) == [3, 7]
    assert workers.starmap(support.add, zip([1, 2], [3, 4])) == [4, 6]
    assert workers.starmap_async(support.add, [(1, 2), (3, 4)]).get() == [3, 7]
    assert list(workers.imap(support.square, range(100))) == squares
    assert list(workers.imap(support.square, iter(range(100)), chunksize=9)) == squares
    assert sorted(workers.imap_unordered(support.square, range(100))) == squares
    assert list(workers.imap(support.square, iter(range(100)), buffersize=3)) == squares


def test_imap_is_lazy_for_iterators(workers):
    endless = workers.imap(support.square, itertools.count())
    assert [next(endless) for _ in range(1000)] == [n * n for n in range(1000)]
    # Or close() would draw it to its end, as the standard library does from the beginning.
    endless._results.close()
    unordered = workers.imap_unordered(support.square, iter(range(50)))
    assert sorted(unordered) == [n * n for n in range(50)]


def test_imap_goes_on_after_an_error_and_ends_with_its_input_s(workers):
    def inputs():
        yield 1
        raise LookupError("no more")

    iterator = workers.imap(support.raise_value_error, ["a", "b"])
    for text in "ab":
        with pytest.raises(ValueError, match=text):
            next(iterator)
    with pytest.raises(StopIteration):
        next(iterator)
    iterator = workers.imap(support.square, inputs())
    assert next(iterator) == 1
    with pytest.raises(LookupError):
        next(iterator)
    with pytest.raises(StopIteration):
        iterator.next(timeout=5)


def test_timeouts(workers, tmp_path):
    path = str(tmp_path / "go")
    result = workers.apply_async(support.wait_for, (path,))
    assert not result.ready()
    with pytest.raises(ValueError, match="not ready"):
        result.successful()
    with pytest.raises(multiprocessing.TimeoutError):
        result.get(timeout=0.01)
    many = workers.map_async(support.wait_for, [path] * 3)
    with pytest.raises(multiprocessing.TimeoutError):
        many.get(timeout=0.01)
    iterator = workers.imap(support.wait_for, [path])
    with pytest.raises(multiprocessing.TimeoutError):
        iterator.next(timeout=0.01)
    (tmp_path / "go").touch()
    assert result.get() == path and result.successful() and result.ready()
    assert many.get() == [path] * 3
    assert next(iterator) == path


def test_callbacks(workers):
    good, bad = [], []
    results = [
        workers.apply_async(support.square, (3,), callback=good.append, error_callback=bad.append),
        workers.map_async(support.square, [1, 2], callback=good.append),
        workers.apply_async(support.raise_value_error, ("x",), callback=good.append, error_callback=bad.append),
        workers.map_async(support.raise_value_error, ["y"], error_callback=bad.append),
    ]
    for result in results:
        result.wait()
    assert sorted(map(str, good)) == ["9", "[1, 4]"]
    assert sorted(map(str, bad)) == ["x", "y"]
    assert not results[2].successful()


def test_errors_have_the_remote_traceback(workers):
    with pytest.raises(ValueError, match="deep") as caught:
        workers.map(support.raise_value_error, ["deep"])
    assert type(caught.value.__cause__) is RemoteTraceback
    assert "in raise_value_error" in str(caught.value.__cause__)


def test_states():
    pool = procpool.Pool(1)
    assert "state=RUN" in repr(pool) and "pool_size=1" in repr(pool)
    with pytest.raises(ValueError, match="still running"):
        pool.join()
    iterator = pool.imap(support.square, iter(range(500)))
    pool.close()
    with pytest.raises(ValueError, match="not running"):
        pool.apply(support.square, (1,))
    pool.join()
    assert list(iterator) == [n * n for n in range(500)]
    with pytest.raises(ValueError, match="at least 1"):
        procpool.Pool(0)
    with pytest.raises(NotImplementedError):
        pool.__reduce__()


def test_terminate_ends_what_runs():
    with procpool.Pool(2) as pool:
        results = [pool.apply_async(support.sleep_forever) for _ in range(4)]
    for result in results:
        with pytest.raises(procpool.BrokenProcessPool):
            result.get()


def test_maxtasksperchild():
    with procpool.Pool(1, maxtasksperchild=2) as pool:
        assert len({pool.apply(support.pid) for _ in range(6)}) == 3


def test_names_of_multiprocessing():
    assert procpool.cpu_count() == os.cpu_count()
    queue = procpool.Queue()
    process = procpool.Process(target=queue.put, args=("from a process",))
    process.start()
    assert queue.get(timeout=60) == "from a process"
    process.join()
    queue.close()
    queue.join_thread()
    assert procpool.get_context("spawn").get_start_method() == "spawn"
    with pytest.raises(AttributeError, match="no_such_name"):
        procpool.no_such_name  # noqa: B018
    with procpool.Manager() as manager:
        shared = manager.list()
        with procpool.Pool(2) as pool:
            pool.starmap(lambda proxy, n: proxy.append(n), [(shared, n) for n in range(5)])
        assert sorted(shared) == [0, 1, 2, 3, 4]


def test_install_and_uninstall():
    import concurrent.futures
    import multiprocessing.pool

    standard = concurrent.futures.ProcessPoolExecutor, multiprocessing.pool.Pool
    procpool.install()
    try:
        procpool.install()
        assert concurrent.futures.ProcessPoolExecutor is procpool.ProcessPoolExecutor
        with multiprocessing.Pool(1) as pool:
            assert type(pool) is procpool.Pool
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            assert type(pool) is procpool.Pool and pool.apply(support.square, (3,)) == 9
    finally:
        procpool.uninstall()
    assert (concurrent.futures.ProcessPoolExecutor, multiprocessing.pool.Pool) == standard


def test_unmodified_programs(tmp_path):
    (tmp_path / "helper.py").write_text("def triple(x):\n    return 3 * x\n")
    program = tmp_path / "program.py"
    program.write_text(
        textwrap.dedent(
            """
            import multiprocessing, sys
            from concurrent.futures import ProcessPoolExecutor
            from helper import triple
            def double(x):
                return 2 * x
            if __name__ == "__main__":
                with ProcessPoolExecutor() as pool:
                    print(type(pool).__module__, list(pool.map(double, range(3))), list(pool.map(triple, range(3))))
                with multiprocessing.Pool(2) as pool:
                    print(pool.map(double, range(3)), sys.argv[1:])
                sys.exit(5)
            """
        )
    )
    ran = subprocess.run([sys.executable, "-m", "procpool", program, "a", "b"], capture_output=True, text=True, timeout=60, check=False)
    assert (ran.returncode, ran.stderr) == (5, "")
    assert ran.stdout == "procpool._executor [0, 2, 4] [0, 3, 6]\n[0, 2, 4] ['a', 'b']\n"
    ran = subprocess.run([sys.executable, "-m", "procpool", "/nowhere.py"], capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 2 and "cannot read the program /nowhere.py" in ran.stderr


def test_threads_may_share_a_pool(workers):
    found = []
    threads = [threading.Thread(target=lambda: found.append(workers.map(support.square, range(300)))) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [[n * n for n in range(300)]] * 6


def test_a_map_with_a_timeout_per_call():
    with procpool.Pool(2, timeout=0.2) as pool:
        with pytest.raises(procpool.TaskTimeout):
            pool.map(time.sleep, [0, 60, 0])
        assert pool.apply(support.square, (3,)) == 9


def send_through(connection, value):
    connection.send(value)
    connection.close()


@pytest.mark.parametrize("method", ["spawn", "forkserver", "fork", None])
def test_queues_and_pipes_in_initargs(method):
    context = multiprocessing.get_context(method)
    queue = context.Queue()
    with procpool.Pool(2, support.set_state, (queue,), context=context if method else None) as pool:
        pool.map(lambda n: support.state.put(n), range(4))
        assert sorted(queue.get(timeout=30) for _ in range(4)) == [0, 1, 2, 3]
    queue.close()
    queue.join_thread()


def test_a_pipe_is_an_argument(workers):
    reader, writer = multiprocessing.Pipe(duplex=False)
    result = workers.apply_async(send_through, (writer, "through a pipe"))
    assert reader.recv() == "through a pipe"
    result.get()
    reader.close()
    writer.close()


def test_a_chunk_whose_inputs_raise_is_not_begun():
    def inputs():
        yield from range(5)
        raise LookupError("no more")

    def draw(results):
        while True:
            try:
                yield next(results)
            except LookupError as error:
                yield str(error)
            except StopIteration:
                return

    with procpool.Pool(1) as pool:
        assert list(draw(pool.imap(support.square, inputs(), chunksize=2))) == [0, 1, 4, 9, "no more"]
        # Here the exception need not be the last.
        unordered = list(draw(pool.imap_unordered(support.square, inputs(), chunksize=2)))
        assert sorted(map(str, unordered)) == ["0", "1", "4", "9", "no more"]


def test_a_pool_that_is_forgotten_while_it_runs_warns():
    pool = procpool.Pool(1)
    assert pool.apply(support.square, (3,)) == 9
    with pytest.warns(ResourceWarning, match="unclosed running multiprocessing pool"):
        del pool
        gc.collect()
