"""The drop-in: torch's signatures, defaults, warnings, results and gradients, and what is more."""

import inspect
import warnings

import numpy as np
import pytest
import torch
from torch.nn import functional as native

from stnkit.torch import functional

MODES, PADDINGS = ("bilinear", "nearest", "bicubic"), ("zeros", "border", "reflection")
NAMES = ("grid_sample", "affine_grid")


def drawn(*shape, low=-1.0, high=1.0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(sum(shape))
    return torch.empty(shape, dtype=dtype).uniform_(low, high, generator=generator)


def both(name, *args, **options):
    """Return the results of torch and of stnkit, or the types of what they raise, and the texts of their warnings."""
    answers, texts = [], []
    for room in (native, functional):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                answers.append(getattr(room, name)(*args, **options))
            except Exception as error:
                answers.append(type(error))
        texts.append([(str(warning.message), warning.category, warning.filename) for warning in caught])
    return answers, texts


@pytest.mark.parametrize("name", NAMES)
def test_signatures_are_those_of_torch(name):
    ours, theirs = (inspect.signature(getattr(room, name)).parameters.values() for room in (functional, native))
    assert [(p.name, p.kind, p.default) for p in ours] == [(p.name, p.kind, p.default) for p in theirs]


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("padding_mode", PADDINGS)
@pytest.mark.parametrize(("axes", "mode"), [(2, mode) for mode in MODES] + [(3, "bilinear"), (3, "nearest")])
def test_grid_sample(axes, mode, padding_mode, align_corners):
    """Values and both gradients; locations reach beyond the image, and keep away from knots, being random."""
    image = drawn(2, 2, *(3, 4, 5)[-axes:]).requires_grad_()
    grid = drawn(2, *(2, 3, 2)[-axes:], axes, low=-2, high=2).requires_grad_()
    results, texts = both("grid_sample", image, grid, mode, padding_mode, align_corners)
    torch.testing.assert_close(*results, rtol=0, atol=1e-12)
    gradients = [torch.autograd.grad(result.square().sum(), (image, grid)) for result in results]
    torch.testing.assert_close(*gradients, rtol=0, atol=1e-11)
    assert texts == [[], []]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("size", [(2, 1, 3, 4), (2, 3, 2, 3, 4), torch.Size((2, 1, 3, 3))])
def test_affine_grid(size, align_corners, dtype):
    axes = len(size) - 2
    theta = drawn(2, axes, axes + 1, dtype=dtype).requires_grad_()
    results, texts = both("affine_grid", theta, size, align_corners=align_corners)
    e = torch.finfo(dtype).eps  # a coordinate is a sum of axes + 1 products of at most 1
    torch.testing.assert_close(*results, rtol=0, atol=2 * (axes + 1) * e)
    gradients = [torch.autograd.grad(result.sum(), theta) for result in results]
    torch.testing.assert_close(*gradients, rtol=0, atol=24 * e * 24)  # sums of 24 numbers of at most 1
    assert texts == [[], []]


def test_warnings_are_those_of_torch():
    """In the same words, at the user's line; affine_grid also warns of an axis of size 1 where corners are aligned.

    torch names a line of its own before 2.11.
    """
    calls = [
        ("grid_sample", (drawn(1, 1, 2, 2), drawn(1, 2, 2, 2)), {}),
        ("affine_grid", (drawn(1, 2, 3), (1, 1, 2, 2)), {}),
        ("affine_grid", (drawn(1, 2, 3), (1, 1, 1, 2)), {"align_corners": True}),
    ]
    for name, args, options in calls:
        results, (theirs, ours) = both(name, *args, **options)
        torch.testing.assert_close(*results)
        assert [warning[:2] for warning in theirs] == [warning[:2] for warning in ours]
        assert [(category, file) for _, category, file in ours] == [(UserWarning, __file__)]


@pytest.mark.parametrize(
    ("name", "args", "options"),
    [
        ("grid_sample", (drawn(1, 1, 2, 2), drawn(1, 2, 2, 2)), {"mode": "cubic"}),
        ("grid_sample", (drawn(1, 1, 2, 2), drawn(1, 2, 2, 2)), {"padding_mode": "mirror"}),
        ("grid_sample", (drawn(1, 1, 2, 2), drawn(1, 2, 2, 2)), {"align_corners": 1}),
        ("affine_grid", (drawn(1, 2, 3).long(), (1, 1, 2, 2)), {}),
        ("affine_grid", (drawn(1, 2, 3), (1, 1, 2, 2, 2)), {}),
        ("affine_grid", (drawn(1, 3, 4), (1, 1, 2, 2)), {}),
        ("affine_grid", (drawn(1, 2, 3), (1, 1, 0, 2)), {}),
        ("affine_grid", (drawn(1, 2, 3), (1, 0, 2, 2)), {}),
    ],
)
def test_errors_are_of_the_types_of_torch(name, args, options):
    answers, _ = both(name, *args, **{"align_corners": False, **options})
    assert answers[0] in (ValueError, TypeError)
    assert answers[0] is answers[1]


@pytest.mark.parametrize(
    ("theta", "size"), [((2, 2, 3), (4, 1, 3, 3)), ((2, 3), (1, 1, 3, 3)), ((1, 2, 3), (1,)), ((1, 2, 3), (1, 2))]
)
def test_shapes_that_torch_refuses_by_other_errors_are_refused(theta, size):
    answers, _ = both("affine_grid", drawn(*theta), size, align_corners=False)
    assert issubclass(answers[0], Exception)
    assert answers[1] is ValueError


def test_what_is_more():
    """One axis, wrap, a padding for each axis, tricubic, a shared grid, mixed dtypes."""

    def shape(image, grid, **options):
        return tuple(functional.grid_sample(image, grid, align_corners=False, **options).shape)

    assert shape(drawn(2, 1, 5), drawn(2, 3, 1)) == (2, 1, 3)
    assert shape(drawn(2, 1, 4, 5), drawn(2, 2, 3, 2), padding_mode="wrap") == (2, 1, 2, 3)
    assert shape(drawn(2, 1, 4, 5), drawn(2, 2, 3, 2), padding_mode=["border", "wrap"]) == (2, 1, 2, 3)
    assert shape(drawn(1, 1, 3, 4, 5), drawn(1, 1, 2, 2, 3), mode="bicubic") == (1, 1, 1, 2, 2)
    assert shape(drawn(4, 1, 4, 5), drawn(1, 2, 3, 2)) == (4, 1, 2, 3)
    assert functional.grid_sample(drawn(1, 1, 4, 5).half(), drawn(1, 2, 3, 2), align_corners=False).dtype == torch.half
    assert functional.affine_grid(drawn(2, 1, 2), (2, 1, 3), align_corners=False).shape == (2, 3, 1)


def test_what_differs():
    """Coordinates that are not finite read zeros in any padding, and a grid from half precision is float32."""
    grid = torch.tensor([[[[float("nan"), 0.0], [float("inf"), 0.0], [0.0, 0.0]]]], dtype=torch.float64)
    with np.errstate(invalid="ignore"):  # machine code does not warn
        read = functional.grid_sample(torch.ones(1, 1, 2, 2), grid, padding_mode="border", align_corners=False)
    assert read.flatten().tolist() == [0.0, 0.0, 1.0]
    grids, _ = both("affine_grid", drawn(1, 2, 3).half(), (1, 1, 2, 2), align_corners=False)
    assert [grid.dtype for grid in grids] == [torch.float16, torch.float32]


class Counted(torch.Tensor):
    """A tensor that counts which functions see it."""

    seen: list = []  # noqa: RUF012

    @classmethod
    def __torch_function__(cls, function, types, args=(), kwargs=None):
        cls.seen.append(function)
        return super().__torch_function__(function, types, args, kwargs)


@pytest.mark.parametrize("name", NAMES)
def test_tensors_of_other_types_see_the_call(name):
    """As in torch, which also gives the result their type."""
    args = (drawn(1, 1, 2, 2), drawn(1, 2, 2, 2)) if name == "grid_sample" else (drawn(1, 2, 3), (1, 1, 2, 2))
    Counted.seen.clear()
    results, _ = both(name, args[0].as_subclass(Counted), *args[1:], align_corners=False)
    assert {getattr(room, name) for room in (native, functional)} <= set(Counted.seen)
    assert [type(result) for result in results] == [Counted, Counted]
    torch.testing.assert_close(*(result.as_subclass(torch.Tensor) for result in results))


@pytest.mark.parametrize("align_corners", [False, True])
def test_compile(align_corners):
    torch.compiler.reset()

    def pair(room):
        def both(image, theta):
            grid = room.affine_grid(theta, image.shape, align_corners=align_corners)
            return room.grid_sample(image, grid, align_corners=align_corners)

        return both

    compiled = torch.compile(pair(functional), fullgraph=True, backend="aot_eager", dynamic=True)
    for shape in ((2, 3, 4, 5), (3, 3, 6, 4)):
        image, theta = drawn(*shape).requires_grad_(), drawn(shape[0], 2, 3).requires_grad_()
        results = compiled(image, theta), pair(native)(image, theta)
        torch.testing.assert_close(*results, rtol=0, atol=1e-12)
        torch.testing.assert_close(*(torch.autograd.grad(r.square().sum(), (image, theta)) for r in results))
