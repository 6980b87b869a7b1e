"""Puts this package in the place of the standard library's pools."""

from __future__ import annotations

import concurrent.futures
import concurrent.futures.process
import multiprocessing
import multiprocessing.context
import multiprocessing.pool

_originals: list[tuple[object, str, object]] = []


def install() -> None:
    """From now on `concurrent.futures.ProcessPoolExecutor` and `multiprocessing.Pool`, by all the names that they have, are those
    of this package. What has imported them before keeps what it has."""
    if _originals:
        return
    from ._executor import ProcessPoolExecutor
    from ._pool import Pool

    def make_pool(self, processes=None, initializer=None, initargs=(), maxtasksperchild=None):
        """Returns a process pool object."""
        context = self.get_context()
        explicit = self._actual_context if isinstance(self, multiprocessing.context.DefaultContext) else context
        return Pool(processes, initializer, initargs, maxtasksperchild, context=explicit)

    def put(owner, name: str, value) -> None:
        _originals.append((owner, name, owner.__dict__[name]))
        setattr(owner, name, value)

    # A lazy attribute of the package until it is first asked for.
    concurrent.futures.ProcessPoolExecutor  # noqa: B018
    put(concurrent.futures, "ProcessPoolExecutor", ProcessPoolExecutor)
    put(concurrent.futures.process, "ProcessPoolExecutor", ProcessPoolExecutor)
    put(multiprocessing.pool, "Pool", Pool)
    put(multiprocessing.context.BaseContext, "Pool", make_pool)
    default = multiprocessing.context._default_context  # type: ignore[attr-defined]
    put(multiprocessing, "Pool", default.Pool)


def uninstall() -> None:
    """Takes back what `install` did."""
    while _originals:
        owner, name, value = _originals.pop()
        setattr(owner, name, value)
