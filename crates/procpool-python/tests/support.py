"""Functions and classes that tasks use; a module that workers import."""

import os
import signal
import time


def square(x):
    return x * x


def add(a, b=0, *, c=0):
    return a + b + c


def identity(x):
    return x


def pid(_=None):
    return os.getpid()


def raise_value_error(text):
    raise ValueError(text)


def die(how):
    """Ends the worker in one of several ways."""
    if how == "exit":
        os._exit(7)
    if how == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "segfault":
        os.kill(os.getpid(), signal.SIGSEGV)
    raise ArithmeticError("an error")


def sleep_forever():
    while True:
        time.sleep(60)


def wait_for(path):
    while not os.path.exists(path):
        time.sleep(0.002)
    return path


class At:
    """Does something at a moment of its travel."""

    def __init__(self, moment, how, parent):
        self.moment, self.how, self.parent = moment, how, parent

    def in_worker(self):
        return os.getpid() != self.parent

    def __reduce__(self):
        if self.moment == "pickling the task" and not self.in_worker():
            raise ArithmeticError("an error")
        if self.moment == "pickling the result" and self.in_worker():
            die(self.how)
        return _rebuild, (self.moment, self.how, self.parent)

    def __del__(self):
        if self.moment == "garbage collection" and self.in_worker():
            die(self.how)


def _rebuild(moment, how, parent):
    here = os.getpid() != parent
    if moment == "unpickling the task" and here:
        die(how)
    if moment == "unpickling the result" and not here:
        raise ArithmeticError("an error")
    return At(moment, how, parent)


def give_back(at):
    if at.moment == "running":
        die(at.how)
    return at


def drop(at):
    del at
    return "dropped"


class TwoArguments(Exception):
    def __init__(self, a, b):
        super().__init__(f"{a} and {b}")


class RaisingReduce(Exception):
    def __reduce__(self):
        raise TypeError("no reduce")


class RaisingRepr(Exception):
    def __repr__(self):
        raise TypeError("no repr")

    __str__ = __repr__


class RaisingSetState(Exception):
    def __reduce__(self):
        return type(self), (), {"x": 1}

    def __setstate__(self, state):
        raise TypeError("no setstate")


class RefusesToStart(SystemExit):
    pass


def raise_it(kind, *args):
    raise kind(*args)


def generator():
    yield 1


state = None


def set_state(value):
    global state
    state = value


def get_state():
    return state


def nested(n):
    import procpool

    with procpool.ProcessPoolExecutor(1) as inner:
        return inner.submit(square, n).result()
