"""Main memory that pretends to be a GPU's: the whole way of a device array, with threads run one after another."""

import contextlib
import ctypes
import functools
import sys
from types import SimpleNamespace

import numpy as np
from emulation import emulator, launches

ALIGNED = 256  # bytes


class Pretender:
    """An array of a framework of its own, on a device of a number."""

    def __init__(self, array, device=0, stream=7):
        self.array, self.device, self.stream = array, device, stream
        self.shape, self.dtype = array.shape, array.dtype

    @property
    def __cuda_array_interface__(self):
        return {
            "version": 3,
            "shape": self.array.shape,
            "typestr": self.array.dtype.str,
            "data": (self.array.__array_interface__["data"][0], not self.array.flags.writeable),
            "strides": self.array.strides,
            "stream": self.stream,
        }

    def __dlpack_device__(self):
        return 2, self.device

    def __array_namespace__(self):
        return SimpleNamespace(empty=lambda shape, dtype: Pretender(poisoned(shape, dtype), self.device, self.stream))

    def reshape(self, shape):
        return Pretender(self.array.reshape(shape), self.device, self.stream)


class OnHost(Pretender):
    """An array of the same framework in main memory."""

    def __dlpack_device__(self):
        return 1, 0

    def __dlpack__(self, **options):
        return self.array.__dlpack__(**options)


class Buffer:
    """Memory of the driver's pool."""

    def __init__(self, memory):
        self.memory, self.handle = memory, memory.ctypes.data


def poisoned(shape, dtype):
    """Allocate an array whose every byte is what no result has: what is not written shows.

    It begins where a GPU's allocations do: lanes of a fill value, too, lie at a multiple of their size.
    """
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    memory = np.full(size + ALIGNED, 0xAB, np.uint8)
    first = -memory.ctypes.data % ALIGNED
    return memory[first : first + size].view(dtype).reshape(shape)


class Driver:
    """What stands for the driver: a launch runs threads one after another, on arguments where a kernel reads them."""

    def __init__(self, device, launch):
        self.device, self.launch = device, launch
        self.kernels = {}  # by their handles, from 1
        self.stack = [0]  # of devices, the current one last

    def loaded(self, factory, spec, template, narrow, at):
        handle = len(self.kernels) + 1
        self.kernels[handle] = factory, spec, template, self.device.signature(template, narrow), at
        return handle

    def cuLaunchKernel(self, kernel, x, y, z, width, height, depth, shared, stream, pointers, extra):
        factory, spec, template, signature, at = self.kernels[kernel]
        assert self.stack[-1] == at
        assert (y, z, width, height, depth, shared, pointers) == (1, 1, self.device.BLOCK, 1, 1, 0, 0)
        items, *numbers = launches.unpacked(extra, signature)
        assert x == min(-(-items // width), 1 << 10) > 0
        self.launch(factory, spec, items, launches.nested(numbers, template), stream, at)
        return (0,)

    def cuMemsetD8Async(self, address, value, size, stream):
        ctypes.memset(address, value, size)
        return (0,)

    def cuCtxGetDevice(self):
        return 0, self.stack[-1]

    def cuCtxPushCurrent(self, context):
        self.stack.append(context)
        return (0,)

    def cuCtxPopCurrent(self):
        return 0, self.stack.pop()


@contextlib.contextmanager
def pretended(record=None, *, backwards=False, run=None):
    """Let the kernels' room for GPUs run on main memory; append what is launched to `record`, and let `run` do it."""
    device = sys.modules["stnkit.kernels.cuda.runtime"]
    names = ("tools", "machine", "_loaded", "queue_of", "read", "allocate", "is_capturing", "follow")
    kept = {name: getattr(device, name) for name in (*names, "WARP")}

    def launch(factory, spec, items, arguments, stream, at):
        if record is not None:
            record.append((factory.__name__, spec, items, stream, at))
        if run is not None:
            run(factory, spec, items, arguments, stream, at)
        elif backwards:
            emulator.backwards(factory, spec, items, arguments)
        else:
            emulator.launch(factory, spec, items, arguments, stream, at)

    driver = Driver(device, launch)
    device.tools = lambda: SimpleNamespace(driver=driver)
    device.machine = lambda at: device.Machine((9, 0), at)
    device._loaded = functools.cache(driver.loaded)
    device.queue_of = lambda handle: handle
    device.read, device.WARP = emulator.read, 1
    device.allocate = lambda size, stream, at: Buffer(poisoned((size,), np.uint8))
    device.is_capturing = lambda stream, at: False
    device.follow = lambda stream, other, at: None if record is None else record.append(("follow", stream, other, at))
    try:
        yield device
    finally:
        vars(device).update(kept)
    assert driver.stack == [0]


def lent(value):
    """Put an argument on the device, if it is an array."""
    return Pretender(value) if isinstance(value, np.ndarray) else value


def returned(results):
    """Take results from the device."""
    if isinstance(results, tuple):
        return tuple(None if result is None else result.array for result in results)
    return results.array
