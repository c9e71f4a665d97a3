"""Kernels for GPUs around their numbers: compiled without a GPU, kept on disk, launched on what stands for a driver."""

import ctypes
import functools
import re
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from emulation import emulator, launches

from stnkit.kernels.compiler.jit import pointer
from stnkit.kernels.cuda import cubin_cache, elementwise, runtime
from stnkit.kernels.cuda.cubin_cache import Code
from stnkit.spec import FLOAT16, Spec

SPEC = Spec(ndim=2, digest=1)


@functools.cache
def shifted(spec):
    """Write out[i] = source[i * step] + ndim, which is as little as a kernel can do."""
    like = np.float32(0)

    def thread(i, out_at, source_at, steps):
        value = pointer(source_at, like)[i * steps[0]]
        pointer(out_at, like)[i * steps[1]] = value + type(like)(spec.ndim)

    return thread


TEMPLATE = (0, 0, 2)
CODE = Code("entry", bytes(range(256)), 12, 0)


@pytest.fixture
def shelf(tmp_path, monkeypatch):
    """Keep code in a directory of the test's own."""
    cubin_cache.directory.cache_clear()
    monkeypatch.setattr("numba.config.CACHE_DIR", str(tmp_path))
    yield tmp_path
    cubin_cache.directory.cache_clear()


@pytest.fixture
def driver(monkeypatch):
    """Put what records calls in the place of the driver; devices 0 and 1 are there, and 0 is current.

    Arguments of a launch are read where the signature that a kernel was compiled with puts them.
    """
    calls, stack, signatures = [], [0], []
    version = [13050]
    told = SimpleNamespace(status=0)

    class Status(int):
        name = "CUDA_ERROR_INVALID_DEVICE"

    def copied(to, *given):
        calls.append(("read", stack[-1], *given))
        ctypes.memset(to, 7, 3)
        return (0,)

    def launched(kernel, *given):
        *shape, stream, pointers, extra = given
        assert pointers == 0
        if told.status:
            return (Status(told.status),)
        calls.append(("launch", stack[-1], stream, tuple(shape), kernel, *launches.unpacked(extra, signatures[-1])))
        return (0,)

    def cleared(*given):
        if told.status:
            return (Status(told.status),)
        calls.append(("clear", stack[-1], *given))
        return (0,)

    def compiled(thread, signature, capability):
        signatures.append(signature)
        return CODE

    driver = SimpleNamespace(
        cuInit=lambda flags: (0,),
        cuDriverGetVersion=lambda: (0, version[0]),
        cuDeviceGet=lambda device: (0, device) if device < 2 else (Status(101), None),
        CUdevice_attribute=SimpleNamespace(
            CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR=9,
            CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR=0,
        ),
        cuDeviceGetAttribute=lambda attribute, device: (0, attribute),
        cuDevicePrimaryCtxRetain=lambda device: (0, device),
        cuCtxGetDevice=lambda: (0, stack[-1]) if stack else (Status(201), None),
        cuCtxPushCurrent=lambda context: (stack.append(context), (0,))[1],
        cuCtxPopCurrent=lambda: (0, stack.pop()),
        cuLibraryLoadData=lambda code, *options: (0, len(code)) if options == ([], [], 0, [], [], 0) else (Status(1),),
        cuLibraryGetKernel=lambda library, name: (0, library + len(name)),
        cuLaunchKernel=launched,
        cuMemsetD8Async=cleared,
        cuMemcpyDtoHAsync=copied,
        cuStreamSynchronize=lambda *given: (calls.append(("wait", stack[-1], *given)), (0,))[1],
        CUfunction=lambda handle: ("kernel", handle),
        CUstream=lambda handle: ("stream", handle),
    )
    tools = SimpleNamespace(driver=driver, versions={"toolkit": (13, 5)})
    monkeypatch.setattr(runtime, "tools", lambda: tools)
    monkeypatch.setattr(runtime, "compile", compiled)
    remembered = (runtime.machine, runtime._driver, runtime._loaded, runtime.queue_of)
    for function in remembered:
        function.cache_clear()
    yield SimpleNamespace(calls=calls, stack=stack, version=version, told=told, driver=driver)
    for function in remembered:
        function.cache_clear()


KERNEL = ("kernel", len(CODE.cubin) + len(CODE.name))


def test_a_launch_is_pointers_and_integers(driver, shelf):
    runtime.launch(shifted, SPEC, 1000, (640, 1280, (2, -1)), 77, 0)
    shape = 8, 1, 1, runtime.BLOCK, 1, 1, 0
    assert driver.calls == [("launch", 0, ("stream", 77), shape, KERNEL, 1000, 640, 1280, 2, -1)]


