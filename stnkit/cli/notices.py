"""Show on the terminal what the library logs: why a first call takes seconds."""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager


class _Screen(logging.Handler):
    """Prints on standard error, wherever that leads by then: above a progress bar, if there is one."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print a line."""
        print("stnkit:", record.getMessage(), file=sys.stderr)


@contextmanager
def shown() -> Iterator[None]:
    """Show the log on standard error, if that is a terminal."""
    if not sys.stderr.isatty():
        yield
        return
    logger, screen = logging.getLogger("stnkit"), _Screen()
    level = logger.level
    logger.addHandler(screen)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(screen)
        logger.setLevel(level)
