"""Projective maps and thin plate splines on tensors: the same numbers as on NumPy arrays, and every derivative."""

import maps
import numpy as np
import pytest
import torch

import stnkit
from stnkit.plans import thin_plates
from stnkit.plans.memo import Memo

pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated")


def draw(op, d, mode="bilinear", batch=2):
    given = maps.draw(op, d, mode, "zeros", False, batch)
    given.options["fill_value"] = 0.5
    return given


def tensors(given, *names):
    return [torch.from_numpy(getattr(given, name).copy()) for name in names]


def close(got, expected):
    got, expected = ((a if isinstance(a, tuple) else (a,)) for a in (got, expected))
    for a, b in zip(got, expected, strict=True):
        assert (a is None) == (b is None)
        if a is not None:
            assert type(a) is torch.Tensor
            np.testing.assert_allclose(a.detach(), b, rtol=0, atol=1e-11)


def calls(given):
    """Return every function as a function of tensors that have derivatives, and these."""
    fixed = tuple(map(torch.from_numpy, given.fixed))
    op, size, making, options = given.op, given.size, given.making, given.options

    def of(name):
        return getattr(stnkit, f"{op}_{name}")

    bar = np.random.default_rng(0).uniform(-1, 1, maps.exact(given).shape)
    names = "image", "theta", "image_dot", "theta_dot", "cotangent"
    image, theta, d_image, d_theta, cotangent = tensors(given, *names)
    return {
        "grid": (lambda t: of("grid")(t, *fixed, size, **making), [theta]),
        "grid_vjp": (lambda g, t: of("grid_vjp")(g, t, *fixed, **making), [torch.from_numpy(bar), theta]),
        "grid_jvp": (lambda t, v: of("grid_jvp")(t, v, *fixed, size, **making), [theta, d_theta]),
        "sample": (lambda i, t: of("sample")(i, t, *fixed, size, **options), [image, theta]),
        "sample_vjp": (lambda g, i, t: of("sample_vjp")(g, i, t, *fixed, **options), [cotangent, image, theta]),
        "sample_jvp": (
            lambda i, t, v, w: of("sample_jvp")(i, t, v, w, *fixed, size, **options), [image, theta, d_image, d_theta]
        ),
    }  # fmt: skip


NAMES = ("grid", "grid_vjp", "grid_jvp", "sample", "sample_vjp", "sample_jvp")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("d", [1, 2, 3])
@pytest.mark.parametrize("op", maps.OPS)
def test_numbers(op, d, name):
    """The formulas, and where nothing is recorded the kernels, give what NumPy arrays give."""
    function, given = calls(draw(op, d))[name]
    expected = function(*(tensor.numpy() for tensor in given))
    close(function(*given), expected)
    close(function(*(tensor.requires_grad_() for tensor in given)), expected)
    close(torch.func.functionalize(function)(*(tensor.detach() for tensor in given)), expected)


@pytest.mark.parametrize(
    ("name", "d", "mode"),
    [
        *((name, 1, "bicubic") for name in NAMES),
        ("grid", 3, "bilinear"),
        ("grid_vjp", 2, "bilinear"),
        ("sample", 2, "bilinear"),
    ],
)
@pytest.mark.parametrize("op", maps.OPS)
def test_first_order(op, d, mode, name):
    function, given = calls(draw(op, d, mode, batch=1))[name]
    given = [tensor.requires_grad_() for tensor in given]
    assert torch.autograd.gradcheck(function, given, check_forward_ad=True)


@pytest.mark.parametrize("name", ["grid", "sample"])
@pytest.mark.parametrize("op", maps.OPS)
def test_second_order(op, name):
    function, given = calls(draw(op, 1, "bicubic"))[name]
    given = [tensor.requires_grad_() for tensor in given]
    assert torch.autograd.gradgradcheck(function, given, check_fwd_over_rev=True)


@pytest.mark.parametrize("op", maps.OPS)
def test_transforms(op):
    """`vmap` over maps gives each its output, and `torch.func.grad` the gradient that autograd gives."""
    given = draw(op, 2)
    function, (image, theta) = calls(given)["sample"]
    each = torch.func.vmap(function)(image, theta)
    close(each, maps.sample(stnkit, given))
    cotangent = torch.from_numpy(given.cotangent)
    d_theta = torch.func.grad(lambda t: (function(image, t) * cotangent).sum())(theta)
    close(d_theta, maps.sample_vjp(stnkit, given)[1])
    out, out_dot = torch.func.jvp(lambda t: function(image, t), (theta,), tuple(tensors(given, "theta_dot")))
    close((out, out_dot), maps.sample_jvp(stnkit, given, None, given.theta_dot))


