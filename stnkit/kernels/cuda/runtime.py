"""The one module that knows numba-cuda and cuda.core: what one thread does is compiled, loaded and launched here.

A factory returns, for a `Spec`, a Python function `thread(i, *arguments)` that captures the spec and zeros that carry
types. Its arguments are integers of 64 bits and tuples of them. The kernel around it lets each thread of the GPU take
the numbers i = 0 to items - 1 that are its own; numbers have 32 bits where they fit. Nothing but `read` waits for the
GPU, and memory is allocated only for frameworks without an allocator.
"""

import contextlib
import ctypes
import functools
import importlib
import importlib.util
import re
import struct
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any, NamedTuple

from numba import types
from numba.core.compiler_lock import global_compiler_lock

from stnkit.kernels.compiler.digests import digest
from stnkit.kernels.cuda import cubin_cache
from stnkit.kernels.cuda.cubin_cache import Code
from stnkit.kernels.cuda.linking import device_function
from stnkit.spec import Spec

Factory = Callable[[Spec], Any]
Template = tuple[int, ...]  # of arguments: the lengths of tuples, and 0 for a number

BLOCK = 128  # threads; with more, fewer of a kernel of many registers are at work
WARP = 32  # threads that go in step
BLOCKS = 1 << 20  # that are launched at most; beyond, a thread takes several numbers
NARROW = (1 << 31) - BLOCK * BLOCKS  # below so many items, a number and its next fit in 32 bits
LEGACY = 1  # the handle of the default stream that waits for others, which 0 need not mean to every driver
STREAMS = {0: "LEGACY_DEFAULT_STREAM", 1: "LEGACY_DEFAULT_STREAM", 2: "PER_THREAD_DEFAULT_STREAM"}
END, POINTER, SIZE = 0, 1, 2  # how `cuLaunchKernel` is told of arguments that are packed


class Machine(NamedTuple):
    """A GPU."""

    capability: tuple[int, int]
    context: Any


@functools.cache
def tools() -> SimpleNamespace:
    """Import what this module needs, when the first array on a GPU comes.

    Raises
    ------
    ImportError
        If a package is missing, or if numba-cuda uses what the installed NumPy no longer has.
    """
    missing = [name for name in ("numba_cuda", "cuda") if importlib.util.find_spec(name) is None]
    if missing:
        msg = (
            f"arrays on an NVIDIA GPU need the package numba-cuda, and {missing[0]!r} cannot be imported; "
            'run pip install "stnkit[cuda]", or, for a driver of CUDA 12, pip install "numba-cuda[cu12]" "numpy<2.5"'
        )
        raise ImportError(msg)
    import numba_cuda
    import numpy as np
    from cuda import core
    from cuda.bindings import driver, nvjitlink
    from numba import cuda
    from numba.cuda.cudadrv import nvrtc
    from numba.cuda.extending import intrinsic

    try:
        importlib.import_module("numba.cuda.np.arrayobj")  # which 0.30.4 cannot, without NumPy's row_stack
    except AttributeError as error:
        msg = (
            f"numba-cuda {numba_cuda.__version__} compiles nothing with NumPy {np.__version__} ({error}); "
            'run pip install "numpy<2.5", or install a newer numba-cuda'
        )
        raise ImportError(msg) from error
    versions = {"numba-cuda": numba_cuda.__version__, "cuda.core": core.__version__, "toolkit": nvjitlink.version()}
    return SimpleNamespace(
        core=core, driver=driver, cuda=cuda, nvrtc=nvrtc, intrinsic=intrinsic, versions=versions
    )  # fmt: skip


def compile(thread: Callable[..., None], signature: Any, capability: tuple[int, int]) -> Code:
    """Compile what one thread does, for GPUs of a compute capability; no GPU and no driver is needed.

    The compiler may contract a product and a sum to one instruction, and changes nothing else about numbers.
    """
    known = tools()
    with global_compiler_lock:
        kernel = _kernel(known.intrinsic(device_function(thread)))
        ptx, _ = known.cuda.compile(
            kernel, signature, cc=capability, output="ptx", device=False, abi="numba", fastmath=False
        )
    arch = known.nvrtc.get_arch_option(*capability).replace("compute", "sm")
    linker = known.core.Linker(
        known.core.ObjectCode.from_ptx(ptx.encode()), options=known.core.LinkerOptions(arch=arch, verbose=True)
    )
    cubin = linker.link("cubin").code
    log = linker.get_info_log() or ""
    registers, stores = re.search(r"Used (\d+) registers", log), re.search(r"(\d+) bytes spill stores", log)
    return Code(
        name=re.findall(r"\.entry\s+([\w$]+)", ptx)[0],
        cubin=bytes(cubin),
        registers=int(registers[1]) if registers else 0,
        spilled=int(stores[1]) if stores else 0,
        ptx=ptx,
    )


