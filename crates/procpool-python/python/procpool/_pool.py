"""`Pool`, as in multiprocessing."""

from __future__ import annotations

import multiprocessing
import threading
import warnings
import weakref
from concurrent.futures import CancelledError
from concurrent.futures.process import BrokenProcessPool, _RemoteTraceback
from multiprocessing import TimeoutError as _MpTimeoutError
from multiprocessing.pool import MaybeEncodingError, RemoteTraceback

from . import _context, _core, _exit, _future, _template
from ._functions import Functions

_RUN, _CLOSE, _TERMINATE = "RUN", "CLOSE", "TERMINATE"


def _as_pool_raises(error: BaseException) -> BaseException:
    """The exception as multiprocessing has it."""
    shown = getattr(error, "__procpool_unwritable__", None)
    if shown is not None:
        return MaybeEncodingError(error, shown)
    if isinstance(error.__cause__, _RemoteTraceback):
        error.__cause__ = RemoteTraceback(error.__cause__.tb)
    return error


class AsyncResult:
    """The result of a call or of a map that goes on: as multiprocessing's."""

    def __init__(self, pool: Pool, callback, error_callback) -> None:
        self._pool = pool
        self._callback = callback
        self._error_callback = error_callback
        self._event = threading.Event()
        self._success = False
        self._value: object = None

    def ready(self) -> bool:
        """Whether it has ended."""
        return self._event.is_set()

    def successful(self) -> bool:
        """Whether it has ended without an exception; raises ValueError before it has ended."""
        if not self.ready():
            raise ValueError(f"{self!r} not ready")
        return self._success

    def wait(self, timeout=None) -> None:
        """Waits until it has ended, or for so many seconds."""
        self._event.wait(timeout)

    def get(self, timeout=None):
        """What it gave, once it has; raises what it raised, or multiprocessing.TimeoutError."""
        self.wait(timeout)
        if not self.ready():
            raise _MpTimeoutError
        if self._success:
            return self._value
        raise self._value  # type: ignore[misc]

    def _set(self, success: bool, value) -> None:
        self._success, self._value = success, value
        callback = self._callback if success else self._error_callback
        try:
            if callback is not None:
                callback(value)
        finally:
            self._event.set()
            self._pool = None  # type: ignore[assignment]


class _CallResult(AsyncResult):
    """Of one call. Its future is waited for directly if nobody is to be called."""

    def __init__(self, pool, future, callback, error_callback) -> None:
        super().__init__(pool, callback, error_callback)
        self._future = future
        self._lock = threading.Lock()
        if callback is not None or error_callback is not None:
            future.add_done_callback(self._take)
            self._told = True
        else:
            self._told = False

    def _take(self, future) -> None:
        with self._lock:
            if self._event.is_set():
                return
            try:
                error = future.exception()
            except CancelledError as cancelled:
                error = cancelled
            if error is None:
                self._set(True, future.result())
            else:
                self._set(False, _as_pool_raises(error))

    def ready(self) -> bool:
        if not self._told and not self._event.is_set() and self._future.done():
            self._take(self._future)
        return self._event.is_set()

    def wait(self, timeout=None) -> None:
        if self._told:
            self._event.wait(timeout)
            return
        try:
            self._future.exception(timeout)
        except (TimeoutError, CancelledError):
            pass
        self.ready()


class _MapResult(AsyncResult):
    """Of a map whose inputs were all sent."""

    def __init__(self, pool, results, callback, error_callback) -> None:
        super().__init__(pool, callback, error_callback)
        self._results = results
        self._lock = threading.Lock()
        token = _future.listen(self._ended)
        if not results.tell(token):
            self._ended(token)

    def _ended(self, token: int) -> None:
        _future.forget(token)
        with self._lock:
            values, error = self._results.take_all()
        self._results = None
        if error is None:
            self._set(True, values)
        else:
            self._set(False, _as_pool_raises(error))


