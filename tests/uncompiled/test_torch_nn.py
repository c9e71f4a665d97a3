"""Modules: what they compute, how they start, and what torch does with modules."""

import copy
import doctest
import io
import pickle

import pytest
import torch
from torch import nn

import stnkit
from stnkit import transforms
from stnkit.torch import functional
from stnkit.torch import nn as modules
from stnkit.torch.nn import AffineSample, GridSample, SpatialTransformer, identity_, identity_head
from stnkit.transforms import IDENTITIES

KINDS = [(name, axes) for name, known in IDENTITIES.items() for axes in known]
OPTIONS = {
    "mode": "nearest",
    "padding_mode": ("border", "reflection"),
    "fill_value": 2.0,
    "align_corners": True,
    "data_format": "channels_last",
}
FIRST = {"mode": "bilinear", "data_format": "channels_first"}


def transformer(transform="similarity", **options):
    """Return a small network with random weights, in which every parameter matters."""
    torch.manual_seed(0)
    head = identity_head(8, transform)
    localization = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Tanh(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), head)
    for parameter in head.parameters():
        nn.init.normal_(parameter, parameter.detach().mean(), 0.1)
    return SpatialTransformer(localization, transform, **options)


def images(*shape):
    return torch.rand(shape, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(("transform", "axes"), KINDS)
def test_it_starts_at_the_identity(transform, axes):
    given = images(2, 3, *(4, 5, 6)[:axes])
    localization = nn.Sequential(nn.Flatten(), identity_head(given[0].numel(), transform, axes))
    module = SpatialTransformer(localization, transform)
    identity = torch.eye(axes + (transform == "projective"), axes + 1)
    if transform == "thin_plate_spline":
        identity = torch.from_numpy(transforms.control_lattice((4,) * axes)).float()
    torch.testing.assert_close(module.theta(given), identity.expand(2, -1, -1), rtol=0, atol=0)
    torch.testing.assert_close(module(given), given)


def test_it_learns_from_the_first_step_on():
    given = images(3, 1, 6, 6)
    localization = nn.Sequential(nn.Flatten(), identity_head(36))
    SpatialTransformer(localization)(given).square().sum().backward()
    assert localization[1].weight.grad.abs().sum() > 0


def test_in_series_in_parallel_and_on_feature_maps():
    """bicubic and wrap have no knot that a difference quotient could meet; gradients times random vectors."""
    torch.manual_seed(2)
    smooth = {"mode": "bicubic", "padding_mode": "wrap"}

    def look(pixels, transform, size):
        head = nn.Linear(3 * pixels, len(IDENTITIES[transform][2]))
        head.bias.data += torch.tensor(IDENTITIES[transform][2])
        return SpatialTransformer(nn.Sequential(nn.Flatten(), head), transform, size, **smooth)

    before, after = nn.Conv2d(2, 3, 2).double(), nn.Conv2d(6, 1, 2).double()
    series = nn.Sequential(look(6, "attention", (2, 2)), look(4, "rotation", (2, 2))).double()
    beside = look(6, "affine", (2, 2)).double()

    def network(given):
        features = before(given).tanh()
        return after(torch.cat([series(features), beside(features)], 1))

    given = images(2, 2, 3, 4).double().requires_grad_()
    weights = [parameter for part in (before, series, beside, after) for parameter in part.parameters()]
    assert torch.autograd.gradcheck(lambda given, *_: network(given), (given, *weights), fast_mode=True)


POINTS = transforms.control_lattice((2, 3))
OTHERS = [("projective", {}), ("thin_plate_spline", {}), ("thin_plate_spline", {"control_points": POINTS})]


def other(transform, control_points=None, **options):
    """Return a network as `transformer` does, for maps that are not affine and near the identity."""
    torch.manual_seed(0)
    head = identity_head(63, transform, control_points=control_points)
    nn.init.normal_(head.weight, 0.0, 0.02)
    network = nn.Sequential(nn.Flatten(), head)
    return SpatialTransformer(network, transform, control_points=control_points, **options)


@pytest.mark.parametrize("antialias", [False, 2])
@pytest.mark.parametrize(("transform", "own"), OTHERS)
def test_maps_that_are_not_affine(transform, own, antialias):
    """What is computed, with which gradients; control points may be tensors."""
    given = images(2, 1, 7, 9).double()
    module = other(transform, size=(3, 4), padding_mode="border", antialias=antialias, **own).double()
    sample = getattr(stnkit, f"{transform}_sample")
    theta = module.theta(given)
    points = {"control_points": transforms.control_lattice((4, 4))} | own if transform != "projective" else {}
    expected = sample(given, theta, **points, size=(3, 4), padding_mode="border", antialias=antialias)
    torch.testing.assert_close(module(given), expected, rtol=0, atol=0)
    wanted = list(module.parameters())
    for mine, exact in zip(
        torch.autograd.grad(module(given).sum(), wanted), torch.autograd.grad(expected.sum(), wanted), strict=True
    ):
        torch.testing.assert_close(mine, exact, rtol=0, atol=0)
    if own:
        tensors = other(transform, torch.from_numpy(POINTS), size=(3, 4), padding_mode="border", antialias=antialias)
        torch.testing.assert_close(tensors.double()(given), expected)
    for travelled in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        assert torch.equal(travelled(given), module(given))
    assert set(module.state_dict()) == {"localization.1.weight", "localization.1.bias"}


@pytest.mark.parametrize(("transform", "own"), OTHERS)
def test_maps_that_are_not_affine_compile_and_export(transform, own):
    torch.compiler.reset()
    module, given = other(transform, size=(3, 4), **own).eval(), images(2, 1, 7, 9)
    compiled = torch.compile(module, fullgraph=True, dynamic=True, backend="aot_eager")
    wanted = list(module.parameters())
    results = [function(given) for function in (compiled, module)]
    torch.testing.assert_close(*results)
    torch.testing.assert_close(*(torch.autograd.grad(result.square().sum(), wanted) for result in results))
    for strict in (False, True):
        program = torch.export.export(module, (given,), strict=strict)
        torch.testing.assert_close(program.module()(given), module(given))


@pytest.mark.parametrize("transform", ["similarity", transforms.attention])
def test_what_it_computes(transform):
    module = transformer(transform if isinstance(transform, str) else "attention", size=(4, 3), padding_mode="border")
    module.transform = transform
    given = images(2, 1, 7, 8)
    function = transforms.TRANSFORMS.get(transform, transform)
    theta = function(module.localization(given))
    assert torch.equal(module(given), stnkit.affine_sample(given, theta, (4, 3), padding_mode="border"))


def test_options_are_handed_on():
    image, grid = images(2, 5, 6, 3), images(2, 4, 3, 2) * 9
    expected = stnkit.grid_sample(image, grid, coords="pixel", **OPTIONS)
    assert torch.equal(GridSample(coords="pixel", **OPTIONS)(image, grid), expected)
    theta = images(2, 2, 3)
    expected = stnkit.affine_sample(image, theta, (3, 3), **OPTIONS)
    assert torch.equal(AffineSample((3, 3), **OPTIONS)(image, theta), expected)


def test_options_are_shown():
    shown = repr(transformer(size=[4, 3], fill_value=0.5))
    for part in ("transform='similarity'", "size=(4, 3)", "fill_value=0.5", "align_corners=False", "AdaptiveAvgPool2d"):
        assert part in shown


def test_state_is_that_of_the_localisation_network():
    module, other = transformer(), transformer()
    assert set(module.state_dict()) == {f"localization.{name}" for name in module.localization.state_dict()}
    for parameter in other.parameters():
        nn.init.zeros_(parameter)
    other.load_state_dict(module.state_dict())
    given = images(2, 1, 7, 8)
    assert torch.equal(module(given), other(given))
    assert not list(GridSample().parameters()) + list(AffineSample().buffers())


@pytest.mark.parametrize("travel", ["deepcopy", "pickle", "save"])
def test_copies(travel):
    module = transformer(size=(3, 4), padding_mode=("border", "wrap"), fill_value=[1.0])
    if travel == "save":
        file = io.BytesIO()
        torch.save(module, file)
        file.seek(0)
        other = torch.load(file, weights_only=False)
    else:
        other = copy.deepcopy(module) if travel == "deepcopy" else pickle.loads(pickle.dumps(module))
    given = images(2, 1, 7, 8)
    assert torch.equal(module(given), other(given))
    nn.init.zeros_(other.localization[-1].weight)
    assert not torch.equal(module(given), other(given))


def test_compile():
    """Without a graph break, for any batch and size, with the gradients of the uncompiled module."""
    torch.compiler.reset()
    module = transformer()
    compiled = torch.compile(module, fullgraph=True, dynamic=True, backend="aot_eager")
    for shape in ((2, 1, 7, 8), (3, 1, 9, 6)):
        given = images(*shape).requires_grad_()
        wanted = [given, *module.parameters()]
        results = [function(given) for function in (compiled, module)]
        torch.testing.assert_close(*results)
        torch.testing.assert_close(*(torch.autograd.grad(result.square().sum(), wanted) for result in results))


@pytest.mark.parametrize("strict", [False, True])
def test_export(strict):
    module = transformer().eval()
    dims = {0: torch.export.Dim("n"), 2: torch.export.Dim("h", min=5), 3: torch.export.Dim("w", min=5)}
    program = torch.export.export(module, (images(2, 1, 7, 8),), dynamic_shapes=(dims,), strict=strict)
    assert torch.ops.stnkit.affine_sample.default in {node.target for node in program.graph.nodes}
    given = images(3, 1, 9, 6)
    torch.testing.assert_close(program.module()(given), module(given))


def test_transforms_of_functions():
    """A module called with parameters of its own, under grad and vmap."""
    module, given = transformer(), images(3, 1, 7, 8)
    parameters = dict(module.named_parameters())

    def loss(parameters, image):
        return torch.func.functional_call(module, parameters, (image[None],)).square().sum()

    each = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0))(parameters, given)
    sums = torch.autograd.grad(module(given).square().sum(), list(parameters.values()))
    for gradient, expected in zip(each.values(), sums, strict=True):
        torch.testing.assert_close(gradient.sum(0), expected, rtol=1e-4, atol=1e-5)


