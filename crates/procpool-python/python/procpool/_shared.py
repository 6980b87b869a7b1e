"""Arrays that several processes see without a copy."""

from __future__ import annotations

import math
import mmap
import os


class _Memory:
    """Anonymous memory with a descriptor; in another process, the same memory."""

    def __init__(self, size: int, fd: int | None = None) -> None:
        self.size = size
        self.fd = os.memfd_create("procpool-array", os.MFD_CLOEXEC) if fd is None else fd
        if fd is None:
            os.ftruncate(self.fd, size)
        self.map = mmap.mmap(self.fd, size)

    def __reduce__(self):
        return _rebuild, (self.size, os.getpid(), self.fd)

    def __del__(self) -> None:
        try:
            os.close(self.fd)
        except OSError:
            pass


def _rebuild(size: int, pid: int, fd: int) -> _Memory:
    path = f"/proc/{pid}/fd/{fd}"
    return _Memory(size, os.open(path, os.O_RDWR | os.O_CLOEXEC))


def shared_array(shape, dtype="float64"):
    """An array of zeros whose memory all processes share that it is sent to: what one writes, all see. Needs NumPy.

    It lives as long as anybody has it, and leaves nothing behind; whoever sends it must have it until it has arrived, that is for an
    argument until the call has begun. Views of it and whatever is computed from it are ordinary
    arrays, which are copied when they are sent.
    """
    import numpy

    shape = (shape,) if isinstance(shape, int) else tuple(shape)
    dtype = numpy.dtype(dtype)
    size = max(1, math.prod(shape) * dtype.itemsize)
    return _make(_Memory(size), shape, dtype)


def _make(memory: _Memory, shape: tuple, dtype):

    return _array_class()(shape, dtype, buffer=memory.map, memory=memory)


def _array_class():
    global _SharedArray
    if _SharedArray is None:
        import numpy

        class SharedArray(numpy.ndarray):
            """An array in shared memory."""

            _memory: _Memory | None

            def __new__(cls, shape, dtype, buffer, memory):
                array = super().__new__(cls, shape, dtype, buffer)
                array._memory = memory
                return array

            def __array_finalize__(self, other) -> None:
                # A view is an ordinary array: it does not know where in the memory it lies.
                self._memory = None

            def __reduce_ex__(self, protocol):
                if self._memory is None:
                    return numpy.asarray(self).__reduce_ex__(protocol)
                return _make, (self._memory, self.shape, self.dtype)

        _SharedArray = SharedArray
    return _SharedArray


_SharedArray = None
