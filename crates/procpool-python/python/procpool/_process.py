"""Workers, as programs look at the processes of the standard library's pools."""

from __future__ import annotations

import os
import signal
import time


class WorkerProcess:
    """A worker, as far as others look at it."""

    def __init__(self, pid: int) -> None:
        self.pid = self.ident = pid

    def is_alive(self) -> bool:
        try:
            os.kill(self.pid, 0)
        except OSError:
            return False
        return True

    def terminate(self) -> None:
        """Sends SIGTERM."""
        os.kill(self.pid, signal.SIGTERM)

    def kill(self) -> None:
        """Sends SIGKILL."""
        os.kill(self.pid, signal.SIGKILL)

    def join(self, timeout=None) -> None:
        """Waits until it has ended; the pool reaps it."""
        end = None if timeout is None else time.monotonic() + timeout
        while self.is_alive() and (end is None or time.monotonic() < end):
            time.sleep(0.001)
