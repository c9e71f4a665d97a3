"""Every sample of torch's own tests of `grid_sample`, with the derivatives of both orders."""

import warnings

import bounds
import torch
from torch.nn import functional

import stnkit

with warnings.catch_warnings(action="ignore"):
    from torch.testing._internal.common_methods_invocations import op_db


# Its second order is not that of torch 2.8 and 2.11, which raise an error.
HAS_SECOND = tuple(map(int, torch.__version__.split(".")[:2])) >= (2, 13)


def theirs(image, grid, options):
    return functional.grid_sample(image, grid, **options)


def ours(image, grid, options):
    options = {**options, "align_corners": bool(options.get("align_corners", False))}
    return stnkit.grid_sample(image, grid, **options)


def samples(dtype):
    torch.manual_seed(0)
    (entry,) = [op for op in op_db if op.name == "nn.functional.grid_sample"]
    for sample in entry.sample_inputs("cpu", dtype, requires_grad=True):
        yield sample.input, sample.args[0], sample.kwargs


def results(call, image, grid, options):
    """Return the output and its gradients."""
    out = call(image, grid, options)
    weight = torch.linspace(-1, 1, out.numel(), dtype=out.dtype).reshape(out.shape)
    return out, *torch.autograd.grad((out * weight).sum(), (image, grid), create_graph=True)


def second(first, image, grid):
    """Return the gradients of the sum of squares of gradients; zero where there is none."""
    bars = torch.autograd.grad(sum((bar * bar).sum() for bar in first), (image, grid), allow_unused=True)
    return [torch.zeros_like(a) if bar is None else bar for a, bar in zip((image, grid), bars, strict=True)]


def test_float64():
    """To 1e-7, as torch's own tests compare these samples; the second order too."""
    found = list(samples(torch.float64))
    assert len(found) >= 18
    for image, grid, options in found:
        got, expected = results(ours, image, grid, options), results(theirs, image, grid, options)
        if HAS_SECOND:
            got, expected = (*got, *second(got[1:], image, grid)), (*expected, *second(expected[1:], image, grid))
        for one, other in zip(got, expected, strict=True):
            torch.testing.assert_close(one, other, msg=lambda text, options=options: f"{options}: {text}")


def test_float32():
    """To the bounds on rounding: a pixel is read by as many locations as there are, at most."""
    for image, grid, options in samples(torch.float32):
        d, channels, points = grid.shape[-1], image.shape[1], grid[0, ..., 0].numel()
        largest = [float(tensor.detach().abs().max()) for tensor in (grid, image)]
        size = bounds.Size(d, options["mode"], "float32", max(image.shape[2:]), *largest, 1.0, channels, points)
        limits = bounds.value(size), bounds.d_image(size), bounds.d_grid(size)
        pairs = zip(results(ours, image, grid, options), results(theirs, image, grid, options), limits, strict=True)
        for got, expected, limit in pairs:
            assert (got - expected).abs().max() <= limit, options
