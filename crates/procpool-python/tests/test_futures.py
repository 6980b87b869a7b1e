"""What becomes of calls: waiting for them, hearing of them, cancelling them, their exceptions."""

import asyncio
import concurrent.futures
import os
import pickle
import threading
import time

import pytest
import support

import procpool


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


def test_remote_traceback(pool):
    error = pool.submit(support.raise_value_error, "deep").exception()
    from concurrent.futures.process import _RemoteTraceback

    assert type(error.__cause__) is _RemoteTraceback
    assert "in raise_value_error" in str(error.__cause__) and "support.py" in str(error.__cause__)


def test_errors_can_be_pickled(pool):
    error = pool.submit(support.die, "exit").exception()
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is procpool.WorkerDied and again.exit_code == 7 and str(again) == str(error)


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


def test_nobody_waits_for_deaths_that_nobody_wants_to_hear_of():
    def collectors():
        return [thread for thread in threading.enumerate() if thread.name == "procpool-collector"]

    for thread in collectors():
        thread.join()
    with procpool.ProcessPoolExecutor(1, on_crash="break") as pool:
        assert pool.submit(support.square, 2).result() == 4
        [thread] = collectors()
    thread.join()
    assert not collectors()


def test_the_thread_that_hears_of_a_death_does_not_have_the_executor():
    with procpool.ProcessPoolExecutor(1, on_crash="break") as pool:
        pool.submit(support.square, 2).result()
        assert not any(getattr(listener, "__self__", None) is pool for listener in procpool._future._listeners.values())
        with pytest.raises(procpool.WorkerDied):
            pool.submit(support.die, "exit").result()
        with pytest.raises(procpool.BrokenProcessPool):
            while True:
                pool.submit(support.square, 2).result()
