"""`ProcessPoolExecutor`, as in concurrent.futures."""

from __future__ import annotations

import threading
import time
import weakref
from concurrent.futures import _base
from types import FunctionType

from . import _core, _exit, _future, _template

#: As `typing` has it, which takes longer to load than all of this package.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from . import _context
    from ._functions import Functions
    from ._process import WorkerProcess

_BROKEN = "A process in the process pool was terminated abruptly while the future was running or pending."


class _Fate:
    """What a worker's death may do to an executor, without having it: the thread that hears of deaths must not be the one that
    lets go of it last, or what was given to it ends on that thread."""

    __slots__ = ("broken", "over", "port")

    def __init__(self) -> None:
        self.broken: str | bool = False
        self.over = False
        self.port: weakref.ref[_core.Port] | None = None

    def fulfil(self, _token: int) -> None:
        """A worker has died: all is over."""
        if self.over:
            return
        self.broken = _BROKEN
        port = self.port() if self.port is not None else None
        if port is not None:
            port.kill()


class _Call:
    """What `ProcessPoolExecutor.options` returns: the same pool, other limits."""

    def __init__(self, executor: ProcessPoolExecutor, options: _core.TaskOptions) -> None:
        self._executor = executor
        self._options = options

    def submit(self, fn, /, *args, **kwargs) -> _future.Future:
        """As `ProcessPoolExecutor.submit`."""
        return self._executor._submit(self._options, fn, args, kwargs)

    def map(self, fn, *iterables, timeout=None, chunksize=1, buffersize=None):
        """As `ProcessPoolExecutor.map`."""
        return self._executor._map(self._options, fn, iterables, timeout, chunksize, buffersize)


