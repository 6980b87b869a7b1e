"""``python -m procpool script.py args``: runs an unmodified program with this package in the place of the standard library's pools."""

from __future__ import annotations

import os
import runpy
import sys

from ._install import install

_USAGE = """usage: python -m procpool [-c code | -m module | script.py] [arguments]

Runs the program with the pools of concurrent.futures and multiprocessing replaced by procpool's.
"""


def main() -> int:
    """Runs what the command line says."""
    arguments = sys.argv[1:]
    if not arguments or arguments[0] in ("-h", "--help"):
        sys.stdout.write(_USAGE)
        return 0 if arguments else 2
    install()
    first, *rest = arguments
    if first in ("-c", "-m"):
        if not rest:
            sys.stderr.write(_USAGE)
            return 2
        what, *rest = rest
        sys.argv[:] = [first, *rest]
        if first == "-m":
            runpy.run_module(what, run_name="__main__", alter_sys=True)
        else:
            _run(compile(what, "<string>", "exec"), None)
        return 0
    sys.argv[:] = arguments
    sys.path[0] = os.path.dirname(os.path.abspath(first))
    try:
        with open(first, "rb") as file:
            source = file.read()
    except OSError as error:
        sys.stderr.write(f"procpool: cannot read the program {first}: {error.strerror}\n")
        return 2
    _run(compile(source, first, "exec"), first)
    return 0


def _run(code, path: str | None) -> None:
    """Runs ``code`` as ``__main__``, which it stays until the interpreter ends."""
    import types

    program = types.ModuleType("__main__")
    if path is not None:
        program.__file__ = path
    program.__dict__["__builtins__"] = __builtins__
    sys.modules["__main__"] = program
    exec(code, program.__dict__)


if __name__ == "__main__":
    sys.exit(main())
