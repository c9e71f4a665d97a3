"""From a kernel to a handler in machine code, which XLA calls by name.

A handler is a few instructions: it hands XLA's call frame, and where the kernel's machine code is, on to what answers
frames. All that a kernel takes but addresses is worked out when a call is lowered. So there is no Python between XLA
and the kernel, and a compiled program holds nothing of the process that made it.
"""

import hashlib
import threading
from typing import Any

import jax
from numba import cfunc, types

from stnkit.jax.ffi import frame as frames
from stnkit.jax.ffi import pool
from stnkit.kernels.cpu.pieces import run
from stnkit.plans.launch import Launch

_registering = threading.Lock()  # programs may be lowered in several threads
registered: dict[str, Any] = {}  # handlers by name; XLA keeps their addresses, so they must live


def threaded(launch: Launch) -> bool:
    """Tell whether a kernel is run on threads."""
    return launch.call.chunks > 1 and launch.work >= pool.LEAST_WORK


def started(launch: Launch) -> tuple[int, int]:
    """Return the address of a kernel, and that of the task for XLA's threads, or 0: what `frame.answer` takes."""
    return launch.kernel.address, pool.helper() if threaded(launch) else 0


def target(launch: Launch) -> str:
    """Return the name under which the handler of a kernel is registered: the same in every process.

    It tells how the numbers of a call are laid out, too: JAX may keep compiled programs on disk, of older versions too.
    """
    form = hashlib.sha256(repr((launch.spec, threaded(launch), frames.HEAD, frames.ABOUT)).encode()).hexdigest()[:16]
    name = f"stnkit_{launch.kernel.name}_{form}"
    with _registering:
        if name not in registered:
            registered[name] = handler(*started(launch))
            register(name, registered[name].ctypes)
    return name


def register(name: str, function: Any) -> None:
    """Let XLA find a function of C, which must live, by a name."""
    jax.ffi.register_ffi_target(name, jax.ffi.pycapsule(function), platform="cpu")


def handler(kernel: int, task: int) -> Any:
    """Compile the handler that starts a kernel."""
    answer = frames.answer().address

    def handle(frame):  # type: ignore[no-untyped-def]  # Numba types it
        return run(answer, frame, kernel, task)

    return cfunc(types.int64(types.int64))(handle)
