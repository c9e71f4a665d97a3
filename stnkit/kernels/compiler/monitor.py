"""Compilations as events: slow ones are logged, and `compile_ahead` has its kernels counted.

A call that is made ahead of time runs as any other does, but for its kernels: these are compiled where they would be
launched. That holds for the thread that makes the call, and for no other.
"""

import contextlib
import logging
import threading
from collections.abc import Callable, Iterator
from typing import Any

from stnkit.kernels.compiler.settings import interpreted
from stnkit.spec import DTYPES, MODES, PADDING_MODES, Spec

SLOW = 1.0  # seconds of compiling, after which the log says so

logger = logging.getLogger("stnkit")
logger.addHandler(logging.NullHandler())  # silent unless the application sets up logging

_here = threading.local()
_lock = threading.Lock()
ARCHIVE, CACHE, COMPILED = "archive", "cache", "compiled"
origins: dict[str, str] = {}  # of the kernels of this process, by the names that they are kept by
ahead = 0  # how many calls are made ahead in all threads: where there are none, a launch looks no further


class Tally:
    """The kernels of a call that is made ahead."""

    def __init__(self) -> None:
        self.kernels: dict[str, Any] = {}  # by the names that they are kept by
        self.compiled = 0


def taken(kernel: Any) -> bool:
    """Compile a kernel if this thread makes a call ahead; tell whether it does."""
    found = tally()
    if found is None:
        return False
    found.kernels[kernel.key] = kernel
    if not interpreted():
        kernel.address  # noqa: B018  # compiles the kernel
    return True


@contextlib.contextmanager
def collecting() -> Iterator[Tally]:
    """Let this thread compile kernels where it would launch them. What is collected within counts for both."""
    global ahead
    outer, own = tally(), Tally()
    _here.tally = own
    with _lock:
        ahead += 1
    try:
        yield own
    finally:
        _here.tally = outer
        with _lock:
            ahead -= 1
        if outer is not None:
            outer.kernels |= own.kernels
            outer.compiled += own.compiled


def tally() -> Tally | None:
    """Return the tally of the call that this thread makes ahead; None if it makes none."""
    return getattr(_here, "tally", None)


def note(key: str, origin: str) -> None:
    """Note where a kernel came from."""
    origins[key] = origin
    logger.debug("%s: %s", key, origin)


def begin(function: Callable[..., Any]) -> None:
    """Count a kernel that is being compiled, and log that if it takes long. `function` captures its `Spec`."""
    found = tally()
    if found is not None:
        found.compiled += 1
    if logger.isEnabledFor(logging.INFO):
        _here.notice = threading.Timer(SLOW, logger.info, [notice_of(function)])
        _here.notice.daemon = True
        _here.notice.start()


@contextlib.contextmanager
def observed() -> Iterator[None]:
    """Cancel, at the end, the notice of a compilation that began within."""
    try:
        yield
    finally:
        notice = _here.__dict__.pop("notice", None)
        if notice is not None:
            notice.cancel()


def notice_of(function: Callable[..., Any]) -> str:
    """Say which kernel is compiled, and where it will be found from then on."""
    (spec,) = (cell.cell_contents for cell in function.__closure__ or ())
    where = cache_directory_of(function)
    kept = f"kept in {where}" if where else "not kept, as there is no directory to write to: set NUMBA_CACHE_DIR"
    return f"compiling {function.__name__} for {described(spec)} (first call of its kind; {kept})"


def described(spec: Spec) -> str:
    """Name the choices of a kernel as users do."""
    paddings = [_name(PADDING_MODES, padding) for padding in spec.padding[: spec.ndim]]
    padding = paddings[0] if len(set(paddings)) == 1 else "/".join(paddings)
    layout = " channels_last" if spec.interleaved else ""
    return f"{spec.ndim}-D {_name(MODES, spec.interp)} {padding} {_name(DTYPES, spec.image_dtype)}{layout}"


def _name(table: dict[str, int], code: int) -> str:
    return next(name for name, value in table.items() if value == code)


def cache_directory_of(function: Callable[..., Any]) -> str | None:
    """Return the directory that Numba keeps a function's machine code in; None if it can write to none."""
    from numba.core.caching import FunctionCache

    try:
        where: str = FunctionCache(function).cache_path
    except (RuntimeError, OSError, LookupError):
        return None
    return where


def forget(function: Callable[..., Any], error: Exception) -> None:
    """Empty the index of a kernel that cannot be read or kept, so that the next process keeps it anew; log why."""
    from numba.core.caching import FunctionCache

    where = cache_directory_of(function)
    logger.warning("%s is compiled for this process alone; its files in %s: %r", function.__name__, where, error)
    with contextlib.suppress(OSError):
        FunctionCache(function).flush()
