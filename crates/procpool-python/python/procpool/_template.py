"""The process that workers are copies of: this package loaded, one thread, nothing else.

It is started before the program has loaded what it needs itself, so that both load at the same time.
"""

from __future__ import annotations

import gc
import os
import sys
import threading

from . import _core

#: As `typing` has it, which takes longer to load than all of this package.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from . import _pickling

#: What workers may want; whoever asks for a copy before it is there gets one without.
_LATER = (
    "procpool._plain",
    "procpool._byvalue",
    "concurrent.futures._base",
    "traceback",
    "multiprocessing.synchronize",
    "multiprocessing.queues",
)
#: For so many seconds nobody must have asked for a copy before the next of it is loaded.
_PAUSE = 0.01

_lock = threading.Lock()
#: By what they have loaded: each with the command that it was started with.
_clean: dict[tuple[str, ...], tuple[_core.Template, list[str]]] = {}


def method_of(wish) -> str | None:
    """``fork``, ``spawn``, ``forkserver``, or None for whatever is best: what a context, or its name, says."""
    if wish is None or isinstance(wish, str):
        return wish
    get = getattr(wish, "get_start_method", None)
    return get(allow_none=True) if get is not None else None


def preloads(wish: Sequence[str]) -> tuple[str, ...]:
    """The modules that clean processes are to have loaded: these, and those of ``multiprocessing.set_forkserver_preload``."""
    server = sys.modules.get("multiprocessing.forkserver")
    names = [] if server is None else server._forkserver._preload_modules
    return tuple(dict.fromkeys(name for name in (*names, *wish) if name != "__main__"))


def affinity(wish):
    """The CPUs of workers as they are sent: a function, or a list of sets."""
    if wish is not None and not callable(wish):
        wish = [{item} if isinstance(item, int) else set(item) for item in wish]
        allowed = os.sched_getaffinity(0)
        strange = set().union(*wish) - allowed
        if not wish or not all(wish) or strange:
            raise ValueError(f"cpu_affinity must have numbers of CPUs that this process may use, which are {sorted(allowed)}")
    return wish


def clean(preload: Sequence[str]) -> _core.Template:
    """The process that workers are copied from by default: one for all pools of this process that want the same modules in it."""
    key = tuple(preload)
    command = _command(key)
    with _lock:
        template, before = _clean.get(key, (None, None))
        if template is None or before != command:
            template = _core.Template.run(command)
            _clean[key] = template, command
        return template


def end_all() -> None:
    """Ends those processes, until they are needed again."""
    with _lock:
        for template, _ in _clean.values():
            template.end()


def after_fork() -> None:
    """In a fork of this process: they belong to the other one."""
    global _lock
    _lock = threading.Lock()
    _clean.clear()


def pids() -> list[int]:
    """Their process ids, of those that run."""
    return [template.pid for template, _ in _clean.values() if template.pid is not None]


def _command(preload: tuple[str, ...]) -> list[str]:
    path = [entry for entry in sys.path if isinstance(entry, str)]
    start = f"import sys; sys.path[:] = {path!r}; from procpool._template import main; main({preload!r})"
    return [sys.executable, *_flags(), "-c", start]


#: The flags of the interpreter without any option.
_NONE_SET = (
    "debug inspect interactive optimize dont_write_bytecode no_user_site no_site ignore_environment verbose bytes_warning quiet "
    "isolated dev_mode utf8_mode warn_default_encoding safe_path"
).split()


def _flags() -> list[str]:
    if not (sys.warnoptions or sys._xoptions or any(getattr(sys.flags, name, 0) for name in _NONE_SET)):
        # What comes now would load more than the whole package.
        return []
    from subprocess import _args_from_interpreter_flags  # type: ignore[attr-defined]

    return _args_from_interpreter_flags()


def main(preload: Sequence[str]) -> None:
    """Runs a template whose socket is standard input, and a worker in each copy."""
    # Nothing of what is loaded now will ever be garbage.
    gc.disable()
    socket = os.dup(0)
    empty = os.open(os.devnull, os.O_RDONLY)
    os.dup2(empty, 0)
    os.close(empty)
    for name in preload:
        try:
            __import__(name)
        except ImportError:
            # A task that needs it will say so.
            pass
    serve(socket, _LATER)


def serve(socket: int, later: Sequence[str]) -> None:
    """Runs a template with this socket, which loads ``later`` while nobody asks for a copy; does not return."""
    from . import _exit, _worker

    _exit.keep = None

    status = 1
    try:
        _core.ignore_interrupts()
        worker = None
        goes_on = True
        for name in later:
            worker, goes_on = _copies(socket, _PAUSE)
            if worker is not None or not goes_on:
                break
            __import__(name)
        else:
            worker, _ = _copies(socket, None)
        if worker is None:
            status = 0
        else:
            gc.enable()
            status = _worker.work(*worker)
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        os._exit(status)


def _copies(socket: int, pause: float | None) -> tuple[tuple[int, str] | None, bool]:
    gc.freeze()
    return _core.make_copies(socket, pause)


def fork(sent: _pickling.Sent) -> tuple[int, int]:
    """Makes a template of a copy of this process as it is now. Returns its pid and the socket to it."""
    from . import _exit, _pickling

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
            serve(theirs, ())
        finally:
            os._exit(1)
    _exit.keep = -1
    os.close(theirs)
    return pid, ours
