"""The process that workers are copies of: this package loaded, one thread, nothing else."""

from __future__ import annotations

import gc
import os
import signal
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from . import _pickling


def command() -> list[str]:
    """The command line that starts one."""
    from subprocess import _args_from_interpreter_flags  # type: ignore[attr-defined]

    path = [entry for entry in sys.path if isinstance(entry, str)]
    start = f"import sys; sys.path[:] = {path!r}; from procpool._template import main; main()"
    return [sys.executable, *_args_from_interpreter_flags(), "-c", start]


def main() -> None:
    """Runs a template whose socket is standard input, and a worker in each copy."""
    socket = os.dup(0)
    empty = os.open(os.devnull, os.O_RDONLY)
    os.dup2(empty, 0)
    os.close(empty)
    serve(socket)


def serve(socket: int) -> None:
    """Runs a template with this socket; does not return."""
    from . import _core, _exit, _worker

    _exit.keep = None

    status = 1
    try:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        gc.collect()
        gc.freeze()
        worker = _core.make_copies(socket)
        if worker is None:
            status = 0
        else:
            status = _worker.work(*worker)
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        os._exit(status)


def fork(sent: _pickling.Sent) -> tuple[int, int]:
    """Makes a template of a copy of this process as it is now. Returns its pid and the socket to it."""
    import threading

    from . import _core, _exit, _pickling

    ours, theirs = _core.template_socket()
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (AttributeError, ValueError, OSError):
            pass
    sent.share_main()
    _exit.keep = theirs
    pid = os.fork()
    if pid == 0:
        try:
            os.setpgid(0, 0)
            _pickling.parent = sent
            # What is to happen at the end of the program is for the program alone.
            threading._threading_atexits[:] = []  # type: ignore[attr-defined]
            serve(theirs)
        finally:
            os._exit(1)
    _exit.keep = -1
    os.close(theirs)
    return pid, ours
