"""Futures: lean as long as somebody only waits for the result, whole as soon as anybody wants to be told."""

from __future__ import annotations

import itertools
import threading
from concurrent.futures import CancelledError, InvalidStateError, _base

from . import _core

_lock = threading.RLock()
_tokens = itertools.count(1)
#: What the collector is to call, by token.
_listeners: dict[int, object] = {}
_collector: threading.Thread | None = None
#: Whether it waits for as long as it takes.
_waits = False


class _Watch:
    """What a future has that somebody wants to hear of."""

    __slots__ = ("callbacks", "condition", "published", "waiters")

    def __init__(self) -> None:
        self.condition = threading.Condition()
        self.waiters: list = []
        self.callbacks: list = []
        self.published = False


def listen(callback) -> int:
    """The number with which the engine can have ``callback`` called, on the collector's thread."""
    token = next(_tokens)
    with _lock:
        _listeners[token] = callback
        _start_collector()
    return token


def forget(token: int) -> None:
    """Nothing is to be called for this number any more."""
    with _lock:
        _listeners.pop(token, None)
        wake = _waits and not _listeners
    if wake:
        _core.wake_collector()


def _start_collector() -> None:
    global _collector
    with _lock:
        if _collector is None or not _collector.is_alive():
            _core.close_collector(False)
            _collector = threading.Thread(target=_collect, name="procpool-collector", daemon=True)
            _collector.start()


#: Seconds for which the collector stays when there is nothing to be told.
_IDLE = 0.05


def _collect() -> None:
    global _collector, _waits
    while True:
        with _lock:
            _waits = wait = bool(_listeners)
        ended = _core.collect(3600.0 if wait else _IDLE)
        if ended is None:
            return
        if not ended and not wait:
            with _lock:
                if not _listeners and _collector is threading.current_thread():
                    _collector = None
                    return
        for token in ended:
            callback = _listeners.get(token)
            if callback is not None:
                try:
                    callback(token)
                except BaseException:
                    _base.LOGGER.exception("exception on the thread that tells of ended futures")
        callback = None


def stop_collector() -> None:
    """Ends the collector's thread, if there is one."""
    global _collector
    thread, _collector = _collector, None
    if thread is not None:
        _core.close_collector(True)
        if thread is not threading.current_thread():
            thread.join()


def after_fork() -> None:
    """In a fork of this process, which has none of its threads."""
    global _lock, _collector
    _lock = threading.RLock()
    _collector = None
    _listeners.clear()


class Future(_core.FutureBase, _base.Future):
    """A call that was submitted: a `concurrent.futures.Future`.

    ``cancel()`` also ends a call that runs, with its worker.
    """

    _watch: _Watch | None = None

    def __init__(self, *_args, **_kwargs) -> None:
        pass

    def cancel(self) -> bool:
        """Cancels the call; one that runs is ended, and its worker replaced. False if it has ended before."""
        with _lock:
            if not self._cancel():
                return self.cancelled()
            watch = self._watch
        if watch is not None:
            self._publish(watch)
        return True

    def add_done_callback(self, fn) -> None:
        """Calls ``fn`` with the future once it has ended: on a thread of the package's, or at once if it has."""
        watch = self._watched()
        with watch.condition:
            if not watch.published:
                watch.callbacks.append(fn)
                return
        self._call(fn)

    def _call(self, fn) -> None:
        try:
            fn(self)
        except Exception:
            _base.LOGGER.exception("exception calling callback for %r", self)

    def _watched(self) -> _Watch:
        watch = self._watch
        if watch is None:
            with _lock:
                watch = self._watch
                if watch is None:
                    watch = _Watch()
                    token = listen(self._ended)
                    if not self._tell(token):
                        forget(token)
                        watch.published = True
                    self._watch = watch
        return watch

    def _ended(self, token: int) -> None:
        forget(token)
        with _lock:
            watch = self._watch
        self._publish(watch)

    def _publish(self, watch: _Watch) -> None:
        try:
            tell = "add_exception" if self.exception() is not None else "add_result"
        except CancelledError:
            tell = "add_cancelled"
        with watch.condition:
            if watch.published:
                return
            watch.published = True
            for waiter in watch.waiters:
                getattr(waiter, tell)(self)
            watch.condition.notify_all()
        callbacks, watch.callbacks = watch.callbacks, []
        for fn in callbacks:
            self._call(fn)

    # What the functions of concurrent.futures look at.

    @property
    def _condition(self) -> threading.Condition:
        return self._watched().condition

    @property
    def _waiters(self) -> list:
        return self._watched().waiters

    @property
    def _done_callbacks(self) -> list:
        return self._watched().callbacks

    @property
    def _state(self) -> str:
        watch = self._watch
        if watch.published if watch is not None else self.done():
            return _base.CANCELLED_AND_NOTIFIED if self.cancelled() else _base.FINISHED
        return _base.RUNNING if self.running() else _base.PENDING

    @property
    def _result(self):
        return None if not self.done() or self.cancelled() or self.exception() is not None else self.result()

    @property
    def _exception(self):
        return None if not self.done() or self.cancelled() else self.exception()

    def set_running_or_notify_cancel(self) -> bool:
        raise InvalidStateError("the pool sets what becomes of this future")

    def set_result(self, result) -> None:
        raise InvalidStateError("the pool sets what becomes of this future")

    def set_exception(self, exception) -> None:
        raise InvalidStateError("the pool sets what becomes of this future")