class ProcessPoolExecutor(_base.Executor):
    """Runs calls in a pool of processes: `concurrent.futures.ProcessPoolExecutor`, and more.

    The workers start with the first call. Beyond the standard library's arguments:

    ``timeout``, ``cpu_time`` (seconds), ``memory_limit`` (bytes): what one call may use; then it fails with `TaskTimeout` or
    `TaskMemoryError`, its worker is replaced, and nothing else is lost. ``retries``: how often a call is begun again whose worker
    died or whose limit was passed. ``priority``: 0 to 9.

    ``on_crash``: ``"replace"`` (a worker's death costs the call it ran, which fails with `WorkerDied`) or ``"break"`` (as in the
    standard library: it breaks the pool).

    ``worker_env``: a function from a worker's number, less than ``max_workers`` and no other living worker's, to what is to be added
    to its environment, before anything of the program is imported or run there; a worker that replaces another one has its number,
    and for a moment there are two of a number when one is replaced for its age. ``cpu_affinity``: the CPUs that workers may run
    on: a function from a worker's number to them, or a sequence of them, of which worker n has item n modulo its length; an item
    is a number or several. ``preload``: names of modules
    that workers have loaded when they start, besides those of ``multiprocessing.set_forkserver_preload``; not with ``fork``, where
    they have what this process has. ``output``: a function that is
    called with each line that workers print, as ``output(pid, is_stderr, text)``. ``logging``: forward log records of workers to
    the loggers of the same names here. ``progress``: show how far a ``map`` is that is being read; needs tqdm.
    """

    def __init__(
        self,
        max_workers=None,
        mp_context=None,
        initializer=None,
        initargs=(),
        *,
        max_tasks_per_child=None,
        timeout=None,
        cpu_time=None,
        memory_limit=None,
        retries=0,
        priority=5,
        on_crash="replace",
        worker_env=None,
        cpu_affinity=None,
        preload=(),
        output=None,
        logging=False,
        progress=False,
        start_timeout=None,
    ) -> None:
        if max_workers is None:
            max_workers = _core.available_cpus()
        elif max_workers <= 0:
            raise ValueError("max_workers must be greater than 0")
        if initializer is not None and not callable(initializer):
            raise TypeError("initializer must be a callable")
        method = _template.method_of(mp_context)
        if max_tasks_per_child is not None:
            if not isinstance(max_tasks_per_child, int):
                raise TypeError("max_tasks_per_child must be an integer")
            if max_tasks_per_child <= 0:
                raise ValueError("max_tasks_per_child must be >= 1")
            if mp_context is None:
                import multiprocessing

                mp_context = multiprocessing.get_context("spawn")
            elif method == "fork":
                raise ValueError(
                    "max_tasks_per_child is incompatible with the 'fork' multiprocessing start method; "
                    "supply a different mp_context."
                )
        if on_crash not in ("replace", "break"):
            raise ValueError('on_crash must be "replace" or "break"')
        self._preload = _template.preloads(preload)
        if method != "fork":
            # It takes longest to start, so it starts first.
            _template.clean(self._preload)
        self._max_workers = max_workers
        self._context = mp_context
        self._method = method
        self._initializer = initializer
        self._initargs = initargs
        self._max_tasks_per_child = max_tasks_per_child
        limits = {"timeout": timeout, "cpu_time": cpu_time, "memory_limit": memory_limit}
        self._limits = {**limits, "retries": retries, "priority": priority}
        self._plain = all(limit is None for limit in limits.values())
        self._on_crash = on_crash
        self._worker_env = worker_env
        self._cpu_affinity = _template.affinity(cpu_affinity)
        self._output = output
        self._logging = logging
        self._bar = _find_bar() if progress else None
        self._start_timeout = start_timeout
        self._options = _core.TaskOptions(**self._limits)
        self._open_lock = threading.Lock()
        self._port: _core.Port | None = None
        self._functions: Functions | None = None
        self._plan: _context.Plan | None = None
        self._token: int | None = None
        self._fate = _Fate()
        _exit.remember(self)

    # Opening.

    def _opened(self) -> _core.Port:
        with self._open_lock:
            if self._fate.broken:
                from concurrent.futures.process import BrokenProcessPool

                raise BrokenProcessPool(self._fate.broken)
            if self._fate.over:
                raise RuntimeError("cannot schedule new futures after shutdown")
            if _exit.closing:
                raise RuntimeError("cannot schedule new futures after interpreter shutdown")
            if self._port is None:
                from . import _context
                from ._functions import Functions

                self._plan = _context.Plan(
                    self._max_workers,
                    self._method,
                    self._initializer,
                    self._initargs,
                    worker_env=self._worker_env,
                    cpu_affinity=self._cpu_affinity,
                    preload=self._preload,
                    logging=self._logging,
                    name="ProcpoolProcess",
                )
                if self._on_crash == "break":
                    self._token = _future.listen(self._fate.fulfil)
                    weakref.finalize(self, _future.forget, self._token).atexit = False
                self._port = _core.Port(
                    self._plan.template,
                    self._max_workers,
                    self._plan.set_up,
                    self._plan.sent,
                    options=self._options,
                    tasks_per_worker=self._max_tasks_per_child,
                    name="procpool",
                    capture=self._capture(),
                    on_death=self._token,
                    start_timeout=self._start_timeout,
                )
                self._fate.port = weakref.ref(self._port)
                # The workers have them.
                self._initializer, self._initargs = None, ()
                self._functions = Functions(self._port, self._plan.sent)
                if type(self).submit is ProcessPoolExecutor.submit:
                    self._shorten()
            return self._port

    def _capture(self):
        if not self._logging:
            return self._output
        from . import _logging

        return _logging.receiver(self._output)

    # Calls.

    def submit(self, fn, /, *args, **kwargs) -> _future.Future:
        """Calls ``fn(*args, **kwargs)`` in a worker and returns its future."""
        return self._submit(None, fn, args, kwargs)

    def _shorten(self) -> None:
        """Until the pool ends, ``submit`` is a method of the engine's: no frame of Python's stands before it."""
        reference = weakref.ref(self)

        def otherwise(fn, args, kwargs):
            return reference()._submit(None, fn, args, kwargs or {})

        known = self._functions.known
        self.submit = self._port.submitter(_future.Future, FunctionType, known, otherwise)  # type: ignore[method-assign]

    def _lengthen(self) -> None:
        self.__dict__.pop("submit", None)

    def _submit(self, options, fn, args: tuple, kwargs: dict) -> _future.Future:
        port = self._opened()
        try:
            function = self._functions.find(fn)
            if function is None:
                function, args, kwargs = self._functions.apply(fn), (fn, args, kwargs), None
        except Exception as error:
            return port.failed(_future.Future, error)
        return port.submit(_future.Future, function, args, kwargs, options)

    def map(self, fn, *iterables, timeout=None, chunksize=1, buffersize=None):
        """Calls ``fn`` with the items of the iterables and returns an iterator over the results, in their order.

        All inputs are drawn at once, as in the standard library, or with ``buffersize`` as many as may be pending;
        ``buffersize="auto"`` is a few for each worker. Short calls travel together by themselves, and stay calls; ``chunksize``
        calls are one, as in the standard library: they fail together.
        """
        return self._map(None, fn, iterables, timeout, chunksize, buffersize)

    def _map(self, options, fn, iterables: tuple, timeout, chunksize, buffersize):
        if chunksize < 1:
            raise ValueError("chunksize must be >= 1.")
        if buffersize is not None and buffersize != "auto":
            if not isinstance(buffersize, int):
                raise TypeError("buffersize must be an integer or None")
            if buffersize < 1:
                raise ValueError("buffersize must be None or > 0")
        port = self._opened()
        function, owned = self._functions.for_all(fn)
        only = len(iterables) == 1
        inputs = iter(iterables[0]) if only else zip(*iterables, strict=False)
        if options is None and not self._plain:
            options = self._options
        window = None
        if buffersize == "auto":
            window = max(64, 16 * self._max_workers)
        elif buffersize is not None:
            window = buffersize
            chunksize = min(chunksize, buffersize)
        chunk = chunksize if chunksize > 1 else None
        results = port.map(function, inputs, only=only, chunk=chunk, window=window, options=options, owned=owned)
        results.set_timeout(timeout)
        if window is None:
            results.fill()
        else:
            results.begin()
        if self._bar is not None:
            return self._bar(results, total=results.inputs_drawn if window is None else None)
        return results

    def options(self, **limits) -> _Call:
        """This pool with other ``timeout``, ``cpu_time``, ``memory_limit``, ``retries`` or ``priority`` for the calls made by what
        this returns."""
        unknown = limits.keys() - self._limits.keys()
        if unknown:
            raise TypeError(f"no such option: {', '.join(sorted(unknown))}")
        return _Call(self, _core.TaskOptions(**{**self._limits, **limits}))

    # The pool.

    def resize(self, max_workers: int) -> None:
        """Changes the number of workers, also while calls run."""
        if max_workers <= 0:
            raise ValueError("max_workers must be greater than 0")
        self._max_workers = max_workers
        if self._port is not None:
            self._port.resize(max_workers)

    def stats(self) -> dict[str, int]:
        """What the pool has done so far: ``tasks_ok`` (a call that raised is one that was run), ``tasks_failed``, ``retries``,
        ``workers_started``, ``workers_recycled``, ``workers_died``, ``workers_died_busy``."""
        return self._opened().stats()

    def worker_pids(self) -> list[int]:
        """The process ids of the workers that are there now."""
        return self._port.pids if self._port is not None and not self._fate.over else []

    @property
    def _mp_context(self):
        import multiprocessing

        return self._context if self._context is not None else multiprocessing.get_context()

    @property
    def _processes(self) -> dict[int, WorkerProcess]:
        from ._process import WorkerProcess

        pids = self.worker_pids()
        while not pids and self._port is not None and not self._fate.over and self._port.pending:
            # The standard library's are there when `submit` returns.
            time.sleep(0.001)
            pids = self.worker_pids()
        return {pid: WorkerProcess(pid) for pid in pids}

    def shutdown(self, wait=True, *, cancel_futures=False) -> None:
        """Takes no more calls. Waits for those that were accepted, or with ``wait=False`` returns at once; with
        ``cancel_futures`` cancels those that have not begun."""
        with self._open_lock:
            self._fate.over = True
            self._lengthen()
            port = self._port
        if port is None:
            return
        if cancel_futures:
            while port.pending and not port.has_run:
                # The standard library's pools have begun something by now.
                time.sleep(0.001)
            port.cancel_pending()
        port.shutdown(wait)
        if wait:
            self._clean_up()

    def terminate_workers(self) -> None:
        """Ends the workers now, running calls and all. Futures that have not ended fail with `BrokenProcessPool`."""
        self._kill()

    def kill_workers(self) -> None:
        """As `terminate_workers`."""
        self._kill()

    def _kill(self) -> None:
        with self._open_lock:
            self._fate.over = True
            self._lengthen()
            port = self._port
        if port is not None:
            port.kill()
            self._clean_up()

    def _clean_up(self) -> None:
        if self._token is not None:
            _future.forget(self._token)
        if self._plan is not None:
            self._plan.end()

    @property
    def _broken(self) -> str | bool:
        return self._fate.broken

    def __exit__(self, kind, value, trace):
        if kind is not None and issubclass(kind, KeyboardInterrupt):
            # What runs would have been interrupted too; nobody waits for it any more.
            self._kill()
        else:
            self.shutdown(wait=True)
        return False


def _find_bar():
    try:
        from tqdm.auto import tqdm
    except ImportError:
        raise ImportError("progress=True shows a bar of tqdm's, which is not installed: pip install tqdm") from None
    return tqdm

