import builtins
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ALL_COMPLETED as ALL_COMPLETED
from concurrent.futures import FIRST_COMPLETED as FIRST_COMPLETED
from concurrent.futures import FIRST_EXCEPTION as FIRST_EXCEPTION
from concurrent.futures import CancelledError as CancelledError
from concurrent.futures import Executor
from concurrent.futures import Future as _Future
from concurrent.futures import as_completed as as_completed
from concurrent.futures import wait as wait
from concurrent.futures.process import BrokenProcessPool as BrokenProcessPool
from multiprocessing import Array as Array
from multiprocessing import AuthenticationError as AuthenticationError
from multiprocessing import Barrier as Barrier
from multiprocessing import BoundedSemaphore as BoundedSemaphore
from multiprocessing import BufferTooShort as BufferTooShort
from multiprocessing import Condition as Condition
from multiprocessing import Event as Event
from multiprocessing import JoinableQueue as JoinableQueue
from multiprocessing import Lock as Lock
from multiprocessing import Manager as Manager
from multiprocessing import Pipe as Pipe
from multiprocessing import Process as Process
from multiprocessing import ProcessError as ProcessError
from multiprocessing import Queue as Queue
from multiprocessing import RawArray as RawArray
from multiprocessing import RawValue as RawValue
from multiprocessing import RLock as RLock
from multiprocessing import Semaphore as Semaphore
from multiprocessing import SimpleQueue as SimpleQueue
from multiprocessing import TimeoutError as TimeoutError
from multiprocessing import Value as Value
from multiprocessing import active_children as active_children
from multiprocessing import allow_connection_pickling as allow_connection_pickling
from multiprocessing import cpu_count as cpu_count
from multiprocessing import current_process as current_process
from multiprocessing import freeze_support as freeze_support
from multiprocessing import get_all_start_methods as get_all_start_methods
from multiprocessing import get_context as get_context
from multiprocessing import get_logger as get_logger
from multiprocessing import get_start_method as get_start_method
from multiprocessing import log_to_stderr as log_to_stderr
from multiprocessing import parent_process as parent_process
from multiprocessing import reducer as reducer
from multiprocessing import set_executable as set_executable
from multiprocessing import set_forkserver_preload as set_forkserver_preload
from multiprocessing import set_start_method as set_start_method
from multiprocessing.context import BaseContext
from types import TracebackType
from typing import Any, Generic, Literal, ParamSpec, Protocol, Self, TypeVar

from ._core import __version__ as __version__
from ._core import available_cpus as available_cpus

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

_P = ParamSpec("_P")
_S = TypeVar("_S")
_T = TypeVar("_T")

_Affinity = Callable[[int], int | Iterable[int]] | Sequence[int | Iterable[int]]

class Future(_Future[_T]): ...

