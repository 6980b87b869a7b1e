"""Plain functions of ``__main__`` are written by `_plain`, others by cloudpickle: both come to the same in a worker."""

import textwrap

import pytest
from programs import run_program

#: Programs; each prints the same whichever way its functions have travelled.
PROGRAMS = {
    "what it refers to": """
        import math, os.path, xml.dom.minidom
        from collections import OrderedDict
        BASE, NAME = 10, "x"
        def low(n, step=2, *, times=3): "Doc."; return (n + step) * times
        def run(n):
            text = xml.dom.minidom.parseString("<a/>").documentElement.tagName
            return math.floor(low(n) + BASE), os.path.basename("a/b"), list(OrderedDict(a=1)), NAME, text, low.__doc__
        print(pool.submit(run, 1).result())
        """,
    "itself and each other": """
        def even(n): return True if n == 0 else odd(n - 1)
        def odd(n): return False if n == 0 else even(n - 1)
        print(pool.submit(even, 10).result(), pool.submit(odd, 10).result())
        """,
    "what has changed": """
        FACTOR = 2
        def inner(n): return n * FACTOR
        def run(n): return inner(n)
        print(pool.submit(run, 1).result())
        FACTOR = 3
        print(pool.submit(run, 1).result())
        def inner(n): return -n
        print(pool.submit(run, 1).result())
        """,
    "what a worker remembers": """
        count = 0
        def add(n):
            global count
            count += n
            return count
        def get(): return count
        print([pool.submit(add, 1).result() for _ in range(3)], pool.submit(get).result())
        """,
    "its attributes": """
        def run(a: int, b: "str" = "c", *, d=(1, 2)) -> float: "Says."; return a
        def look():
            import inspect
            names = run.__name__, run.__qualname__, run.__module__, run.__doc__
            return names, str(inspect.signature(run)), run.__defaults__, run.__kwdefaults__
        print(pool.submit(look).result())
        """,
    "its line in a traceback": """
        def fail(n): return 1 / n
        print("in fail" in str(pool.submit(fail, 0).exception().__cause__))
        """,
    "nested code": """
        SCALE = 3
        def run(n):
            def scaled(x): return x * SCALE
            return [scaled(x) for x in range(n)], {k: (lambda y: y + SCALE)(k) for k in range(2)}
        print(pool.submit(run, 3).result())
        """,
    "what is not plain": """
        class Point:
            def __init__(self, x): self.x = x
        table = {"a": [1]}
        def run(n): return Point(n).x, table["a"]
        print(pool.submit(run, 1).result())
        """,
}

HEAD = """
import procpool
from procpool import _plain
if not {plain}:
    _plain.describe = lambda function, sent: None
pool = procpool.ProcessPoolExecutor(1)
"""


@pytest.mark.parametrize("name", PROGRAMS)
def test_both_ways_come_to_the_same(name):
    plain, other = (run_program(HEAD.format(plain=plain) + textwrap.dedent(PROGRAMS[name])) for plain in (True, False))
    assert plain == other and plain[0] == 0 and plain[1] and plain[2] == ""


def test_plain_functions_need_no_cloudpickle():
    code, out, err = run_program(
        """
        import sys, math, procpool
        HALF = 0.5
        def half(n): return math.floor(n * HALF)
        pool = procpool.ProcessPoolExecutor(1)
        print(pool.submit(half, 5).result(), "cloudpickle" in sys.modules)
        table = [1]
        def look(n): return table[n]
        print(pool.submit(look, 0).result(), "cloudpickle" in sys.modules)
        """
    )
    assert (code, out, err) == (0, "2 False\n1 True\n", "")
