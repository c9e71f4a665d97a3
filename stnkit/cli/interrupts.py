"""A Ctrl-C that the compiler cannot lose.

Python drops an exception raised inside a callback from C, and LLVM calls back while it compiles: an interrupt
that is seen there would be printed and forgotten.
"""

import sys
import threading
from _thread import interrupt_main
from collections.abc import Iterator
from contextlib import contextmanager

AGAIN = 0.05  # seconds, for the callback to return


@contextmanager
def kept() -> Iterator[None]:
    """Raise every interrupt in the main thread, those too that a callback from C drops."""
    report = sys.unraisablehook

    def notice(dropped: "sys.UnraisableHookArgs") -> None:
        if not issubclass(dropped.exc_type, KeyboardInterrupt):
            report(dropped)
            return
        again = threading.Timer(AGAIN, interrupt_main)
        again.daemon = True
        again.start()

    sys.unraisablehook = notice
    try:
        yield
    finally:
        sys.unraisablehook = report