def template(arguments: tuple[Any, ...]) -> Template:
    """Return the template of a kernel's arguments."""
    return tuple([len(given) if type(given) is tuple else 0 for given in arguments])


def signature(template: Template, narrow: bool) -> Any:
    """Return the type of a kernel: how many items there are, and a thread's arguments."""
    arguments = [types.UniTuple(types.int64, length) if length else types.int64 for length in template]
    return types.void(types.int32 if narrow else types.int64, types.Tuple(arguments))


def code(factory: Factory, spec: Spec, template: Template, narrow: bool, capability: tuple[int, int]) -> Code:
    """Return the machine code of a kernel: as it was kept on disk, or compiled and kept."""
    import numba

    name = f"{factory.__module__}.{factory.__qualname__}"
    spec = spec._replace(digest=digest(factory.__module__, __name__))
    key = repr((name, tuple(spec), template, narrow, capability, numba.__version__, tools().versions))
    found = cubin_cache.find(key)
    if found is None:
        found = compile(factory(aimed(spec, capability)), signature(template, narrow), capability)
        cubin_cache.keep(key, found)
    return found


def aimed(spec: Spec, capability: tuple[int, int]) -> Spec:
    """Return a spec for GPUs of a compute capability: some have instructions that others lack."""
    major, minor = capability
    return spec._replace(capability=10 * major + minor)


def launch(factory: Factory, spec: Spec, items: int, arguments: tuple[Any, ...], stream: int, device: int) -> None:
    """Run on a GPU, on the stream with a handle, what `factory` says a thread does for each of `items` numbers."""
    go = ready(factory, spec, items, (), arguments, device)
    with current(device):
        go(queue_of(stream))


