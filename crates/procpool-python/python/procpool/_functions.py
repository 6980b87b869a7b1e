"""Which functions a pool's workers know: each is described once, unless it has changed."""

from __future__ import annotations

import weakref
from types import BuiltinFunctionType, FunctionType

from . import _core, _pickling

_APPLY = _pickling.describe(_pickling.apply, None)[0]


class _ByValue:
    """A function that travels by value, and what it referred to when it was described."""

    __slots__ = ("cells", "function", "names", "ref")

    def __init__(self, ref, function: _core.Function, names: dict, cells: tuple) -> None:
        self.ref, self.function, self.names, self.cells = ref, function, names, cells

    def is_as_it_was(self, function) -> bool:
        namespace = function.__globals__
        for name, value in self.names.items():
            if namespace.get(name, self) is not value:
                return False
        return all(now is before for now, before in zip(_cells(function), self.cells, strict=True))


def _is_passing(function) -> bool:
    """Whether this may be one of many that are made, called once, and gone."""
    return function.__closure__ is not None or "<locals>" in function.__qualname__ or function.__name__ == "<lambda>"


def _cells(function) -> tuple:
    cells = []
    for cell in function.__closure__ or ():
        try:
            cells.append(cell.cell_contents)
        except ValueError:
            cells.append(None)
    return tuple(cells)


class Functions:
    """The functions of one pool."""

    def __init__(self, port: _core.Port, sent: _pickling.Sent) -> None:
        self._port = port
        self._sent = sent
        #: Those that are imported where they are called, and those of modules that travel by value: these with their namespace and
        #: what they referred to there.
        self.known: dict[object, _core.Function | tuple[_core.Function, dict, dict]] = {}
        #: Others that travel by value, by id; None for one that was seen once.
        self._by_value: dict[int, _ByValue | weakref.ref] = {}
        self._applies: dict[str, _core.Function] = {}

    def find(self, function) -> _core.Function | None:
        """The function as workers know it; None if it is better sent with its arguments: it may be another one next time."""
        kind = type(function)
        if kind is not FunctionType and kind is not BuiltinFunctionType and kind is not type:
            return None
        found = self.known.get(function)
        if found is not None:
            if type(found) is not tuple:
                return found
            known, namespace, names = found
            if all(namespace.get(name, self) is value for name, value in names.items()):
                return known
        if kind is not FunctionType:
            # By reference, or not at all.
            return self._describe(function)
        entry = self._by_value.get(id(function))
        if isinstance(entry, _ByValue):
            if entry.is_as_it_was(function):
                return entry.function
        elif entry is None and _is_passing(function):
            # One of many, maybe, each called once.
            self._by_value[id(function)] = weakref.ref(function, self._forgets(id(function)))
            return None
        return self._describe(function)

    def for_all(self, function) -> tuple[_core.Function, bool]:
        """The same for a function that is about to be called many times; and whether the workers can forget it then."""
        found = self.find(function)
        if found is not None:
            return found, False
        code, _ = _pickling.describe(function, self._sent)
        return self._port.function(_pickling.name_of(function), code), True

    def apply(self, function) -> _core.Function:
        """What calls a function that is sent with its arguments."""
        name = _pickling.name_of(function)
        found = self._applies.get(name)
        if found is None:
            found = self._applies[name] = self._port.function(name, _APPLY)
        return found

    def _describe(self, function) -> _core.Function:
        code, names = _pickling.describe(function, self._sent)
        made = self._port.function(_pickling.name_of(function), code)
        if names is None:
            self.known[function] = made
        elif type(function) is FunctionType and not _is_passing(function):
            self.known[function] = made, function.__globals__, names
        elif type(function) is FunctionType:
            ref = weakref.ref(function, self._forgets(id(function)))
            self._by_value[id(function)] = _ByValue(ref, made, names, _cells(function))
        return made

    def _forgets(self, key: int):
        by_value = self._by_value
        return lambda _: by_value.pop(key, None)
