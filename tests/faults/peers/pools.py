"""The pools of Python behind one face: start, submit, look at a task's outcome, cancel, map lazily, end."""

import multiprocessing.pool
from concurrent.futures import CancelledError, ProcessPoolExecutor

CHUNK = 1000


class Executor:
    """ProcessPoolExecutor, and what its fellows share with it."""

    has_timeout = False

    def __init__(self, workers, initializer=None, initargs=(), timeout=None):
        self.pool = self.make(workers, initializer, initargs)
        self.timeout = timeout

    def make(self, workers, initializer, initargs):
        return ProcessPoolExecutor(workers, initializer=initializer, initargs=initargs)

    def submit(self, function, *arguments):
        return self.pool.submit(function, *arguments)

    def done(self, task):
        return task.done()

    def error(self, task):
        """Why a task that has ended has no result."""
        try:
            return task.exception()
        except CancelledError as error:
            return error

    def cancel(self, task):
        return task.cancel()

    def map(self, function, inputs):
        return self.pool.map(function, inputs, chunksize=CHUNK)

    def shutdown(self):
        self.pool.shutdown()

    def end(self):
        """Ends the pool in the most forceful way it has."""
        self.pool.shutdown(cancel_futures=True)


class Loky(Executor):
    def make(self, workers, initializer, initargs):
        import loky

        return loky.ProcessPoolExecutor(workers, initializer=initializer, initargs=initargs)

    def end(self):
        self.pool.shutdown(kill_workers=True)


class Pebble(Executor):
    has_timeout = True

    def make(self, workers, initializer, initargs):
        import pebble

        return pebble.ProcessPool(workers, initializer=initializer, initargs=initargs)

    def submit(self, function, *arguments):
        return self.pool.schedule(function, args=arguments, timeout=self.timeout)

    def map(self, function, inputs):
        return self.pool.map(function, inputs, chunksize=CHUNK).result()

    def shutdown(self):
        self.pool.close()
        self.pool.join()

    def end(self):
        self.pool.stop()
        self.pool.join()


class Pool(Executor):
    def make(self, workers, initializer, initargs):
        return multiprocessing.pool.Pool(workers, initializer=initializer, initargs=initargs)

    def submit(self, function, *arguments):
        return self.pool.apply_async(function, arguments)

    def done(self, task):
        return task.ready()

    def error(self, task):
        try:
            task.get()
        except Exception as error:
            return error
        return None

    cancel = None

    def map(self, function, inputs):
        return self.pool.imap(function, inputs, chunksize=CHUNK)

    def shutdown(self):
        self.pool.close()
        self.pool.join()

    def end(self):
        self.pool.terminate()
        self.pool.join()


POOLS = {
    "ProcessPoolExecutor": Executor,
    "multiprocessing.Pool": Pool,
    "loky": Loky,
    "Pebble": Pebble,
}
