"""A plugin of pytest: SciPy's own tests of resampling, run on `stnkit.ndimage` in the place of SciPy's functions.

From another directory than this repository's:

    NUMBA_DISABLE_JIT=1 PYTHONPATH=.../tests python -m pytest -p scipy_suite --pyargs \
        scipy.ndimage.tests.test_interpolation scipy.ndimage.tests.test_splines -k "not geometric"
"""

import contextlib

from stnkit import ndimage

_context = contextlib.ExitStack()


def pytest_collection_modifyitems() -> None:
    """Put the functions in place once the tests' modules are there; nothing is left to SciPy."""
    _context.enter_context(ndimage.patch(strict=True))


def pytest_unconfigure() -> None:
    """Give SciPy its functions back."""
    _context.close()
