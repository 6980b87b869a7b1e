"""What is raised when a task has no result of its own."""

from __future__ import annotations

from concurrent.futures import CancelledError
from concurrent.futures.process import BrokenProcessPool


class _Facts:
    """What is known of a failed task; attributes that nobody knows are None."""

    task: str | None = None
    index: int | None = None
    pid: int | None = None
    attempt: int | None = None
    signal: int | None = None
    exit_code: int | None = None
    peak_memory: int | None = None
    stderr: str | None = None


class WorkerDied(_Facts, BrokenProcessPool):
    """The worker died while it ran this task: a signal, an exit, the kernel's out-of-memory killer. The pool goes on."""


class TaskTimeout(_Facts, TimeoutError):
    """The task ran longer than its ``timeout`` or ``cpu_time``, and its worker was ended. The pool goes on."""


class TaskMemoryError(_Facts, MemoryError):
    """The task used more memory than its ``memory_limit``, and its worker was ended. The pool goes on."""


class WorkerStartError(_Facts, BrokenProcessPool):
    """No worker can be started: the initializer raises, say. The text has its traceback."""


class RemoteError(Exception):
    """Stands for an exception of a task that could not be pickled, or not unpickled here.

    ``type_name`` and ``message`` are those of the original; its traceback is the cause's text.
    """

    def __init__(self, type_name: str, message: str, why: str = "") -> None:
        super().__init__(type_name, message, why)
        self.type_name = type_name
        self.message = message
        self.why = why

    def __str__(self) -> str:
        note = f" (stands for that exception: {self.why})" if self.why else ""
        return f"{self.type_name}: {self.message}{note}"


def _describe(facts: dict) -> str:
    parts = []
    if facts["task"] is not None and facts["index"] is not None:
        parts.append(f"task {facts['index']} ({facts['task']}): ")
    parts.append(facts["message"])
    if facts["peak_memory"]:
        parts.append(f"; its worker had at most {facts['peak_memory'] / 1e6:.0f} MB of memory")
    if facts["attempt"] and facts["attempt"] > 1:
        parts.append(f"; begun {facts['attempt']} times")
    if facts["stderr"]:
        parts.append("\nThe last it printed on standard error:\n" + facts["stderr"].rstrip())
    return "".join(parts)


_KINDS = {
    "died": WorkerDied,
    "timed out": TaskTimeout,
    "out of memory": TaskMemoryError,
    "start": WorkerStartError,
}


def of_engine(kind: str, facts: dict) -> BaseException:
    """The exception for a failure that the engine tells."""
    if kind == "cancelled":
        return CancelledError()
    if kind == "closed":
        return BrokenProcessPool("The pool was shut down or terminated before this task had ended.")
    if kind == "usage":
        return RuntimeError(facts["message"])
    if kind == "os":
        return OSError(facts["message"])
    if kind == "encode":
        return RuntimeError(_describe(facts))
    error = _KINDS[kind](_describe(facts))
    for name, value in facts.items():
        if name != "message":
            setattr(error, name, value)
    return error
