"""These tests are a run of their own: torch's operations are registered once in a process, here with plain Python."""

import numba
import pytest

if not numba.config.DISABLE_JIT:
    msg = "tests/uncompiled runs uncompiled: NUMBA_DISABLE_JIT=1 python -m pytest tests/uncompiled"
    raise pytest.UsageError(msg)