def ready(
    factory: Factory, spec: Spec, items: int, addresses: tuple[int, ...], numbers: tuple[Any, ...], device: int
) -> Callable[..., None]:
    """Return what launches a kernel with these numbers, in a queue of the current GPU, after as many addresses.

    What does not change is packed once, and each launch copies it and adds the addresses. All arguments are integers of
    64 bits, and the first is the number of items: a kernel that counts with 32 bits reads half of it.
    """
    kernel = _loaded(factory, spec, template((*addresses, *numbers)), items < NARROW, device)
    blocks, block, send = min(-(-items // BLOCK), BLOCKS), BLOCK, tools().driver.cuLaunchKernel
    flat = [word for given in numbers for word in (given if type(given) is tuple else (given,))]
    size = 8 * (1 + len(addresses) + len(flat))
    head = struct.Struct(f"<{7 + len(addresses)}q")  # five words for the driver, the size, and the first arguments
    packed = bytes(head.size) + struct.pack(f"<{len(flat)}q", *flat)
    copy, write, addressof = (ctypes.c_int64 * (len(packed) // 8)).from_buffer_copy, head.pack_into, ctypes.addressof

    def go(queue: Any, *addresses: int) -> None:
        words = copy(packed)  # of this launch alone, as threads launch at the same time
        at = addressof(words)
        write(words, 0, POINTER, at + 48, SIZE, at + 40, END, size, items, *addresses)
        result = send(kernel, blocks, 1, 1, block, 1, 1, 0, queue, 0, at)
        if result[0]:
            _done(result)

    return go


def clear(address: int, size: int, stream: int, device: int) -> None:
    """Set memory to zero, in the order of a stream."""
    go = clearing(size)
    with current(device):
        go(queue_of(stream), address)


def clearing(size: int) -> Callable[[Any, int], None]:
    """Return what sets so many bytes to zero, in a queue of the current GPU."""
    send = tools().driver.cuMemsetD8Async

    def go(queue: Any, address: int) -> None:
        result = send(address, 0, size, queue)
        if result[0]:
            _done(result)

    return go


def read(address: int, size: int, stream: int, device: int) -> bytes:
    """Return what lies in a GPU's memory, once all that a stream was given before is done."""
    driver, host = tools().driver, bytearray(size)
    with current(device):
        buffer = (ctypes.c_char * size).from_buffer(host)
        _done(driver.cuMemcpyDtoHAsync(ctypes.addressof(buffer), address, size, queue_of(stream)))
        _done(driver.cuStreamSynchronize(queue_of(stream)))
    return bytes(host)


def allocate(size: int, stream: int, device: int) -> Any:
    """Allocate memory for frameworks without an allocator: a buffer, whose `handle` is its address."""
    with current(device):
        return tools().core.Device(device).memory_resource.allocate(size, stream=_stream(stream))


def follow(stream: int, other: int, device: int) -> None:
    """Let what is launched on a stream from now on wait for what was launched on another one."""
    with current(device):
        _stream(stream).wait(_stream(other))


def is_capturing(stream: int, device: int) -> bool:
    """Tell whether a stream's work is being recorded for a graph."""
    driver = tools().driver
    with current(device):
        (status,) = _done(driver.cuStreamIsCapturing(queue_of(stream)))[:1]
    return bool(status != driver.CUstreamCaptureStatus.CU_STREAM_CAPTURE_STATUS_NONE)


def device_of(address: int) -> int:
    """Return the number of the GPU whose memory an address lies in."""
    driver = tools().driver
    _driver()
    attribute = driver.CUpointer_attribute.CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL
    return int(_done(driver.cuPointerGetAttribute(attribute, address))[0])


@functools.cache
def machine(device: int) -> Machine:
    """Open a GPU.

    Raises
    ------
    RuntimeError
        If there is no driver, if it is too old, or if the GPU cannot be opened.
    """
    _driver()
    driver = tools().driver
    attributes = driver.CUdevice_attribute
    try:
        (handle,) = _done(driver.cuDeviceGet(device))
        major, minor = (
            int(_done(driver.cuDeviceGetAttribute(attribute, handle))[0])
            for attribute in (
                attributes.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR,
                attributes.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR,
            )
        )
        (context,) = _done(driver.cuDevicePrimaryCtxRetain(handle))
    except RuntimeError as error:
        msg = f"CUDA device {device} cannot be opened: {error}"
        raise RuntimeError(msg) from error
    return Machine((major, minor), context)


@functools.cache
def _driver() -> None:
    """Start the driver, which must be as new as the toolkit that compiles."""
    driver, (major, minor) = tools().driver, tools().versions["toolkit"]
    try:
        _done(driver.cuInit(0))
        (version,) = _done(driver.cuDriverGetVersion())
    except Exception as error:  # each release of the bindings has its own for a missing driver
        msg = f"no NVIDIA driver can be started, so that arrays on a GPU cannot be read: {error}"
        raise RuntimeError(msg) from error
    if version // 1000 < major:
        msg = (
            f"the NVIDIA driver supports CUDA {version // 1000}.{version % 1000 // 10}, and the compiling toolkit is "
            f'{major}.{minor}; update the driver, or run pip install "numba-cuda[cu{version // 1000}]"'
        )
        raise RuntimeError(msg)


def _done(result: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return what a function of the driver gave, or raise what it says."""
    status, *given = result
    if int(status) != 0:
        raise RuntimeError(getattr(status, "name", str(status)))
    return tuple(given)


@contextlib.contextmanager
def current(device: int) -> Iterator[None]:
    """Make a GPU the current one, and then the one that was."""
    pushed = push(device)
    try:
        yield
    finally:
        if pushed:
            pop()


def push(device: int) -> bool:
    """Make a GPU's own context the current one, unless one of this GPU is; return whether it was not."""
    driver = tools().driver
    status, found = driver.cuCtxGetDevice()
    if not status and int(found) == device:
        return False
    _done(driver.cuCtxPushCurrent(machine(device).context))
    return True


def pop() -> None:
    """Make the GPU current that was before `push`."""
    _done(tools().driver.cuCtxPopCurrent())


@functools.lru_cache(maxsize=4096)
def _loaded(factory: Factory, spec: Spec, template: Template, narrow: bool, device: int) -> Any:
    """Load a kernel to a GPU."""
    driver = tools().driver
    found = code(factory, spec, template, narrow, machine(device).capability)
    with current(device):
        (library,) = _done(driver.cuLibraryLoadData(found.cubin, [], [], 0, [], [], 0))
        (kernel,) = _done(driver.cuLibraryGetKernel(library, found.name.encode()))
    return driver.CUfunction(int(kernel))


@functools.lru_cache(maxsize=256)
def queue_of(handle: int) -> Any:
    """Return what functions of the driver take for a stream."""
    return tools().driver.CUstream(handle or LEGACY)


@functools.lru_cache(maxsize=256)
def _stream(handle: int) -> Any:
    """Return what cuda.core takes for a stream, which its framework owns."""
    core = tools().core
    return getattr(core, STREAMS[handle]) if handle in STREAMS else core.Stream.from_handle(handle)


def _kernel(body: Callable[..., Any]) -> Callable[..., None]:
    """Return what each thread of a GPU runs: `body(i, arguments)` for the numbers that are its own."""
    cuda = tools().cuda

    def kernel(items, arguments):
        index = type(items)
        i = index(cuda.grid(1))
        while i < items:
            body(i, arguments)
            i = index(i + index(cuda.gridsize(1)))

    return kernel
