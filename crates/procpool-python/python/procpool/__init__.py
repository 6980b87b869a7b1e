"""A process pool at the price of threads: `ProcessPoolExecutor` and `Pool` as in the standard library, on an engine in Rust.

Change the import and nothing else: ``from procpool import ProcessPoolExecutor``, or ``import procpool as multiprocessing``. Or not
even that: ``python -m procpool script.py``.
"""

from __future__ import annotations


from ._announce import announce as _announce
from ._core import __version__, available_cpus

#: As `typing` has it, which takes longer to load than all of this package.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from concurrent.futures import ALL_COMPLETED, FIRST_COMPLETED, FIRST_EXCEPTION, CancelledError, as_completed, wait
    from concurrent.futures.process import BrokenProcessPool

    from ._executor import ProcessPoolExecutor
    from ._faults import RemoteError, TaskMemoryError, TaskTimeout, WorkerDied, WorkerStartError
    from ._future import Future
    from ._install import install, uninstall
    from ._pool import AsyncResult, Pool
    from ._shared import shared_array

__all__ = [
    "ALL_COMPLETED",
    "FIRST_COMPLETED",
    "FIRST_EXCEPTION",
    "AsyncResult",
    "BrokenProcessPool",
    "CancelledError",
    "Future",
    "Pool",
    "ProcessPoolExecutor",
    "RemoteError",
    "TaskMemoryError",
    "TaskTimeout",
    "WorkerDied",
    "WorkerStartError",
    "__version__",
    "as_completed",
    "available_cpus",
    "install",
    "register_joblib",
    "shared_array",
    "uninstall",
    "wait",
]


def register_joblib() -> None:
    """Tells joblib of the backend ``procpool``: ``with joblib.parallel_config(backend="procpool")``. Those of its
    versions that load external backends find it without this."""
    from ._joblib import register

    register()


#: Where names are that are loaded when somebody asks for them: a program's start is not to wait for what it may never use, and
#: a worker's neither.
_HOMES = {
    **dict.fromkeys(("ALL_COMPLETED", "FIRST_COMPLETED", "FIRST_EXCEPTION", "CancelledError"), "concurrent.futures"),
    **dict.fromkeys(("as_completed", "wait"), "concurrent.futures"),
    **dict.fromkeys(("RemoteError", "TaskMemoryError", "TaskTimeout", "WorkerDied", "WorkerStartError"), "procpool._faults"),
    "BrokenProcessPool": "concurrent.futures.process",
    "ProcessPoolExecutor": "procpool._executor",
    "Future": "procpool._future",
    **dict.fromkeys(("install", "uninstall"), "procpool._install"),
    **dict.fromkeys(("AsyncResult", "Pool"), "procpool._pool"),
    "shared_array": "procpool._shared",
}


def __getattr__(name: str):
    """Whatever else multiprocessing has is multiprocessing's: Process, Queue, Lock, cpu_count, ..."""
    from importlib import import_module

    if name in _HOMES:
        value = globals()[name] = getattr(import_module(_HOMES[name]), name)
        return value
    if not name.startswith("__"):
        try:
            return getattr(import_module("multiprocessing"), name)
        except AttributeError:
            pass
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    import multiprocessing

    return sorted({*__all__, *multiprocessing.__all__})


_announce()
