"""What a worker does before its first task and after its last."""

from __future__ import annotations

import os
import pickle
import sys
import types
from multiprocessing import process, util

from . import _core

#: What a template that is a fork of the program has inherited, by the number of its pool.
inherited: dict[int, tuple] = {}

number = 0


class _Worker(process.BaseProcess):
    """This process, as ``multiprocessing.current_process()`` shows it."""

    def _bootstrap(self, *_):
        raise RuntimeError("this process was started by procpool")


class _Parent:
    """The program, as ``multiprocessing.parent_process()`` shows it."""

    def __init__(self, pid: int) -> None:
        self.name, self.pid, self.ident, self.exitcode, self.daemon = "MainProcess", pid, pid, None, False

    def is_alive(self) -> bool:
        return os.getppid() == self.pid

    def __repr__(self) -> str:
        return f"<_ParentProcess name={self.name!r} pid={self.pid}>"


def work(socket: int, name: str) -> int:
    """Serves the pool at the other end of ``socket`` until it is done with this process; returns the exit code."""
    global number
    number = int(name.rpartition("-")[2] or 0)
    _core.serve(socket, set_up, finish)
    return 0


def finish() -> None:
    """Does what a process of multiprocessing does at its end."""
    try:
        util._exit_function()
    finally:
        util._flush_std_streams()


def set_up(data: bytes, _runs: list) -> str | None:
    """Gets ready as the pool wishes. Returns why this worker cannot work, or None."""
    wishes = pickle.loads(data)
    try:
        _dress(wishes)
        initializer = wishes["initializer"]
        if wishes["inherited"] is not None:
            initializer, initargs = inherited[wishes["inherited"]]
        elif initializer is not None:
            initializer, initargs = pickle.loads(initializer)
        if initializer is not None:
            initializer(*initargs)
    except BaseException:
        import traceback
        from concurrent.futures._base import LOGGER

        LOGGER.critical("Exception in initializer:", exc_info=True)
        why = "its initializer failed\n" + traceback.format_exc()
        # Before the pool hears of it and ends this process: what was logged may wait in a queue.
        finish()
        return why
    return None


def _cpus(affinity, seat: int) -> set[int]:
    wish = affinity(seat) if callable(affinity) else affinity[seat % len(affinity)]
    return {wish} if isinstance(wish, int) else set(wish)


def _dress(wishes: dict) -> None:
    me = _Worker(name=f"{wishes['name']}-{number + 1}")
    me._identity = (number + 1,)  # type: ignore[attr-defined]
    me._parent_pid = os.getppid()  # type: ignore[attr-defined]
    me._config = {"authkey": process.AuthenticationString(wishes["authkey"]), "semprefix": "/mp"}  # type: ignore[attr-defined]
    me._popen = None  # type: ignore[attr-defined]
    process._current_process = me  # type: ignore[attr-defined]
    process._parent_process = _Parent(os.getppid())  # type: ignore[attr-defined]
    if wishes["clean"]:
        os.chdir(wishes["cwd"])
        os.environ.clear()
        os.environ.update(wishes["environ"])
        sys.path[:] = wishes["path"]
        sys.argv[:] = wishes["argv"]
        main = types.ModuleType("__main__")
        main.__dict__.update(wishes["main"])
        sys.modules["__main__"] = sys.modules["__mp_main__"] = main
    seat = number % wishes["workers"]
    if wishes["cpu_affinity"] is not None:
        os.sched_setaffinity(0, _cpus(pickle.loads(wishes["cpu_affinity"]), seat))
    if wishes["worker_env"] is not None:
        os.environ.update(pickle.loads(wishes["worker_env"])(seat))
    for stream in (sys.stdout, sys.stderr):
        try:
            # Lines are passed on as they are printed; and what the program itself had not written yet is not ours.
            stream.reconfigure(line_buffering=True)
        except (AttributeError, ValueError, OSError):
            pass
    if wishes["logging"]:
        from . import _logging

        _logging.send_records()
