"""Large values: buffers travel beside the pickle, and nothing is left of them."""

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