def test_many_items_are_taken_by_as_many_blocks_as_pay(driver, shelf):
    """Their number has 64 bits where 32 do not hold it, and the next that a thread takes."""
    few = runtime.NARROW - 1
    for items in (few, few + 1, 1 << 33):
        runtime.launch(shifted, SPEC, items, (640, 1 << 40, (2, 1 << 35)), 0, 0)
    legacy = ("stream", runtime.LEGACY)
    for call, items in zip(driver.calls, (few, few + 1, 1 << 33), strict=True):
        shape = runtime.BLOCKS, 1, 1, runtime.BLOCK, 1, 1, 0
        assert call == ("launch", 0, legacy, shape, KERNEL, items, 640, 1 << 40, 2, 1 << 35)


def test_what_is_ready_takes_addresses_and_streams(driver, shelf):
    """Time after time, and while another launch is under way: as threads do."""
    go = runtime.ready(shifted, SPEC, 5, (0, 0), ((2, 1),), 0)
    within, launched = [], driver.driver.cuLaunchKernel

    def interrupted(*given):
        if not within:
            within.append(go)
            go(("stream", 8), 3, 4)
        return launched(*given)

    driver.driver.cuLaunchKernel = interrupted
    go = runtime.ready(shifted, SPEC, 5, (0, 0), ((2, 1),), 0)
    go(("stream", 7), 1, 2)
    go(("stream", 2), 5, 6)
    shape = (1, 1, 1, runtime.BLOCK, 1, 1, 0)
    assert driver.calls == [
        ("launch", 0, ("stream", stream), shape, KERNEL, 5, *places, 2, 1)
        for stream, places in ((8, (3, 4)), (7, (1, 2)), (2, (5, 6)))
    ]


def test_another_device_is_current_while_it_is_used_and_not_after(driver, shelf):
    runtime.launch(shifted, SPEC, 1, (640, 1280, (2, 1)), 2, 1)
    runtime.clear(64, 8, 5, 1)
    assert driver.calls[0][:3] == ("launch", 1, ("stream", 2))
    assert driver.calls[1:] == [("clear", 1, 64, 0, 8, ("stream", 5))]
    assert driver.stack == [0]


def test_a_thread_that_has_used_no_device_yet(driver, shelf):
    driver.stack.clear()
    runtime.launch(shifted, SPEC, 1, (640, 1280, (2, 1)), 2, 1)
    assert driver.calls[0][:3] == ("launch", 1, ("stream", 2))
    assert driver.stack == []


def test_what_is_read_has_arrived(driver):
    assert runtime.read(64, 3, 5, 1) == bytes([7, 7, 7])
    assert driver.calls == [("read", 1, 64, 3, ("stream", 5)), ("wait", 1, ("stream", 5))]
    assert driver.stack == [0]


def test_what_fails_says_so_and_leaves_the_context_as_it_was(driver, shelf):
    def launch():
        runtime.launch(shifted, SPEC, 1, (640, 1280, (2, 1)), 2, 1)

    def clear():
        runtime.clear(64, 8, 5, 1)

    for do in (launch, clear):
        driver.told.status = 101
        with pytest.raises(RuntimeError, match="CUDA_ERROR_INVALID_DEVICE"):
            do()
        assert driver.stack == [0]
        driver.told.status = 0
        do()
        assert driver.stack == [0]
    assert [call[:2] for call in driver.calls] == [("launch", 1), ("clear", 1)]


def test_a_driver_that_is_too_old_is_told_before_anything_is_launched(driver, shelf):
    driver.version[0] = 12040
    with pytest.raises(
        RuntimeError, match=r"supports CUDA 12\.4, and the compiling toolkit is 13\.5.*numba-cuda\[cu12\]"
    ):
        runtime.launch(shifted, SPEC, 1, (640, 1280, (2, 1)), 0, 0)
    assert driver.calls == []


def test_a_device_that_is_not_there(driver, shelf):
    with pytest.raises(RuntimeError, match="CUDA device 7 cannot be opened: CUDA_ERROR_INVALID_DEVICE"):
        runtime.launch(shifted, SPEC, 1, (640, 1280, (2, 1)), 0, 7)
    assert driver.calls == []


def test_no_driver(driver, shelf):
    def missing(flags):
        msg = "libcuda.so.1: not found"
        raise OSError(msg)

    driver.driver.cuInit = missing
    with pytest.raises(RuntimeError, match=r"no NVIDIA driver can be started.*libcuda\.so\.1"):
        runtime.launch(shifted, SPEC, 1, (640, 1280, (2, 1)), 0, 0)


def test_a_missing_package_is_named_and_nothing_is_imported(monkeypatch):
    runtime.tools.cache_clear()
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    before = set(sys.modules)
    with pytest.raises(ImportError, match=r'pip install "stnkit\[cuda\]".*numba-cuda\[cu12\]'):
        runtime.tools()
    assert set(sys.modules) == before


