"""What happens to pools when the program ends, and in forks of it."""

from __future__ import annotations

import atexit
import os
import sys
import threading
import weakref

from . import _core

closing = False
#: The socket that a fork of this process is to keep; None: whatever is inherited.
keep: int | None = -1
_pools: weakref.WeakSet = weakref.WeakSet()


def remember(pool) -> None:
    """This pool is to be ended before the interpreter is."""
    _pools.add(pool)


def _at_exit() -> None:
    """Executors finish what they have accepted, as in the standard library; pools are terminated, as there."""
    global closing
    closing = True
    from . import _future, _template

    interrupted = getattr(sys, "last_type", None) is KeyboardInterrupt
    pools = list(_pools)
    try:
        for pool in pools:
            if interrupted:
                pool._kill()
            else:
                _end(pool)
        _core.join_lingering()
    except KeyboardInterrupt:
        for pool in pools:
            pool._kill()
    _future.stop_collector()
    _template.end_all()


def _end(pool) -> None:
    end = getattr(pool, "_at_exit", None)
    if end is not None:
        end()
    else:
        pool.shutdown(wait=True)


def _in_child() -> None:
    global _pools, closing
    closing = False
    _pools = weakref.WeakSet()
    _core.forked()
    for name in ("procpool._template", "procpool._future"):
        # Every worker begins here, and most need neither.
        module = sys.modules.get(name)
        if module is not None:
            module.after_fork()
    if keep is not None:
        _core.close_inherited(keep)


threading._register_atexit(_at_exit)  # type: ignore[attr-defined]
os.register_at_fork(before=_core.keep_lent, after_in_child=_in_child)
atexit.register(_core.finalize)