def same_as_traced(module, *given):
    """Compare a module with what `torch.fx` records of it, and with a copy of that, in values and gradients."""
    traced = torch.fx.symbolic_trace(module)
    given = [tensor.requires_grad_() for tensor in given]
    expected = module(*given)
    bars = torch.autograd.grad(expected.sum(), given)
    for program in (traced, pickle.loads(pickle.dumps(traced))):
        found = program(*given)
        torch.testing.assert_close(found, expected, rtol=0, atol=0)
        torch.testing.assert_close(torch.autograd.grad(found.sum(), given), bars, rtol=0, atol=0)
    return [node.target for node in traced.graph.nodes if node.op == "call_function"]


@pytest.mark.parametrize("transform", [name for name, axes in KINDS if axes == 2])
def test_symbolic_trace(transform):
    """For other sizes than those of any example, as `torch.fx` has none."""
    module = nn.Sequential(nn.Conv2d(1, 1, 3), transformer(transform, size=(4, 5), **OPTIONS | FIRST), nn.Tanh())
    for size in (7, 9):
        assert modules.read in same_as_traced(module, images(2, 1, size, 8))


def test_symbolic_trace_of_samplers_and_functions():
    """Each call is one step, also of what is antialiased, beside tensors that are known, and named."""
    image, theta = images(2, 1, 5, 6), torch.eye(2, 3).repeat(2, 1, 1) * 0.8
    grid, matrix = images(2, 3, 4, 2) - 0.5, torch.eye(3).repeat(2, 1, 1) * torch.tensor([0.8, 0.7, 1.0])
    same_as_traced(AffineSample(antialias=2), image, theta)
    assert same_as_traced(GridSample(padding_mode="border"), image, grid) == [stnkit.grid_sample]

    class Network(nn.Module):
        def forward(self, image, matrix):
            still = stnkit.affine_grid(image.new_ones(1, 2, 3) * 0.2, image.shape[2:])
            first = stnkit.grid_sample(grid=still, image=image)
            second = stnkit.projective_sample(first, matrix, (4, 4), antialias=2)
            return stnkit.grid_splat(second, constant, (3, 3), mode="bilinear")

    constant = images(1, 4, 4, 2) - 0.5
    names = ["affine_grid", "grid_sample", "projective_sample", "grid_splat"]
    assert {getattr(stnkit, name) for name in names} <= set(same_as_traced(Network(), image, matrix))


