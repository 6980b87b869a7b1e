"""How pools and calls can be set up, and what they tell."""

import logging
import os
import sys
import weakref

import pytest
import support

import procpool


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


def test_progress(capsys):
    pytest.importorskip("tqdm", reason="SKIPPED: tqdm is not installed")
    with procpool.ProcessPoolExecutor(1, progress=True) as pool:
        assert list(pool.map(support.square, range(30))) == [n * n for n in range(30)]
        assert list(pool.map(support.square, range(30), chunksize=4)) == [n * n for n in range(30)]
    assert capsys.readouterr().err.count("30/30") == 2


class Told:
    """What an initializer is given."""

    def __reduce__(self):
        return str, ()


def test_an_executor_lets_go_of_what_the_initializer_was_given():
    told = Told()
    gone = weakref.ref(told)
    with procpool.ProcessPoolExecutor(1, initializer=support.set_state, initargs=(told,)) as pool:
        del told
        assert gone() is not None, "the workers have not been started yet"
        assert pool.submit(support.get_state).result() == ""
        assert gone() is None