def test_a_numpy_that_the_compiler_cannot_use_is_named(compiler, monkeypatch):
    """And found before any kernel is compiled; later calls say so, too."""
    import numba_cuda

    broken = "numba.cuda.np.arrayobj"

    class Finder:
        @staticmethod
        def find_spec(name, *_):
            if name == broken:
                msg = "module 'numpy' has no attribute 'row_stack'"
                raise AttributeError(msg)

    runtime.tools.cache_clear()
    monkeypatch.delitem(sys.modules, broken, raising=False)
    monkeypatch.setattr(sys, "meta_path", [Finder, *sys.meta_path])
    versions = rf"numba-cuda {re.escape(numba_cuda.__version__)} .* NumPy {re.escape(np.__version__)} .*row_stack"
    for _ in range(2):
        with pytest.raises(ImportError, match=rf'{versions}.*pip install "numpy<2\.5"'):
            runtime.tools()


def test_code_is_kept_and_found_by_its_whole_key(driver, shelf, monkeypatch):
    compiled = []
    monkeypatch.setattr(runtime, "compile", lambda *given: compiled.append(given) or CODE)
    asked = (shifted, SPEC, TEMPLATE, True, (9, 0))
    assert runtime.code(*asked) == runtime.code(*asked) == CODE
    assert len(compiled) == 1
    others = [
        (elementwise.constant, *asked[1:]),
        (shifted, SPEC, (0, 0, 3), True, (9, 0)),
        (shifted, SPEC, TEMPLATE, False, (9, 0)),
        (shifted, SPEC, TEMPLATE, True, (8, 0)),
    ]
    for other in others:
        runtime.code(*other)
    monkeypatch.setattr(runtime, "digest", lambda *rooms: 2)
    runtime.code(*asked)
    monkeypatch.setattr("numba.__version__", "0.0")
    runtime.code(*asked)
    runtime.tools().versions["toolkit"] = (13, 6)
    runtime.code(*asked)
    assert len(compiled) == 1 + len(others) + 3


def test_broken_files_are_written_anew(shelf):
    cubin_cache.keep("key", CODE)
    (path,) = (shelf / "stnkit_cubins").iterdir()
    whole = path.read_bytes()
    for broken in (b"", whole[:-1], whole[:20], whole[:-1] + b"\0", b"\n\n", b"\xff" * 100):
        path.write_bytes(broken)
        assert cubin_cache.find("key") is None
        cubin_cache.keep("key", CODE)
        assert cubin_cache.find("key") == CODE
    assert cubin_cache.find("another key") is None
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_without_a_directory_nothing_is_kept(monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    cubin_cache.directory.cache_clear()
    monkeypatch.setattr("numba.config.CACHE_DIR", str(tmp_path / "file"))
    cubin_cache.keep("key", CODE)
    assert cubin_cache.find("key") is None
    cubin_cache.directory.cache_clear()


def test_the_emulator_runs_every_thread(plain):
    source, out = np.arange(8, dtype=np.float32), np.zeros(4, np.float32)
    emulator.launch(shifted, SPEC, 4, (out.ctypes.data, source.ctypes.data, (2, 1)), 0, 0)
    np.testing.assert_array_equal(out, [2, 4, 6, 8])
    emulator.clear(out.ctypes.data, 8, 0, 0)
    np.testing.assert_array_equal(out, [0, 0, 6, 8])
    assert emulator.read(out.ctypes.data + 8, 8, 0, 0) == out[2:].tobytes()


def test_the_compiled_emulator_runs_every_thread():
    source, out = np.arange(8, dtype=np.float32), np.zeros(4, np.float32)
    emulator.launch(shifted, SPEC, 4, (out.ctypes.data, source.ctypes.data, (2, 1)), 0, 0)
    np.testing.assert_array_equal(out, [2, 4, 6, 8])


@pytest.mark.parametrize("capability", [(8, 0), (9, 0)])
def test_kernels_compile_without_a_gpu(compiler, capability):
    """Each holds its items as integers of 32 bits where they fit, and neither calls nor spills."""
    half = Spec(ndim=1, image_dtype=FLOAT16, image_dot=True)
    kernels = [
        (shifted, SPEC, TEMPLATE),
        (elementwise.product, half, (0, 0, 0, 0, 6, 6, 6, 6)),
        (elementwise.constant, SPEC, (0, 16)),
    ]
    for factory, spec, template in kernels:
        for narrow in (True, False):
            code = runtime.compile(factory(spec), runtime.signature(template, narrow), capability)
            assert code.cubin.startswith(b"\x7fELF")
            assert code.spilled == 0 < code.registers
            assert re.search(rf"\.param \.[us]{32 if narrow else 64} {re.escape(code.name)}_param_0", code.ptx)
            assert not re.search(r"\.f64|\bcall\b", code.ptx)