def test_the_horizon_passes_nothing():
    """Nor does a coordinate that overflows; no derivative of what lies ahead is lost."""
    theta = torch.eye(3, dtype=torch.float64).repeat(3, 1, 1)
    theta[0, 2] = torch.tensor([1.0, 0.0, 0.0])
    theta[1, 2, 2] = torch.finfo(torch.float64).tiny
    theta[2, 0, 0] = torch.inf
    image = torch.rand(3, 1, 3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    with np.errstate(all="ignore"):  # uncompiled
        expected = stnkit.projective_sample_vjp(np.ones((3, 1, 3, 4)), image.numpy(), theta.numpy())
        image, theta = image.requires_grad_(), theta.requires_grad_()
        bars = torch.autograd.grad(stnkit.projective_sample(image, theta).sum(), [image, theta])
    close(bars, expected)
    assert bars[1][0].any()
    assert not bars[1][2].any()


def test_projective_maps_are_one_step():
    """Autograd keeps their arguments, and no grid; and it is told of changes of these."""
    given = draw("projective", 2)
    function, (image, theta) = calls(given)["sample"]
    kept = []
    leaves = [image.requires_grad_(), theta.requires_grad_()]
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        out = function(*leaves)
    assert [t.shape for t in kept] == [t.shape for t in leaves]
    checkpointed = torch.utils.checkpoint.checkpoint(function, *leaves, use_reentrant=False)
    cotangent = torch.from_numpy(given.cotangent)
    for result in (out, checkpointed):
        for found, bar in zip(
            torch.autograd.grad(result, leaves, cotangent), maps.sample_vjp(stnkit, given), strict=True
        ):
            close(found, bar)
    out = function(*leaves)
    with torch.no_grad():
        theta.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        out.sum().backward()


@pytest.mark.parametrize("name", ["sample", "sample_vjp", "sample_jvp"])
@pytest.mark.parametrize("op", maps.OPS)
def test_the_memory_format_of_the_image(op, name):
    """Results keep it, recorded or not, and where a cotangent or a tangent has another."""
    call, given = calls(draw(op, 2))[name]
    expected = call(*given)
    at = -2 if name == "sample_vjp" else 0
    given[at] = given[at].contiguous(memory_format=torch.channels_last)
    for recorded in (False, True):
        found = call(*(one.clone().requires_grad_(recorded) for one in given))
        close(found, tuple(map(torch.Tensor.numpy, expected)) if isinstance(expected, tuple) else expected.numpy())
        pictures = [one for one in (found if isinstance(found, tuple) else (found,)) if one.dim() == 4]
        assert pictures
        assert all(one.is_contiguous(memory_format=torch.channels_last) for one in pictures)
        assert recorded or not any(one._is_view() for one in pictures)


@pytest.mark.parametrize("kind", [np.array, torch.tensor, list])
@pytest.mark.parametrize("op", ["affine", *maps.OPS])
def test_a_fill_value_that_is_changed_after_the_call(op, kind):
    """The derivative is that of the call."""
    given = draw("projective" if op == "affine" else op, 2)
    image, theta = tensors(given, "image", "theta")
    theta = 1.5 * (theta[:, :2] if op == "affine" else theta).detach()
    theta.requires_grad_()
    fixed = () if op == "affine" else tuple(map(torch.from_numpy, given.fixed))
    bars = []
    for change in (1, 9):
        fill = kind([0.5] * image.shape[1])
        out = getattr(stnkit, f"{op}_sample")(image, theta, *fixed, fill_value=fill)
        fill[0] *= change
        bars += torch.autograd.grad(out.sum(), theta)
    np.testing.assert_array_equal(*bars)
    assert bars[0].any()


@pytest.mark.parametrize("op", maps.OPS)
def test_shared_and_mixed(op):
    """One map for all images gets the sum; arithmetic is float64 if either is; half precision is widened."""
    given = draw(op, 2)
    one = given._replace(theta=given.theta[:1].astype(np.float32))
    function, (image, theta) = calls(one)["sample"]
    assert theta.dtype == torch.float32
    out = function(image, theta.requires_grad_())
    close(out, maps.sample(stnkit, one))
    (bar,) = torch.autograd.grad(out, [theta], torch.from_numpy(given.cotangent))
    assert bar.dtype == torch.float32
    expected = maps.sample_vjp(stnkit, one)[1]
    np.testing.assert_allclose(bar, expected, rtol=0, atol=2.0**-22 * np.abs(expected).max())
    grid, (theta,) = calls(given)["grid"]
    assert grid(theta.half().requires_grad_()).dtype == torch.float32


def test_control_points_are_constants():
    given = draw("thin_plate_spline", 2)
    theta, control = tensors(given, "theta", "control")
    for points in (control.clone().requires_grad_(), torch.nn.Parameter(control)):
        for moved in (theta, theta.clone().requires_grad_()):
            with pytest.raises(TypeError, match=r"`control_points` are constants.*\.detach\(\)"):
                stnkit.thin_plate_spline_grid(moved, points, (3, 4))
    with pytest.raises(TypeError, match=r"`control_points` are constants"):
        torch.func.grad(lambda c: stnkit.thin_plate_spline_grid(theta, c, (3, 4)).sum())(control)
    with pytest.raises(TypeError, match=r"`control_points` are constants"):
        torch.func.jvp(lambda c: stnkit.thin_plate_spline_grid(theta, c, (3, 4)), (control,), (control,))
    expected = stnkit.thin_plate_spline_grid(given.theta, given.control, (3, 4))
    for points in (given.control, control):
        close(stnkit.thin_plate_spline_grid(theta, points, (3, 4)), expected)
        close(stnkit.thin_plate_spline_grid(theta.clone().requires_grad_(), points, (3, 4)), expected)


REFUSED = [
    (ValueError, lambda t: stnkit.projective_grid(t[..., :2], (3, 4)), r"`theta` must have shape.*\(2, 3, 2\)"),
    (ValueError, lambda t: stnkit.projective_sample(t[:, 0], t), r"`image` must have shape \(N, C, H, W\)"),
    (ValueError, lambda t: stnkit.projective_sample(t.new_ones(3, 1, 4, 4), t), r"`image` and `theta`.*3 and 2"),
    (ValueError, lambda t: stnkit.projective_grid(t, (3, 4, 5)), r"`size` must be 2 integers"),
    (ValueError, lambda t: stnkit.projective_grid_vjp(t.new_ones(1, 4, 4, 2), t), r"`cotangent`.*\(2, 4, 4, 2\)"),
    (TypeError, lambda t: stnkit.projective_grid_vjp(t.new_ones(2, 4, 4, 2).float(), t), r"`cotangent`.*float64"),
    (TypeError, lambda t: stnkit.projective_grid(t, (3, 4), align_corners=1), r"`align_corners` must be True or False"),
    (ValueError, lambda t: stnkit.thin_plate_spline_grid(t[..., :2], np.eye(3)[:, :2] * 0, (3, 4)), "must differ"),
    (TypeError, lambda t: stnkit.thin_plate_spline_grid(t[..., :2], None, (3, 4)), "`control_points` must be a"),
    (TypeError, lambda t: stnkit.projective_grid(t, (3, 4), mode="nearest"), "unexpected keyword argument 'mode'"),
    (
        TypeError,
        lambda t: stnkit.grid_count(t[..., :2], (3, 4), antialias=2),
        "unexpected keyword argument 'antialias'",
    ),
]


@pytest.mark.parametrize("recorded", [False, True])
@pytest.mark.parametrize(("kind", "call", "words"), REFUSED)
def test_refused(kind, call, words, recorded):
    theta = torch.eye(3, dtype=torch.float64).repeat(2, 1, 1).requires_grad_(recorded)
    with pytest.raises(kind, match=words):
        call(theta)


@pytest.mark.parametrize("dynamic", [False, True])
@pytest.mark.parametrize("op", maps.OPS)
def test_compiled(op, dynamic):
    """A compiler sees one graph, the control points among its inputs, and gives the same numbers and gradients."""
    torch.compiler.reset()
    given = draw(op, 2)
    fixed = tuple(map(torch.from_numpy, given.fixed))
    sample = getattr(stnkit, f"{op}_sample")

    size, options = given.size, given.options

    def function(image, theta, *fixed):
        return sample(image, theta, *fixed, size, **options)

    image, theta = tensors(given, "image", "theta")
    theta.requires_grad_()
    compiled = torch.compile(function, backend="aot_eager", fullgraph=True, dynamic=dynamic)
    out = compiled(image, theta, *fixed)
    close(out, maps.sample(stnkit, given))
    (bar,) = torch.autograd.grad(out, [theta], torch.from_numpy(given.cotangent))
    close(bar, maps.sample_vjp(stnkit, given)[1])


def test_tables_have_a_size(monkeypatch):
    """As many are kept as fit into a number of bytes; one that is too large is right all the same."""
    kept = Memo(30_000)
    monkeypatch.setattr(thin_plates, "KEPT", kept)
    given = draw("thin_plate_spline", 2)
    theta = torch.from_numpy(given.theta).requires_grad_()
    for n in (1, 5, 9, 13, 200):
        grid = stnkit.thin_plate_spline_grid(theta, given.control, (n, 4))
        (bar,) = torch.autograd.grad(grid.sum(), theta)
        assert 0 < kept.nbytes <= 30_000
        close(grid, stnkit.thin_plate_spline_grid(given.theta, given.control, (n, 4)))
        ones = np.ones(tuple(grid.shape), given.theta.dtype)
        close(bar, stnkit.thin_plate_spline_grid_vjp(ones, given.theta, given.control))
