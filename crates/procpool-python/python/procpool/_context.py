"""How workers are started: what of this process they are given, and from which process they are copied."""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import os
import pickle
import sys
from multiprocessing import context, process

from . import _core, _pickling, _template, _worker

_numbers = itertools.count(1)

#: How many threads the numeric libraries start for themselves.
_THREADS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
)


class _Descriptor:
    """A descriptor that processes of the same user open again: that of a pipe or a file."""

    def __init__(self, fd: int) -> None:
        self.path = f"/proc/{os.getpid()}/fd/{fd}"
        self.flags = fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_ACCMODE | os.O_CLOEXEC

    def detach(self) -> int:
        return os.open(self.path, self.flags)


class _Popen:
    """What multiprocessing asks for how to give things to a process that it starts."""

    def duplicate_for_child(self, fd: int) -> int:
        return fd

    def DupFd(self, fd: int) -> _Descriptor:  # noqa: N802
        return _Descriptor(fd)


@contextlib.contextmanager
def _spawning(allowed: bool):
    """Lets locks, queues and pipes of multiprocessing be pickled for workers, if that is allowed."""
    if not allowed:
        yield
        return
    context.set_spawning_popen(_Popen())
    try:
        yield
    finally:
        context.set_spawning_popen(None)


class Plan:
    """How the workers of one pool are started."""

    def __init__(
        self,
        workers: int,
        method: str | None,
        initializer,
        initargs: tuple,
        *,
        worker_env=None,
        cpu_affinity=None,
        preload=(),
        logging: bool = False,
        name: str,
    ) -> None:
        self.sent = _pickling.Sent()
        described = None
        fork = method == "fork"
        if initializer is not None and not fork:
            try:
                with _spawning(method is not None):
                    described, _ = _pickling.dump((initializer, tuple(initargs)), self.sent)
            except RuntimeError:
                # Locks and queues of multiprocessing, those of a context that forks, go to workers by inheritance only.
                if method is not None:
                    raise
                fork = True
        wishes = {
            "name": name,
            "workers": workers,
            "clean": not fork,
            "cwd": _cwd(),
            "environ": self._environment(workers),
            "path": [entry for entry in sys.path if isinstance(entry, str)],
            "argv": list(sys.argv),
            "main": self._main(),
            "authkey": bytes(process.current_process().authkey),
            "initializer": described,
            "inherited": None,
            "worker_env": None if worker_env is None else _pickling.dump(worker_env, self.sent)[0],
            "cpu_affinity": None if cpu_affinity is None else _pickling.dump(cpu_affinity, self.sent)[0],
            "logging": logging,
        }
        if not fork:
            self.template = _template.clean(preload)
        else:
            number = next(_numbers)
            if initializer is not None:
                wishes["inherited"] = number
                _worker.inherited[number] = (initializer, tuple(initargs))
            try:
                self.template = _core.Template.adopt(*_template.fork(self.sent))
            finally:
                _worker.inherited.pop(number, None)
        self.own_template = fork
        self.set_up = pickle.dumps(wishes)

    @staticmethod
    def _environment(workers: int) -> dict[str, str]:
        environment = dict(os.environ)
        if not any(name in environment for name in _THREADS):
            most = str(max(1, _core.available_cpus() // max(1, workers)))
            environment.update(dict.fromkeys(_THREADS, most))
        return environment

    @staticmethod
    def _main() -> dict:
        main = sys.modules.get("__main__")
        names = ("__file__", "__doc__")
        return {name: getattr(main, name) for name in names if isinstance(getattr(main, name, None), str)}

    def end(self) -> None:
        """Ends what only this pool has."""
        if self.own_template:
            self.template.end()


def _cwd() -> str:
    try:
        return os.getcwd()
    except OSError:
        return "/"
