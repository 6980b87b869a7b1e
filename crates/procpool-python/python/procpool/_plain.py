"""How plain functions of ``__main__`` are written, without cloudpickle, which takes longer to load than a worker to start.

A function is plain if what it refers to is plain: modules, what is imported from them, numbers and texts, and other plain functions.
It means the same in a worker as one that cloudpickle has written; tests/test_plain.py holds the two against each other.
"""

from __future__ import annotations

import marshal
import sys
from types import BuiltinFunctionType, CodeType, FunctionType, ModuleType

from . import _pickling

_VALUES = (type(None), bool, int, float, complex, str, bytes)


class _NotPlain(Exception):
    pass


class _Description:
    """What `make` is to be called with."""

    __slots__ = ("arguments",)

    def __init__(self, arguments: tuple) -> None:
        self.arguments = arguments

    def __reduce__(self):
        return make, self.arguments


def describe(function, sent: _pickling.Sent | None) -> tuple[bytes, dict[str, object]] | None:
    """What tells a worker which function this is, and what it refers to; None if it is not plain."""
    if type(function) is not FunctionType or sent is None or sent.common:
        return None
    entries: list[tuple] = []
    names: dict[str, object] = {}
    values: dict[str, tuple] = {}
    try:
        _look(function, entries, {}, names, values)
        data = _pickling._dumps((entries, values), _pickling.PROTOCOL)
    except Exception:
        return None
    if not _pickling._is_whole(data):
        return None
    # Now that nothing can fail any more.
    changed = sent.note(names)
    return _pickling._dumps(_Description((entries, values, tuple(changed))), _pickling.PROTOCOL), names


def _look(function: FunctionType, entries: list, numbers: dict, names: dict, values: dict) -> int:
    """Notes a function and what it refers to; returns its number."""
    if function in numbers:
        return numbers[function]
    namespace = _pickling.main_namespace()
    strange = function.__closure__ or function.__dict__ or getattr(function, "__type_params__", ())
    if strange or function.__module__ != "__main__" or function.__globals__ is not namespace:
        raise _NotPlain
    number = numbers[function] = len(entries)
    code = function.__code__
    more = (function.__qualname__, function.__doc__, function.__kwdefaults__, function.__annotations__)
    entries.append((marshal.dumps(code), function.__name__, function.__defaults__, more))
    used = _names(code)
    for name in used:
        if name in namespace and name not in names:
            value = names[name] = namespace[name]
            if isinstance(value, ModuleType):
                values[name] = "module", _modules(value, used)
            elif type(value) is FunctionType and value.__module__ == "__main__":
                values[name] = "function", _look(value, entries, numbers, names, values)
            elif type(value) in _VALUES or isinstance(value, FunctionType | BuiltinFunctionType | type):
                # Whether those are found by their names is seen when they are pickled.
                values[name] = "value", value
            else:
                raise _NotPlain
    return number


def _names(code: CodeType) -> list[str]:
    """The names in a function's code and in that of those inside it: of globals and attributes."""
    names = dict.fromkeys(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            names.update(dict.fromkeys(_names(constant)))
    return list(names)


def _modules(module: ModuleType, used: list[str]) -> list[str]:
    """The names of a module, and of those below it that the function may find as its attributes."""
    name = module.__name__
    if sys.modules.get(name) is not module or name == "__main__":
        raise _NotPlain
    if not hasattr(module, "__path__"):
        return [name]
    parts = set(used)
    below = (other for other in list(sys.modules) if other.startswith(name + ".") and parts.issuperset(other.split(".")[1:]))
    return [name, *below]


def make(entries: list, values: dict, changed: tuple):
    """In a worker: the first of the functions. What ``__main__`` has here already stays, unless it was changed in the program."""
    namespace = _pickling.main_namespace()
    functions = []
    for code, name, defaults, more in entries:
        function = FunctionType(marshal.loads(code), namespace, name, defaults)
        function.__module__ = "__main__"
        function.__qualname__, function.__doc__, function.__kwdefaults__, function.__annotations__ = more
        functions.append(function)
    for name, (kind, value) in values.items():
        if name in changed or name not in namespace:
            if kind == "module":
                for module in value:
                    __import__(module)
                value = sys.modules[value[0]]
            elif kind == "function":
                value = functions[value]
            namespace[name] = value
    return functions[0]
