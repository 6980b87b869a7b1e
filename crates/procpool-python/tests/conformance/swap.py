"""Puts procpool in the place of the standard library's pools, in every interpreter of a virtual environment: `run.py` installs
this beside a .pth file that imports it, since some of CPython's tests start interpreters of their own."""

import os

if "PROCPOOL_CONFORMANCE" in os.environ:
    import concurrent.futures
    import concurrent.futures.process

    import procpool

    class ProcessPoolExecutor(procpool.ProcessPoolExecutor):
        def __init__(self, *args, **kwargs):
            kwargs.setdefault("on_crash", os.environ["PROCPOOL_CONFORMANCE"])
            super().__init__(*args, **kwargs)

    procpool.install()
    concurrent.futures.ProcessPoolExecutor = concurrent.futures.process.ProcessPoolExecutor = ProcessPoolExecutor