@pytest.mark.filterwarnings("ignore:.torch.jit.(script|trace|trace_method). is deprecated")
@pytest.mark.parametrize("compiler", ["script", "trace"])
@pytest.mark.parametrize("inside", [False, True])
def test_jit_is_refused(compiler, inside):
    module = nn.Sequential(transformer()) if inside else transformer()
    given = (images(2, 1, 7, 8),)
    with pytest.raises(NotImplementedError, match=r"torch\.jit.* torch\.export"):
        torch.jit.script(module) if compiler == "script" else torch.jit.trace(module, given)


@pytest.mark.filterwarnings("ignore:.torch.jit.(trace|trace_method). is deprecated")
@pytest.mark.parametrize("module", [GridSample(), AffineSample()], ids=lambda module: type(module).__name__)
def test_a_trace_of_a_sampler_is_refused(module):
    theta = torch.eye(2, 3)[None]
    given = (images(1, 1, 4, 4), theta if isinstance(module, AffineSample) else images(1, 4, 4, 2))
    with pytest.raises(NotImplementedError, match="cannot be traced"):
        torch.jit.trace(module, given)


@pytest.mark.parametrize(
    ("build", "error", "match"),
    [
        (lambda: GridSample(mode="cubic"), ValueError, "`mode` must be one of .* got 'cubic'"),
        (lambda: GridSample(coords="pixels"), ValueError, "`coords` must be one of"),
        (lambda: AffineSample(padding_mode=("border", "mirror")), ValueError, "`padding_mode` must be one of"),
        (lambda: AffineSample(align_corners=1), TypeError, "`align_corners` must be True or False"),
        (lambda: AffineSample(size=7), TypeError, "`size` must be a sequence"),
        (lambda: AffineSample(coords="pixel"), TypeError, "`coords` is no option here; options are"),
        (lambda: SpatialTransformer(nn.Identity(), "shear"), ValueError, "`transform` must be one of 'affine'"),
        (lambda: SpatialTransformer(nn.Identity(), None), TypeError, "`transform` must be one of .* or a function"),
        (lambda: identity_head(4, "rotation", 1), ValueError, "`axes` must be one of 2, 3"),
        (lambda: identity_(nn.Linear(3, 5)), ValueError, "must have 2 .* numbers"),
        (lambda: identity_head(4, control_points=POINTS), ValueError, "`control_points` are those of"),
        (
            lambda: identity_(nn.Linear(3, 32), "thin_plate_spline", control_points=POINTS),
            ValueError,
            r"must have 12 \(2-D\) numbers",
        ),
        (
            lambda: SpatialTransformer(nn.Identity(), "affine", control_points=POINTS),
            ValueError,
            "`control_points` are those of",
        ),
        (lambda: identity_(nn.Linear(3, 6, bias=False)), ValueError, "`layer` must have a bias"),
        (
            lambda: SpatialTransformer(nn.Flatten(), "affine")(images(2, 1, 2, 2)),
            ValueError,
            "`parameters` of 'affine'",
        ),
    ],
)
def test_mistakes(build, error, match):
    with pytest.raises(error, match=match):
        build()


@pytest.mark.parametrize("room", [modules, functional], ids=lambda room: room.__name__)
def test_examples(room):
    tests = [test for test in doctest.DocTestFinder().find(room) if test.examples]
    assert len(tests) >= 2
    for test in tests:
        assert doctest.DocTestRunner(verbose=False).run(test).failed == 0
