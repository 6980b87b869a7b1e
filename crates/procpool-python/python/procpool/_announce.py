"""Tells joblib of the backend ``procpool``, whichever of the two is imported first."""

from __future__ import annotations

import sys


def _register() -> None:
    from ._joblib import register

    register()


def _add_to(parallel) -> None:
    # What joblib calls when somebody asks for a backend that it does not have. Older versions have nothing of the kind.
    backends = getattr(parallel, "EXTERNAL_BACKENDS", None)
    if backends is not None:
        backends["procpool"] = _register


class _Finder:
    """Waits until joblib is imported, once."""

    @classmethod
    def find_spec(cls, name, _path=None, _target=None):
        if name != "joblib.parallel":
            return None
        sys.meta_path.remove(cls)
        from importlib.util import find_spec

        spec = find_spec(name)
        if spec is not None and spec.loader is not None:
            run = spec.loader.exec_module

            def exec_module(module) -> None:
                run(module)
                _add_to(module)

            spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


def announce() -> None:
    """Does that."""
    parallel = sys.modules.get("joblib.parallel")
    if parallel is not None:
        _add_to(parallel)
    elif _Finder not in sys.meta_path:
        sys.meta_path.insert(0, _Finder)
