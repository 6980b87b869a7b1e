"""How pools and calls can be set up, and what they tell."""

import logging
import multiprocessing
import os
import signal
import sys
import textwrap
import time
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


def test_worker_env_is_there_before_anything_else_and_stays_with_the_seat(tmp_path):
    (tmp_path / "reads_environment.py").write_text(
        textwrap.dedent(
            """
            import os, time

            SEAT = os.environ.get("SEAT")

            def meet(folder):
                open(os.path.join(folder, str(os.getpid())), "w").close()
                while len(os.listdir(folder)) < 2:
                    time.sleep(0.001)
                return SEAT, os.getpid()
            """
        )
    )
    sys.path.insert(0, str(tmp_path))
    try:
        import reads_environment

        def initializer():
            support.set_state(os.environ["SEAT"])

        with procpool.ProcessPoolExecutor(2, worker_env=lambda n: {"SEAT": str(n)}, initializer=initializer) as pool:
            for n in range(4):
                folder = tmp_path / str(n)
                folder.mkdir()
                both = [pool.submit(reads_environment.meet, str(folder)) for _ in range(2)]
                pids = dict(future.result() for future in both)
                assert set(pids) == {"0", "1"}
                assert {pool.submit(support.get_state).result() for _ in range(10)} <= {"0", "1"}
                os.kill(pids["0"], signal.SIGKILL)
                while pids["0"] in pool.worker_pids():
                    time.sleep(0.001)
    finally:
        sys.path.remove(str(tmp_path))


def test_cpu_affinity():
    allowed = os.sched_getaffinity(0)
    one = min(allowed)
    for wish in ([one], [{one}], lambda n: {one}, [sorted(allowed)]):
        with procpool.ProcessPoolExecutor(1, cpu_affinity=wish) as pool:
            got = pool.submit(os.sched_getaffinity, 0).result()
        assert got == (allowed if wish == [sorted(allowed)] else {one})
    for wish in ([], [max(allowed) + 1], [[]]):
        with pytest.raises(ValueError, match="numbers of CPUs that this process may use"):
            procpool.ProcessPoolExecutor(1, cpu_affinity=wish)


def loaded(name):
    return name in sys.modules


def test_preload(tmp_path):
    (tmp_path / "takes_long_to_import.py").write_text("")
    sys.path.insert(0, str(tmp_path))
    try:
        name = "takes_long_to_import"
        with procpool.ProcessPoolExecutor(1) as pool, procpool.ProcessPoolExecutor(1, preload=[name, "is_not_there"]) as ready:
            assert [executor.submit(loaded, name).result() for executor in (pool, ready)] == [False, True]
        with procpool.Pool(1, preload=[name]) as ready:
            assert ready.apply(loaded, (name,))
        multiprocessing.set_forkserver_preload([name])
        with procpool.ProcessPoolExecutor(1) as ready:
            assert ready.submit(loaded, name).result()
    finally:
        multiprocessing.set_forkserver_preload([])
        sys.path.remove(str(tmp_path))