class _Call:
    def submit(self, fn: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> Future[_T]: ...
    def map(
        self,
        fn: Callable[..., _T],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int = 1,
        buffersize: int | Literal["auto"] | None = None,
    ) -> Iterator[_T]: ...

class ProcessPoolExecutor(Executor):
    def __init__(
        self,
        max_workers: int | None = None,
        mp_context: BaseContext | str | None = None,
        initializer: Callable[..., object] | None = None,
        initargs: tuple[Any, ...] = (),
        *,
        max_tasks_per_child: int | None = None,
        timeout: float | None = None,
        cpu_time: float | None = None,
        memory_limit: int | None = None,
        retries: int = 0,
        priority: int = 5,
        on_crash: Literal["replace", "break"] = "replace",
        worker_env: Callable[[int], dict[str, str]] | None = None,
        cpu_affinity: _Affinity | None = None,
        preload: Sequence[str] = (),
        output: Callable[[int, bool, str], object] | None = None,
        logging: bool = False,
        progress: bool = False,
        start_timeout: float | None = None,
    ) -> None: ...
    def submit(self, fn: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> Future[_T]: ...
    def map(
        self,
        fn: Callable[..., _T],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int = 1,
        buffersize: int | Literal["auto"] | None = None,
    ) -> Iterator[_T]: ...
    def options(
        self,
        *,
        timeout: float | None = ...,
        cpu_time: float | None = ...,
        memory_limit: int | None = ...,
        retries: int = ...,
        priority: int = ...,
    ) -> _Call: ...
    def resize(self, max_workers: int) -> None: ...
    def stats(self) -> dict[str, int]: ...
    def worker_pids(self) -> list[int]: ...
    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None: ...
    def terminate_workers(self) -> None: ...
    def kill_workers(self) -> None: ...

class AsyncResult(Generic[_T]):
    def ready(self) -> bool: ...
    def successful(self) -> bool: ...
    def wait(self, timeout: float | None = None) -> None: ...
    def get(self, timeout: float | None = None) -> _T: ...

class _IMapIterator(Protocol[_S]):
    def __iter__(self) -> Iterator[_S]: ...
    def __next__(self) -> _S: ...
    def next(self, timeout: float | None = None) -> _S: ...

class Pool:
    def __init__(
        self,
        processes: int | None = None,
        initializer: Callable[..., object] | None = None,
        initargs: Iterable[Any] = (),
        maxtasksperchild: int | None = None,
        context: BaseContext | str | None = None,
        *,
        timeout: float | None = None,
        cpu_time: float | None = None,
        memory_limit: int | None = None,
        retries: int = 0,
        priority: int = 5,
        worker_env: Callable[[int], dict[str, str]] | None = None,
        cpu_affinity: _Affinity | None = None,
        preload: Sequence[str] = (),
        output: Callable[[int, bool, str], object] | None = None,
        logging: bool = False,
    ) -> None: ...
    def apply(self, func: Callable[..., _T], args: Iterable[Any] = (), kwds: dict[str, Any] | None = None) -> _T: ...
    def apply_async(
        self,
        func: Callable[..., _T],
        args: Iterable[Any] = (),
        kwds: dict[str, Any] | None = None,
        callback: Callable[[_T], object] | None = None,
        error_callback: Callable[[BaseException], object] | None = None,
    ) -> AsyncResult[_T]: ...
    def map(self, func: Callable[[_S], _T], iterable: Iterable[_S], chunksize: int | None = None) -> list[_T]: ...
    def map_async(
        self,
        func: Callable[[_S], _T],
        iterable: Iterable[_S],
        chunksize: int | None = None,
        callback: Callable[[list[_T]], object] | None = None,
        error_callback: Callable[[BaseException], object] | None = None,
    ) -> AsyncResult[list[_T]]: ...
    def starmap(self, func: Callable[..., _T], iterable: Iterable[Iterable[Any]], chunksize: int | None = None) -> list[_T]: ...
    def starmap_async(
        self,
        func: Callable[..., _T],
        iterable: Iterable[Iterable[Any]],
        chunksize: int | None = None,
        callback: Callable[[list[_T]], object] | None = None,
        error_callback: Callable[[BaseException], object] | None = None,
    ) -> AsyncResult[list[_T]]: ...
    def imap(
        self, func: Callable[[_S], _T], iterable: Iterable[_S], chunksize: int = 1, *, buffersize: int | None = None
    ) -> _IMapIterator[_T]: ...
    def imap_unordered(
        self, func: Callable[[_S], _T], iterable: Iterable[_S], chunksize: int = 1, *, buffersize: int | None = None
    ) -> _IMapIterator[_T]: ...
    def close(self) -> None: ...
    def terminate(self) -> None: ...
    def join(self) -> None: ...
    def worker_pids(self) -> list[int]: ...
    def stats(self) -> dict[str, int]: ...
    def __enter__(self) -> Self: ...
    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None: ...

class _Facts:
    task: str | None
    index: int | None
    pid: int | None
    attempt: int | None
    signal: int | None
    exit_code: int | None
    peak_memory: int | None
    stderr: str | None

class WorkerDied(_Facts, BrokenProcessPool): ...
class TaskTimeout(_Facts, builtins.TimeoutError): ...
class TaskMemoryError(_Facts, MemoryError): ...
class WorkerStartError(_Facts, BrokenProcessPool): ...

class RemoteError(Exception):
    type_name: str
    message: str
    why: str
    def __init__(self, type_name: str, message: str, why: str = "") -> None: ...

def install() -> None: ...
def uninstall() -> None: ...
def register_joblib() -> None: ...
def shared_array(shape: int | Sequence[int], dtype: Any = "float64") -> Any: ...
