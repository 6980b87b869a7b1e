"""How whatever pickle refuses, and whatever belongs to ``__main__``, is written: by value, by cloudpickle.

Loaded when there is something of the kind, since cloudpickle takes longer to load than a pool to start.
"""

from __future__ import annotations

import copyreg
from collections import ChainMap
from multiprocessing.reduction import ForkingPickler
from types import CodeType

import cloudpickle

from . import _pickling
from ._pickling import main_namespace


class _Main:
    """The namespace of ``__main__``, whatever process reads this."""

    def __reduce__(self):
        return main_namespace, ()


def _set_function_state(function, state) -> None:
    """As cloudpickle does it, but what the namespace has already stays, unless it was changed where the function comes from."""
    attributes, slots = state
    changed = slots.pop("__procpool_changed__", ())
    found = slots.pop("__globals__", {})
    namespace = function.__globals__
    for name, value in found.items():
        if name in changed or name not in namespace:
            namespace[name] = value
    _cloudpickle_set_state(function, (attributes, {**slots, "__globals__": {}}))


_cloudpickle_set_state = cloudpickle.cloudpickle._function_setstate


def _code_reduce(code):
    """As cloudpickle does it, but tracebacks name the file."""
    make, args = _cloudpickle_code_reduce(code)
    return make, tuple(code.co_filename if arg == "<dynamic-code>" else arg for arg in args)


_cloudpickle_code_reduce = cloudpickle.cloudpickle._code_reduce


class Pickler(cloudpickle.Pickler):
    dispatch_table = ChainMap(
        {**ForkingPickler._extra_reducers, **cloudpickle.Pickler._dispatch_table, CodeType: _code_reduce},
        copyreg.dispatch_table,
    )

    def __init__(self, file, sent: _pickling.Sent | None, buffer_callback) -> None:
        super().__init__(file, _pickling.PROTOCOL, buffer_callback)
        self._sent = sent
        self.globals_seen: dict[str, object] = {}

    def reducer_override(self, obj):
        if self._sent is not None and self._sent.is_common(obj):
            # By its name, which means the same on the other side.
            return NotImplemented
        return super().reducer_override(obj)

    def _dynamic_function_reduce(self, func):
        made = super()._dynamic_function_reduce(func)
        if func.__globals__ is not main_namespace():
            return made
        make, (code, _, *rest), (attributes, slots), *_ = made
        values = slots.get("__globals__", {})
        self.globals_seen.update(values)
        changed = self._sent.note(values) if self._sent is not None and self._sent is not _pickling.parent else ()
        slots = {**slots, "__procpool_changed__": tuple(changed)}
        return make, (code, _Main(), *rest), (attributes, slots), None, None, _set_function_state
