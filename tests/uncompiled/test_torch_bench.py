"""The benchmark of a GPU, on tensors of the CPU: its sides compute the same."""

import sys
import types

import numpy as np
import pytest
import scipy.ndimage
import torch

from bench import in_cuda


@pytest.mark.parametrize("extent", [(7, 9), (5, 6, 7)])
@pytest.mark.parametrize("operation", in_cuda.SCIPY_OPERATIONS)
def test_cupy_computes_what_stnkit_does(monkeypatch, extent, operation):
    """SciPy in its place, on tensors of the CPU."""
    random, ndim = torch.Generator().manual_seed(0), len(extent)
    given = types.SimpleNamespace(
        image=torch.rand(1, 1, *extent, generator=random, dtype=torch.float64),
        theta=torch.eye(ndim, ndim + 1)[None] + 0.1 * torch.rand(1, ndim, ndim + 1, generator=random),
        picture=in_cuda.Picture(1, 1, extent),
    )
    monkeypatch.setitem(sys.modules, "cupy", np)
    monkeypatch.setitem(sys.modules, "cupyx.scipy.ndimage", scipy.ndimage)
    sides = in_cuda.sides_of(given, operation, compiled=False)
    ours, theirs = sides["stnkit"](), sides["CuPy"]()
    assert ours.dtype == theirs.dtype
    assert in_cuda.apart(theirs, ours, jumps=False) < (1e-5 if ours.dtype == torch.float32 else 1e-13)
