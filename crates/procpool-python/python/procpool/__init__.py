"""A process pool at the price of threads: `ProcessPoolExecutor` and `Pool` as in the standard library, on an engine in Rust.

Change the import and nothing else: ``from procpool import ProcessPoolExecutor``, or ``import procpool as multiprocessing``. Or not
even that: ``python -m procpool script.py``.
"""

from __future__ import annotations

import multiprocessing as _multiprocessing
from concurrent.futures import ALL_COMPLETED, FIRST_COMPLETED, FIRST_EXCEPTION, CancelledError, as_completed, wait
from concurrent.futures.process import BrokenProcessPool

from ._context import available_cpus
from ._core import __version__
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
    """Tells joblib of the backend ``procpool``: ``with joblib.parallel_config(backend="procpool")``."""
    from ._joblib import register

    register()


def __getattr__(name: str):
    """Whatever else multiprocessing has is multiprocessing's: Process, Queue, Lock, cpu_count, ..."""
    if name.startswith("__"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return getattr(_multiprocessing, name)
    except AttributeError:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None


def __dir__() -> list[str]:
    return sorted({*__all__, *_multiprocessing.__all__})
