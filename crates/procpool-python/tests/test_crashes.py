"""The crash matrix: every way to fail at every moment. Exactly one call fails, in exactly one way; the pool goes on."""

import os
import signal

import pytest
import support
from support import At, give_back

import procpool

MOMENTS = ["pickling the task", "unpickling the task", "running", "pickling the result", "unpickling the result", "garbage collection"]
DEATHS = {"exit": (None, 7), "kill": (signal.SIGKILL, None), "segfault": (signal.SIGSEGV, None)}


@pytest.mark.parametrize("moment", ["unpickling the task", "running", "pickling the result", "garbage collection"])
@pytest.mark.parametrize("how", DEATHS)
def test_a_death_costs_the_call_that_ran(pool, moment, how):
    others = [pool.submit(support.square, n) for n in range(20)]
    call = support.drop if moment == "garbage collection" else give_back
    doomed = pool.submit(call, At(moment, how, os.getpid()))
    more = [pool.submit(support.square, n) for n in range(20)]
    error = doomed.exception()
    assert type(error) is procpool.WorkerDied
    assert (error.signal, error.exit_code) == DEATHS[how]
    assert isinstance(error, procpool.BrokenProcessPool)
    assert [f.result() for f in others + more] == [n * n for n in range(20)] * 2
    assert pool.submit(support.square, 9).result() == 81


@pytest.mark.parametrize("moment", MOMENTS)
def test_an_error_fails_that_call_only(pool, moment):
    others = [pool.submit(support.square, n) for n in range(20)]
    call = support.drop if moment == "garbage collection" else give_back
    failed = pool.submit(call, At(moment, "error", os.getpid()))
    if moment == "garbage collection":
        # Python itself ignores what __del__ raises.
        assert failed.result() == "dropped"
    else:
        error = failed.exception()
        assert type(error) is ArithmeticError and str(error) == "an error"
    assert [f.result() for f in others] == [n * n for n in range(20)]
    assert pool.submit(support.square, 9).result() == 81
    assert pool.stats()["workers_died"] == 0


@pytest.mark.parametrize("how", [*DEATHS, "error"])
def test_an_initializer_that_fails_fails_the_calls_and_says_why(how):
    with procpool.ProcessPoolExecutor(1, initializer=support.die, initargs=(how,)) as pool:
        error = pool.submit(support.square, 1).exception()
        assert type(error) is procpool.WorkerStartError
        if how == "error":
            assert "ArithmeticError: an error" in str(error)
        else:
            assert {"exit": "code 7", "kill": "SIGKILL", "segfault": "SIGSEGV"}[how] in str(error)


@pytest.mark.parametrize("how", DEATHS)
def test_a_pool_of_multiprocessing_s_kind_goes_on_too(how):
    with procpool.Pool(2) as pool:
        result = pool.apply_async(support.die, (how,))
        assert pool.map(support.square, range(50)) == [n * n for n in range(50)]
        with pytest.raises(procpool.WorkerDied):
            result.get()
        with pytest.raises(procpool.WorkerDied):
            pool.map(support.die, ["exit"])
        assert pool.apply(support.square, (4,)) == 16
        pool.close()
        pool.join()


@pytest.mark.parametrize(
    ("kind", "args", "found", "text"),
    [
        (support.TwoArguments, (1, 2), procpool.RemoteError, "support.TwoArguments: 1 and 2"),
        (support.RaisingReduce, (1,), procpool.RemoteError, "support.RaisingReduce: 1"),
        (support.RaisingSetState, (), procpool.RemoteError, "support.RaisingSetState: "),
        (support.RaisingRepr, (), support.RaisingRepr, None),
        (SystemExit, (3,), SystemExit, "3"),
        (KeyboardInterrupt, (), KeyboardInterrupt, ""),
        (GeneratorExit, (), GeneratorExit, ""),
    ],
)
def test_exceptions_that_do_not_travel(pool, kind, args, found, text):
    future = pool.submit(support.raise_it, kind, *args)
    error = future.exception()
    assert type(error) is found
    if text is not None:
        assert str(error).startswith(text)
    assert "raise_it" in str(error.__cause__)
    assert pool.submit(support.square, 3).result() == 9
    assert pool.stats()["workers_died"] == 0


def test_results_that_do_not_travel(pool):
    assert type(pool.submit(support.generator).exception()) is TypeError
    assert "generator" in str(pool.submit(support.generator).exception())
    with procpool.Pool(1) as mp_pool:
        from multiprocessing.pool import MaybeEncodingError

        with pytest.raises(MaybeEncodingError, match="generator"):
            mp_pool.apply(support.generator)
        with pytest.raises(MaybeEncodingError, match="generator"):
            mp_pool.map(lambda _: support.generator(), [1])
        assert mp_pool.apply(support.square, (3,)) == 9


def test_two_hundred_calls_while_workers_are_killed(pool):
    futures = [pool.submit(support.die, "kill" if n % 10 == 0 else "error") for n in range(200)]
    kinds = [type(f.exception()) for f in futures]
    assert kinds == [procpool.WorkerDied if n % 10 == 0 else ArithmeticError for n in range(200)]


def test_a_map_loses_what_died_and_nothing_else():
    with procpool.Pool(2) as pool:
        outcomes = []
        iterator = pool.imap(support.die, ["error", "exit", "error", "kill", "error"])
        while True:
            try:
                iterator.next()
            except StopIteration:
                break
            except (ArithmeticError, procpool.WorkerDied) as error:
                outcomes.append(type(error))
    assert outcomes == [ArithmeticError, procpool.WorkerDied] * 2 + [ArithmeticError]


def test_the_standard_library_s_rule_on_request():
    with procpool.ProcessPoolExecutor(2, on_crash="break") as pool:
        assert pool.submit(support.square, 3).result() == 9
        pending = [pool.submit(support.sleep_forever) for _ in range(4)]
        doomed = pool.submit(support.die, "kill")
        os.kill(pool.worker_pids()[0], signal.SIGKILL)
        for future in [*pending, doomed]:
            assert isinstance(future.exception(), procpool.BrokenProcessPool)
        with pytest.raises(procpool.BrokenProcessPool):
            pool.submit(support.square, 3)


def test_an_idle_worker_s_death_breaks_the_pool_on_request():
    with procpool.ProcessPoolExecutor(1, on_crash="break") as pool:
        victim = pool.submit(support.pid).result()
        os.kill(victim, signal.SIGKILL)
        while True:
            try:
                pool.submit(support.square, 3).result()
            except procpool.BrokenProcessPool:
                break