class IMapIterator:
    """The results of `Pool.imap` and `Pool.imap_unordered`."""

    def __init__(self, pool: Pool, results) -> None:
        self._pool = pool
        self._results = results
        self._lock = threading.Lock()

    def __iter__(self):
        return self

    def next(self, timeout=None):
        """The next result; raises StopIteration at the end, multiprocessing.TimeoutError if none has come in so many seconds."""
        with self._lock:
            try:
                taken = self._results.take(timeout)
            except TimeoutError:
                raise _MpTimeoutError from None
        if taken is None:
            self._pool = None  # type: ignore[assignment]
            raise StopIteration
        _, success, value = taken
        if success:
            return value
        raise _as_pool_raises(value)

    __next__ = next

    def _draw_all(self) -> None:
        with self._lock:
            self._results.fill()


class Pool:
    """A pool of worker processes: `multiprocessing.pool.Pool`, and more.

    ``timeout``, ``memory_limit``, ``retries``, ``priority``, ``worker_env``, ``cpu_affinity``, ``preload`` and ``logging`` are
    those of `ProcessPoolExecutor`. A worker's death fails the call that it ran, with `WorkerDied`; nothing waits for ever.
    """

    def __init__(
        self,
        processes=None,
        initializer=None,
        initargs=(),
        maxtasksperchild=None,
        context=None,
        *,
        timeout=None,
        cpu_time=None,
        memory_limit=None,
        retries=0,
        priority=5,
        worker_env=None,
        cpu_affinity=None,
        preload=(),
        output=None,
        logging=False,
    ) -> None:
        self._state = _TERMINATE
        if processes is None:
            processes = _core.available_cpus()
        if processes < 1:
            raise ValueError("Number of processes must be at least 1")
        if maxtasksperchild is not None and (not isinstance(maxtasksperchild, int) or maxtasksperchild <= 0):
            raise ValueError("maxtasksperchild must be a positive int or None")
        if initializer is not None and not callable(initializer):
            raise TypeError("initializer must be a callable")
        if logging:
            from . import _logging

            output = _logging.receiver(output)
        method, preload = _template.method_of(context), _template.preloads(preload)
        if method != "fork":
            # It takes longest to start, so it starts first.
            _template.clean(preload)
        self._processes = processes
        self._ctx = context or multiprocessing.get_context()
        self._plan = _context.Plan(
            processes,
            method,
            initializer,
            initargs,
            worker_env=worker_env,
            cpu_affinity=_template.affinity(cpu_affinity),
            preload=preload,
            logging=logging,
            name="ProcpoolWorker",
        )
        limits = {"timeout": timeout, "cpu_time": cpu_time, "memory_limit": memory_limit}
        options = _core.TaskOptions(**limits, retries=retries, priority=priority)
        self._map_options = None if all(limit is None for limit in limits.values()) else options
        self._port = _core.Port(
            self._plan.template,
            processes,
            self._plan.set_up,
            self._plan.sent,
            options=options,
            tasks_per_worker=maxtasksperchild,
            name="procpool",
            capture=output,
        )
        # Nobody waits for the results of a pool that is gone.
        self._port.set_at_once(True)
        self._functions = Functions(self._port, self._plan.sent)
        self._iterators: weakref.WeakSet = weakref.WeakSet()
        self._state = _RUN
        _exit.remember(self)

    def __del__(self, _warn=warnings.warn, _RUN=_RUN) -> None:  # noqa: N803
        if self._state == _RUN:
            _warn(f"unclosed running multiprocessing pool {self!r}", ResourceWarning, source=self)

    def __repr__(self) -> str:
        return f"<{type(self).__module__}.{type(self).__qualname__} state={self._state} pool_size={self._processes}>"

    def __reduce__(self):
        raise NotImplementedError("pool objects cannot be passed between processes or pickled")

    # Calls.

    def apply(self, func, args=(), kwds=None):
        """Calls ``func(*args, **kwds)`` in a worker and waits for it."""
        return self.apply_async(func, args, kwds).get()

    def apply_async(self, func, args=(), kwds=None, callback=None, error_callback=None):
        """As `apply`, but returns at once. The callbacks are called on a thread of the package's."""
        self._check_running()
        args, kwds = tuple(args), dict(kwds or {})
        try:
            function = self._functions.find(func)
            if function is None:
                function, args, kwds = self._functions.apply(func), (func, args, kwds), None
            future = self._port.submit(_future.Future, function, args, kwds)
        except BrokenProcessPool:
            raise
        except Exception as error:
            future = self._port.failed(_future.Future, error)
        return _CallResult(self, future, callback, error_callback)

    def map(self, func, iterable, chunksize=None):
        """``[func(x) for x in iterable]``, in the workers."""
        results = self._start(func, iterable, chunksize)
        values, error = results.take_all()
        if error is not None:
            raise _as_pool_raises(error)
        return values

    def map_async(self, func, iterable, chunksize=None, callback=None, error_callback=None):
        """As `map`, but returns at once."""
        return _MapResult(self, self._start(func, iterable, chunksize), callback, error_callback)

    def starmap(self, func, iterable, chunksize=None):
        """``[func(*args) for args in iterable]``, in the workers."""
        results = self._start(func, map(tuple, iterable), chunksize, only=False)
        values, error = results.take_all()
        if error is not None:
            raise _as_pool_raises(error)
        return values

    def starmap_async(self, func, iterable, chunksize=None, callback=None, error_callback=None):
        """As `starmap`, but returns at once."""
        results = self._start(func, map(tuple, iterable), chunksize, only=False)
        return _MapResult(self, results, callback, error_callback)

    def imap(self, func, iterable, chunksize=1, *, buffersize=None):
        """An iterator over ``func(x) for x in iterable``. Iterators are drawn from as the results are taken, a little ahead."""
        return self._lazily(func, iterable, chunksize, buffersize, ordered=True)

    def imap_unordered(self, func, iterable, chunksize=1, *, buffersize=None):
        """As `imap`, but each result as soon as it is there."""
        return self._lazily(func, iterable, chunksize, buffersize, ordered=False)

    def _start(self, func, iterable, chunksize, *, only=True):
        self._check_running()
        inputs = iter(list(iterable))
        function, owned = self._functions.for_all(func)
        options = self._map_options
        results = self._port.map(function, inputs, only=only, chunk=_chunk(chunksize), stop=False, options=options, owned=owned)
        results.fill()
        return results

    def _lazily(self, func, iterable, chunksize, buffersize, *, ordered):
        self._check_running()
        if chunksize < 1:
            raise ValueError(f"Chunksize must be 1+, not {chunksize:n}")
        if buffersize is not None and buffersize < 1:
            raise ValueError("buffersize must be None or > 0")
        function, owned = self._functions.for_all(func)
        try:
            sized = len(iterable) >= 0 and buffersize is None
        except TypeError:
            sized = False
        window = None if sized else buffersize or max(256, 64 * self._processes, 4 * chunksize)
        chunk = chunksize if chunksize > 1 else None
        results = self._port.map(
            function,
            iter(iterable),
            only=True,
            chunk=chunk,
            window=window,
            ordered=ordered,
            stop=False,
            options=self._map_options,
            owned=owned,
        )
        results.begin()
        iterator = IMapIterator(self, results)
        self._iterators.add(iterator)
        return iterator

    def _check_running(self) -> None:
        if self._state != _RUN:
            raise ValueError("Pool not running")

    # The pool.

    def close(self) -> None:
        """Takes no more calls. What was accepted goes on."""
        if self._state == _RUN:
            for iterator in list(self._iterators):
                iterator._draw_all()
            self._state = _CLOSE
            self._port.set_at_once(False)

    def terminate(self) -> None:
        """Ends the workers now, running calls and all."""
        self._state = _TERMINATE
        self._port.kill()
        self._plan.end()

    def join(self) -> None:
        """Waits until the workers have ended, after `close` or `terminate`."""
        if self._state == _RUN:
            raise ValueError("Pool is still running")
        self._port.shutdown(True)
        self._plan.end()

    _kill = terminate

    def _at_exit(self) -> None:
        if self._state == _CLOSE:
            self.join()
        else:
            self.terminate()

    def worker_pids(self) -> list[int]:
        """The process ids of the workers that are there now."""
        return self._port.pids

    def stats(self) -> dict[str, int]:
        """As `ProcessPoolExecutor.stats`."""
        return self._port.stats()

    def __enter__(self):
        self._check_running()
        return self

    def __exit__(self, kind, value, trace) -> None:
        self.terminate()


def _chunk(chunksize) -> int | None:
    if chunksize is None:
        return None
    if chunksize < 1:
        raise ValueError(f"Chunksize must be 1+, not {chunksize:n}")
    return chunksize

