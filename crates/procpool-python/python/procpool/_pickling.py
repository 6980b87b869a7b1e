"""How functions, arguments, results and exceptions become bytes.

Pickle, protocol 5; large buffers travel beside it. What pickle refuses, and whatever belongs to ``__main__``, is written by value
(`_plain`, `_byvalue`). Functions of ``__main__`` share one namespace in a worker, as they do here, so that what an initializer sets
there is what tasks see.

Every worker begins with this module, so what is needed seldom is imported where it is needed.
"""

from __future__ import annotations

import io
import pickle
import sys
from types import FunctionType

PROTOCOL = 5
#: Buffers of fewer bytes are part of the pickle.
SMALL_BUFFER = 8 * 1024

_dumps = pickle.dumps
_loads = pickle.loads


def main_namespace() -> dict:
    """What ``__main__`` has."""
    return sys.modules["__main__"].__dict__


def _is_whole(data: bytes) -> bool:
    """Whether a plain pickle means the same in another process: names of ``__main__`` do not, nor do pipes, of which it has the
    number of the descriptor alone."""
    return b"__main__" not in data and b"multiprocessing.connection" not in data


class Sent:
    """What a pool's workers know of ``__main__``: which values they may have seen, and, if they are forks of this process, what
    was there before."""

    def __init__(self) -> None:
        self.values: dict[str, object] = {}
        self.common: dict[str, object] = {}

    def share_main(self) -> None:
        """This process is about to be forked: the functions and classes of ``__main__`` are the same on both sides."""
        # Nothing else, or the pool would keep itself.
        self.common = {name: value for name, value in main_namespace().items() if isinstance(value, FunctionType | type)}

    def is_common(self, value) -> bool:
        """Whether this is a function or class of ``__main__`` that workers have had from their beginning."""
        if not self.common or not isinstance(value, FunctionType | type):
            return False
        return value.__module__ == "__main__" and self.common.get(value.__qualname__) is value

    def dump(self, value):
        """The pickle of ``value`` and its large buffers."""
        return dump(value, self)

    def dump_call(self, args, kwargs):
        """What a call is made of."""
        return dump((args, kwargs or None), self)

    def note(self, names: dict) -> list[str]:
        """Notes these values; returns the names of those that were other values before."""
        changed = [name for name, value in names.items() if name in self.values and self.values[name] is not value]
        self.values.update(names)
        return changed


class _Beside:
    """Takes the large buffers of a pickle."""

    __slots__ = ("buffers",)

    def __init__(self) -> None:
        self.buffers: list[memoryview] = []

    def __call__(self, buffer: pickle.PickleBuffer) -> bool:
        try:
            raw = buffer.raw()
        except BufferError:
            return True
        if raw.nbytes < SMALL_BUFFER:
            return True
        self.buffers.append(raw)
        return False


def dump(value, sent: Sent | None = None):
    """The pickle of ``value`` and its large buffers."""
    beside = _Beside()
    try:
        data = _dumps(value, PROTOCOL, buffer_callback=beside)
        if _is_whole(data):
            return data, beside.buffers
    except Exception:
        # A lambda, something of a dynamic module: cloudpickle knows more, or raises the same.
        pass
    beside = _Beside()
    from . import _byvalue

    file = io.BytesIO()
    _byvalue.Pickler(file, sent, beside).dump(value)
    return file.getvalue(), beside.buffers


def load(data: bytes, buffers: list):
    """The value of a pickle."""
    return _loads(data, buffers=buffers)


def load_function(data: bytes):
    """A function that was described by `describe`."""
    return _loads(data)


def describe(function, sent: Sent | None) -> tuple[bytes, dict | None]:
    """What tells a worker which function this is; and, for one that travels by value, the values of ``__main__`` in it."""
    try:
        data = _dumps(function, PROTOCOL)
        if _is_whole(data) or (sent is not None and sent.is_common(function)):
            return data, None
    except Exception:
        pass
    from . import _plain

    described = _plain.describe(function, sent)
    if described is not None:
        return described
    from . import _byvalue

    file = io.BytesIO()
    pickler = _byvalue.Pickler(file, sent, None)
    pickler.dump(function)
    return file.getvalue(), pickler.globals_seen


def apply(function, args, kwargs):
    """Calls a function that travels with its arguments."""
    return function(*args, **kwargs)


def name_of(function) -> str:
    """What to call a function in errors."""
    while hasattr(function, "func") and not isinstance(function, FunctionType):
        function = function.func
    return getattr(function, "__qualname__", None) or type(function).__qualname__


# Results and exceptions.


#: In a worker that is a fork of the program: what the two have in common.
parent: Sent | None = None


def dump_result(value):
    """What a task has returned."""
    return dump(value, parent)


def _text(exception: BaseException) -> str:
    try:
        return str(exception)
    except Exception:
        return "(its text cannot be made)"


def _type_name(exception: BaseException) -> str:
    kind = type(exception)
    return kind.__qualname__ if kind.__module__ in ("builtins", "__main__") else f"{kind.__module__}.{kind.__qualname__}"


def unwritable_result(error: BaseException, value) -> BaseException:
    """The error for a result that cannot be pickled."""
    try:
        shown = repr(value)
    except Exception:
        shown = f"<{type(value).__qualname__} whose repr raises>"
    try:
        error.__procpool_unwritable__ = shown[:2000]  # type: ignore[attr-defined]
    except Exception:
        pass
    return error


def unreadable_result(error: BaseException) -> BaseException:
    """The error for a result that cannot be unpickled here: what the attempt raised."""
    return error


def unwritable_exception(words: str) -> BaseException:
    """The exception for one of which nothing is known but these words."""
    from . import _faults

    return _faults.RemoteError("an exception", words, "it could not be pickled")


def dump_exception(exception: BaseException) -> bytes:
    """What a task has raised: the exception, and what stands for it if it cannot be read."""
    import traceback

    try:
        lines = traceback.format_exception(type(exception), exception, exception.__traceback__)
        trace = "".join(lines)
    except Exception:
        trace = f"{_type_name(exception)} (its traceback cannot be made)\n"
    unwritable = getattr(exception, "__procpool_unwritable__", None)
    try:
        exception.__traceback__ = None
        data = _dump_whole(exception)
        why = ""
    except BaseException as error:
        data, why = None, f"it cannot be pickled: {_type_name(error)}: {_text(error)}"
    return _dumps((data, _type_name(exception), _text(exception), trace, why, unwritable), PROTOCOL)


def _dump_whole(value) -> bytes:
    """As `dump`, with nothing beside it."""
    try:
        data = _dumps(value, PROTOCOL)
        if _is_whole(data):
            return data
    except Exception:
        pass
    from . import _byvalue

    file = io.BytesIO()
    _byvalue.Pickler(file, parent, None).dump(value)
    return file.getvalue()


def load_exception(data: bytes) -> BaseException:
    """What `dump_exception` has written, with the remote traceback as its cause."""
    from concurrent.futures.process import _RemoteTraceback

    from . import _faults

    pickled, type_name, message, trace, why, unwritable = _loads(data)
    exception = None
    if pickled is not None:
        try:
            exception = _loads(pickled)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            why = f"it cannot be unpickled: {_type_name(error)}: {_text(error)}"
    if not isinstance(exception, BaseException):
        exception = _faults.RemoteError(type_name, message, why)
    try:
        exception.__cause__ = _RemoteTraceback(f'\n"""\n{trace}"""')
        if unwritable is not None:
            exception.__procpool_unwritable__ = unwritable  # type: ignore[attr-defined]
    except Exception:
        pass
    return exception
