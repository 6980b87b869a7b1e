"""Large values: buffers travel beside the pickle, and nothing is left of them."""

import os

import pytest
import support

import procpool

numpy = pytest.importorskip("numpy", reason="SKIPPED: NumPy is not installed")


def test_arrays_come_back_writable_and_whole(pool):
    array = numpy.arange(1_000_000, dtype="float64").reshape(1000, 1000)
    back = pool.submit(support.identity, array).result()
    assert (back == array).all() and back.flags.writeable
    back[0, 0] = 7
    assert array[0, 0] == 0


def test_arrays_in_the_worker_are_the_call_s_own(pool):
    def change(a):
        a += 1
        return float(a.sum()), a.flags.writeable

    array = numpy.zeros(100_000)
    for _ in range(5):
        assert pool.submit(change, array).result() == (100_000.0, True)
    assert array.sum() == 0


def test_a_worker_may_keep_what_it_was_given(pool):
    pool.resize(1)
    for n in range(3):
        pool.submit(support.set_state, numpy.full(100_000, n)).result()
        pool.submit(support.identity, numpy.full(100_000, 9)).result()
        assert pool.submit(support.get_state).result()[0] == n


STRANGE = [
    numpy.arange(60_000)[::3],
    numpy.asfortranarray(numpy.ones((200, 300))),
    numpy.array(["x", None], dtype=object),
]


@pytest.mark.parametrize("array", STRANGE)
def test_arrays_of_other_kinds(pool, array):
    back = pool.submit(support.identity, array).result()
    assert (back == array).all() and back.dtype == array.dtype


def test_maps_of_arrays(pool):
    arrays = [numpy.full(50_000, n) for n in range(30)]
    assert [a[0] for a in pool.map(support.identity, arrays)] == list(range(30))


def test_many_large_values_in_bounded_memory(pool):
    for _ in range(60):
        assert len(pool.submit(support.identity, bytes(8 << 20)).result()) == 8 << 20


def test_shared_arrays(pool):
    def fill(a, n):
        a[n] = n + 1

    shared = procpool.shared_array((8,), "int64")
    for future in [pool.submit(fill, shared, n) for n in range(8)]:
        future.result()
    assert shared.tolist() == [1, 2, 3, 4, 5, 6, 7, 8]
    view = shared[2:4]
    assert pool.submit(lambda v: v.tolist(), view).result() == [3, 4]


def frozen(n):
    array = numpy.full(100_000, n, dtype="float64")
    array.flags.writeable = False
    return array


def where(array):
    """What memory an array lies in, whether it may be written to, and its sum."""
    address = array.ctypes.data
    with open("/proc/self/maps") as maps:
        for line in maps:
            start, end = (int(part, 16) for part in line.split()[0].split("-"))
            if start <= address < end:
                return line.split(maxsplit=5)[5].strip() if len(line.split()) > 5 else "", array.flags.writeable, float(array.sum())


def test_arrays_that_are_read_only_are_read_in_their_place(pool):
    for n in range(3):
        place, writeable, total = pool.submit(where, frozen(n)).result()
        assert place.startswith("/memfd:procpool-inputs") and not writeable and total == 100_000 * n
    place, writeable, total = pool.submit(where, numpy.full(100_000, 2.0)).result()
    assert "procpool" not in place and writeable and total == 200_000
    back = pool.submit(support.identity, frozen(5)).result()
    assert not back.flags.writeable and (back == 5).all()
    both = pool.submit(lambda a, b: (a.flags.writeable, b.flags.writeable, float(a[0] + b[0])), frozen(1), numpy.full(100_000, 2.0))
    assert both.result() == (False, True, 3.0)


def test_a_worker_may_keep_what_it_reads_in_its_place(pool):
    pool.resize(1)
    for n in range(3):
        pool.submit(support.set_state, frozen(n)).result()
        for other in range(20):
            pool.submit(support.identity, frozen(100 + other)).result()
        assert (pool.submit(support.get_state).result() == n).all()


def test_forks_of_a_worker_keep_what_it_read(pool, tmp_path):
    def fork(array, go, out):
        if os.fork() == 0:
            try:
                support.wait_for(go)
                out.write_text(f"{array.min()} {array.max()}")
                os.rename(out, out.with_suffix(".done"))
            finally:
                os._exit(0)

    pool.resize(1)
    pool.submit(fork, frozen(7), tmp_path / "go", tmp_path / "out").result()
    for other in range(20):
        pool.submit(support.identity, frozen(100 + other)).result()
    (tmp_path / "go").touch()
    assert open(support.wait_for(tmp_path / "out.done")).read() == "7.0 7.0"
