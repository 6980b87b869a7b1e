"""joblib on procpool: ``with joblib.parallel_config(backend="procpool")``.

joblib asks for it when it is named (`_announce`), or `procpool.register_joblib` makes it known.
"""

from __future__ import annotations

from joblib._parallel_backends import AutoBatchingMixin, ParallelBackendBase, SequentialBackend
from joblib.parallel import register_parallel_backend

from . import _core
from ._executor import ProcessPoolExecutor


class ProcpoolBackend(AutoBatchingMixin, ParallelBackendBase):
    """Runs batches of joblib's calls in a `ProcessPoolExecutor`."""

    supports_retrieve_callback = True
    supports_return_generator = True
    supports_inner_max_num_threads = True
    uses_threads = False
    supports_sharedmem = False

    _executor: ProcessPoolExecutor | None = None

    def effective_n_jobs(self, n_jobs):
        """How many workers ``n_jobs`` means here."""
        if n_jobs == 0:
            raise ValueError("n_jobs == 0 in Parallel has no meaning")
        if n_jobs is None:
            return 1
        if n_jobs < 0:
            return max(_core.available_cpus() + 1 + n_jobs, 1)
        return n_jobs

    def configure(self, n_jobs=1, parallel=None, prefer=None, require=None, **options):
        """Makes the pool."""
        n_jobs = self.effective_n_jobs(n_jobs)
        if n_jobs == 1:
            from joblib.parallel import FallbackToBackend

            raise FallbackToBackend(SequentialBackend(nesting_level=self.nesting_level))
        # What joblib itself has for its own workers.
        for name in ("temp_folder", "max_nbytes", "mmap_mode", "context", "context_id", "timeout", "verbose"):
            options.pop(name, None)
        env = self._prepare_worker_env(n_jobs)
        self._executor = ProcessPoolExecutor(n_jobs, worker_env=_Environment(env), **options)
        self.parallel = parallel
        return n_jobs

    def submit(self, func, callback=None):
        """Runs a batch."""
        future = self._executor.submit(func)
        if callback is not None:
            future.add_done_callback(callback)
        return future

    apply_async = submit

    def retrieve_result_callback(self, future):
        """What a batch gave; called by the callback."""
        return future.result()

    def retrieve_result(self, future, timeout=None):
        """The same, waited for."""
        return future.result(timeout)

    def terminate(self):
        """Ends the pool; what it was given has ended."""
        if self._executor is not None:
            self._executor.shutdown()
            self._executor = None
        self.reset_batch_stats()

    def abort_everything(self, ensure_ready=True):
        """Ends the pool and what runs in it."""
        if self._executor is not None:
            workers = self._executor._max_workers
            self._executor.kill_workers()
            self._executor = None
            if ensure_ready:
                self.configure(n_jobs=workers, parallel=self.parallel)


class _Environment:
    """The environment of workers, whichever they are."""

    def __init__(self, env: dict[str, str]) -> None:
        self.env = env

    def __call__(self, _number: int) -> dict[str, str]:
        return self.env


def register() -> None:
    """Tells joblib of the backend ``procpool``."""
    register_parallel_backend("procpool", ProcpoolBackend)
