"""Kernels for GPUs around their numbers: compiled without a GPU, kept on disk, launched on what stands for a driver."""

import ctypes
import functools
import re
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from emulation import emulator

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
    """Put what records calls in the place of the driver and of cuda.core; devices 0 and 1 are there, 0 is current."""
    calls, stack = [], [0]
    version = [13050]

    class Failure(int):
        name = "CUDA_ERROR_INVALID_DEVICE"

    def copied(to, *given):
        calls.append(("read", stack[-1], *given))
        ctypes.memset(to, 7, 3)
        return (0,)

    driver = SimpleNamespace(
        cuInit=lambda flags: (0,),
        cuDriverGetVersion=lambda: (0, version[0]),
        cuDeviceGet=lambda device: (0, device) if device < 2 else (Failure(101), None),
        CUdevice_attribute=SimpleNamespace(
            CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR=9,
            CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR=0,
            CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT=4,
        ),
        cuDeviceGetAttribute=lambda attribute, device: (0, attribute),
        cuDevicePrimaryCtxRetain=lambda device: (0, device),
        cuCtxGetDevice=lambda: (0, stack[-1]),
        cuCtxPushCurrent=lambda context: (stack.append(context), (0,))[1],
        cuCtxPopCurrent=lambda: (0, stack.pop()),
        cuMemsetD8Async=lambda *given: (calls.append(("clear", stack[-1], *given)), (0,))[1],
        cuMemcpyDtoHAsync=copied,
        cuStreamSynchronize=lambda *given: (calls.append(("wait", stack[-1], *given)), (0,))[1],
    )
    core = SimpleNamespace(
        launch=lambda *given: calls.append(("launch", stack[-1], *given)),
        LaunchConfig=lambda grid, block: (grid, block),
        Stream=SimpleNamespace(from_handle=lambda handle: ("stream", handle)),
        LEGACY_DEFAULT_STREAM="legacy",
        PER_THREAD_DEFAULT_STREAM="per thread",
        ObjectCode=SimpleNamespace(from_cubin=lambda cubin: SimpleNamespace(get_kernel=lambda name: (name, cubin))),
    )
    tools = SimpleNamespace(driver=driver, core=core, versions={"toolkit": (13, 5)})
    monkeypatch.setattr(runtime, "tools", lambda: tools)
    monkeypatch.setattr(runtime, "compile", lambda thread, signature, capability: CODE)
    remembered = (runtime.machine, runtime._driver, runtime._loaded, runtime._configuration, runtime._stream)
    for function in remembered:
        function.cache_clear()
    yield SimpleNamespace(calls=calls, stack=stack, version=version, core=core, driver=driver)
    for function in remembered:
        function.cache_clear()


def test_a_launch_is_pointers_and_integers(driver, shelf):
    runtime.launch(shifted, SPEC, 1000, (640, 1280, (2, 1)), 77, 0)
    assert driver.calls == [
        ("launch", 0, ("stream", 77), (4, 256), ("entry", CODE.cubin), 1000, 640, 1280, 2, 1),
    ]


def test_many_items_are_taken_by_as_many_blocks_as_pay(driver, shelf):
    runtime.launch(shifted, SPEC, 1 << 33, (640, 1280, (2, 1)), 0, 0)
    (_, _, stream, config, _, items, *_) = driver.calls[0]
    assert (stream, config, items) == ("legacy", (4 * runtime.WAVES, runtime.BLOCK), 1 << 33)


def test_another_device_is_current_while_it_is_used_and_not_after(driver, shelf):
    runtime.launch(shifted, SPEC, 1, (640, 1280, (2, 1)), 2, 1)
    runtime.clear(64, 8, 5, 1)
    assert [call[:3] for call in driver.calls] == [("launch", 1, "per thread"), ("clear", 1, 64)]
    assert driver.stack == [0]


def test_what_is_read_has_arrived(driver):
    assert runtime.read(64, 3, 5, 1) == bytes([7, 7, 7])
    assert driver.calls == [("read", 1, 64, 3, 5), ("wait", 1, 5)]
    assert driver.stack == [0]


def test_a_launch_that_fails_leaves_the_context_as_it_was(driver, shelf):
    def refuse(*_):
        msg = "refused"
        raise ValueError(msg)

    driver.core.launch = refuse
    with pytest.raises(ValueError, match="refused"):
        runtime.launch(shifted, SPEC, 1, (640, 1280, (2, 1)), 0, 1)
    assert driver.stack == [0]
    driver.core.launch = lambda *given: driver.calls.append(given)
    runtime._loaded.cache_clear()
    runtime.launch(shifted, SPEC, 1, (640, 1280, (2, 1)), 0, 1)
    assert len(driver.calls) == 1


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
