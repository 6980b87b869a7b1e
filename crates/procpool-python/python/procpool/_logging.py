"""Log records of workers go to the loggers of the same names in the program.

They travel as lines of standard error that begin with a mark; the program takes those out of what workers print.
"""

from __future__ import annotations

import json
import logging
import os
import sys

_MARK = "\x01procpool-log:"


class _Sender(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        try:
            fields = {**record.__dict__, "msg": record.getMessage(), "args": None, "exc_info": None}
            if record.exc_info:
                fields["exc_text"] = logging.Formatter().formatException(record.exc_info)
            plain = {name: value for name, value in fields.items() if isinstance(value, (str, int, float, type(None)))}
            line = _MARK + json.dumps(plain) + "\n"
            os.write(2, line.encode())
        except Exception:
            self.handleError(record)


def send_records() -> None:
    """In a worker: sends all records instead of handling them here."""
    root = logging.getLogger()
    root.handlers[:] = [_Sender()]
    root.setLevel(logging.NOTSET)


def receiver(output):
    """What takes the lines that workers print: gives records to the loggers here, and others to ``output``."""

    def take(pid: int, is_stderr: bool, text: str) -> None:
        if is_stderr and text.startswith(_MARK):
            record = logging.makeLogRecord(json.loads(text[len(_MARK) :]))
            logger = logging.getLogger(record.name)
            if logger.isEnabledFor(record.levelno):
                logger.handle(record)
        elif output is not None:
            output(pid, is_stderr, text)
        else:
            print(text, file=sys.stderr if is_stderr else sys.stdout, flush=True)

    return take
