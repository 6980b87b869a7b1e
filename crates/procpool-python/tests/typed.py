"""A program that a strict type checker is to find nothing wrong with; `test_types.py` has it looked at and run."""

import multiprocessing

import procpool


def half(x: int) -> float:
    return x / 2


def join(a: str, b: str, *, sep: str = "-") -> str:
    return a + sep + b


def main() -> None:
    with procpool.ProcessPoolExecutor(2, cpu_affinity=None, preload=["json"], worker_env=lambda n: {"N": str(n)}) as pool:
        future: procpool.Future[float] = pool.submit(half, 3)
        number: float = future.result(timeout=60)
        text: str = pool.submit(join, "a", "b", sep="+").result()
        limited: str = pool.options(timeout=60, memory_limit=1 << 32).submit(join, "a", "b").result()
        numbers: list[float] = list(pool.map(half, range(3), buffersize="auto"))
        assert (number, text, limited, numbers) == (1.5, "a+b", "a-b", [0, 0.5, 1])
        for done in procpool.as_completed([pool.submit(half, 1)]):
            assert done.result() == 0.5
        failed = pool.submit(half, "no number").exception()  # type: ignore[arg-type]
        assert type(failed) is TypeError
        assert pool.stats()["workers_died"] == 0
    with procpool.Pool(1, context=multiprocessing.get_context("fork")) as workers:
        halves: list[float] = workers.map(half, [1, 2])
        later: procpool.AsyncResult[str] = workers.apply_async(join, ("a", "b"), {"sep": ""})
        assert (halves, later.get(), sorted(workers.imap_unordered(half, [4, 6]))) == ([0.5, 1], "ab", [2, 3])
    queue: procpool.Queue[int] = procpool.Queue()
    process = procpool.Process(target=queue.put, args=(3,))
    process.start()
    assert queue.get() == 3
    process.join()
    try:
        raise procpool.TaskTimeout("too long")
    except TimeoutError as error:
        assert isinstance(error, procpool.TaskTimeout) and error.pid is None


if __name__ == "__main__":
    main()
