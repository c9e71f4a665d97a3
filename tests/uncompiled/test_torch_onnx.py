"""ONNX: what is exported runs elsewhere and says the same, and what ONNX lacks is refused by name.

One model calls an operation in many ways, because an export takes a second.
"""

import copy
import doctest
import functools

import numpy as np
import onnx
import onnx.reference
import onnxruntime
import pytest
import torch
from onnxscript import ir
from torch import nn
from torch.onnx._internal.exporter import _registration

import stnkit
from stnkit.torch import onnx as room
from stnkit.torch.nn import SpatialTransformer, identity_head
from stnkit.torch.onnx import translation_table
from stnkit.torch.onnx.coordinates import evaluated
from stnkit.transforms import control_lattice

pytestmark = pytest.mark.filterwarnings(
    # torch's own: while it copies its trees, and in its exporter
    "ignore:.isinstance.treespec, LeafSpec.. is deprecated:FutureWarning",
)

E = np.finfo(np.float32).eps


@pytest.fixture(scope="module", autouse=True)
def _registered():
    """Let torch read its own translations from their sources once for each opset, which takes half of an export."""
    registry = _registration.ONNXRegistry
    read = functools.cache(registry.from_torchlib)

    def from_torchlib(**opset):
        found = copy.copy(read(**opset))
        found.functions = {target: list(ways) for target, ways in found.functions.items()}
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registry, "from_torchlib", staticmethod(from_torchlib))
        yield


class Calls(nn.Module):
    """A model of several calls of one function, on the same tensors."""

    def __init__(self, name, calls):
        super().__init__()
        self.name, self.calls = name, calls

    def forward(self, *tensors):
        function = getattr(stnkit, self.name)
        return tuple(function(*tensors, *rest, **options) for rest, options in self.calls)


def drawn(*shape, low=0.0, high=1.0, dtype=torch.float32):
    generator = torch.Generator().manual_seed(sum(shape))
    return torch.empty(shape).uniform_(low, high, generator=generator).to(dtype)


def exported(model, tensors, opset_version=20, **options):
    """Export; opset 20 is not the default of every torch."""
    options = {"opset_version": opset_version, "custom_translation_table": translation_table(), **options}
    program = torch.onnx.export(model.eval(), tensors, dynamo=True, verbose=False, **options)
    onnx.checker.check_model(program.model_proto, full_check=True)
    return program.model_proto


def nodes(proto):
    return {node.op_type for node in proto.graph.node}


def agree(proto, model, tensors, limit):
    """Run a file in onnxruntime, and compare with the model."""
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    names = [given.name for given in session.get_inputs()]
    results = session.run(None, {name: tensor.numpy() for name, tensor in zip(names, tensors, strict=True)})
    with torch.no_grad():
        expected = model(*tensors)
    for got, wanted in zip(results, expected if isinstance(expected, tuple) else (expected,), strict=True):
        assert got.shape == tuple(wanted.shape)
        assert got.dtype == wanted.numpy().dtype
        np.testing.assert_allclose(got.astype(float), wanted.double().numpy(), rtol=0, atol=limit)


def check(name, tensors, calls, limit):
    model = Calls(name, calls)
    proto = exported(model, tensors)
    agree(proto, model, tensors, limit)
    return proto


WAYS = [
    {"mode": mode, "padding_mode": padding, "align_corners": align}
    for mode in ("bilinear", "nearest", "bicubic")
    for padding in ("zeros", "border", "reflection")
    for align in (False, True)
]
FILLED = [{"fill_value": 2.5}, {"fill_value": [1.0, 2.0, 3.0]}, {"fill_value": -1.0, "mode": "bicubic"}]
PIXELS = [{"coords": "pixel", **ways} for ways in WAYS]


def plain(ways):
    return [((), way) for way in ways]


# A coordinate of up to 9 pixels is known to 16 eps of it on both sides, values are at most 3, and the slope of an
# interpolated image is at most 6 from pixel to pixel, 9 by bicubic.
LIMIT = 2 * 9 * 16 * 9 * float(E)


def test_every_mode_padding_and_convention():
    image, grid = drawn(2, 3, 5, 6), drawn(2, 4, 3, 2, low=-1.6, high=1.6)
    assert nodes(check("grid_sample", (image, grid), plain(WAYS), LIMIT)) == {"GridSample"}
    check("grid_sample", (image, grid), plain(FILLED), LIMIT)


def test_pixels():
    image, grid = drawn(2, 3, 5, 6), drawn(2, 4, 3, 2, low=-4.3, high=9.7)
    check("grid_sample", (image, grid), plain(PIXELS), LIMIT)
    row, line = drawn(2, 3, 1), drawn(2, 4, 1, low=-2, high=2)  # an image of one pixel has a neighbourhood too
    check("grid_sample", (row, line), plain(way for way in PIXELS if way["mode"] == "bilinear"), LIMIT)


@pytest.mark.parametrize(
    ("image", "grid"),
    [
        ((2, 3, 7), (2, 4, 1)),
        ((2, 3, 3, 4, 5), (2, 2, 2, 3, 3)),
        ((2, 3, 5, 6), (1, 4, 3, 2)),
        ((3, 5, 6), (2, 4, 3, 2)),
        ((3, 7), (4, 1)),
    ],
)
def test_axes_and_shared_batches(image, grid):
    ways = [way for way in WAYS if way["mode"] != "bicubic" or len(grid) < 5][::3] + FILLED[:2]
    check("grid_sample", (drawn(*image), drawn(*grid, low=-1.6, high=1.6)), plain(ways), LIMIT)


def test_channels_last():
    ways = [{"data_format": "channels_last", **way} for way in (*FILLED, {"padding_mode": "border"})]
    check("grid_sample", (drawn(2, 5, 6, 3), drawn(2, 4, 3, 2, low=-1.6, high=1.6)), plain(ways), LIMIT)


@pytest.mark.parametrize(
    ("image", "grid", "limit"),
    [
        (torch.float64, torch.float64, 1e-13),
        (torch.float64, torch.float32, 1e-13),
        (torch.float32, torch.float64, LIMIT),
        (torch.float16, torch.float32, 2.0**-10),
        (torch.float16, torch.float16, 2.0**-10),
    ],
)
def test_dtypes(image, grid, limit):
    """Half precision is rounded once, to one of two neighbours of values up to 2."""
    ways = [{}, {"mode": "bicubic"}, {"mode": "nearest", "padding_mode": "border"}]
    given = drawn(2, 3, 5, 6, dtype=image), drawn(2, 4, 3, 2, low=-1.6, high=1.6, dtype=grid)
    check("grid_sample", given, plain(ways), limit)


@pytest.mark.parametrize(("dtype", "high"), [(torch.uint8, 256), (torch.int16, 2**11), (torch.int32, 2**31)])
def test_integers(dtype, high):
    """Rounded half to even and saturated, which bicubic needs; a tie may fall either way."""
    image = drawn(2, 3, 5, 6, high=high, dtype=dtype)
    ways = [{}, {"mode": "bicubic", "padding_mode": "border"}, {"mode": "nearest", "fill_value": 7}]
    check("grid_sample", (image, drawn(2, 4, 3, 2, low=-1.6, high=1.6)), plain(ways), 1)


SIZES = {1: [(4,), (1,)], 2: [(4, 5), (4, 1)], 3: [(2, 3, 4), (2, 1, 4)]}


@pytest.mark.parametrize(("axes", "batch"), [(1, (2,)), (2, (2,)), (3, (2,)), (2, ())])
def test_affine_maps(axes, batch):
    """An axis of size 1 is at 0, where ONNX would put it at -1 if corners are aligned."""
    theta = drawn(*batch, axes, axes + 1, low=-1)
    calls = [((size,), {"align_corners": align}) for size in SIZES[axes] for align in (False, True)]
    proto = check("affine_grid", (theta,), calls, 8 * E)
    assert "AffineGrid" in nodes(proto)
    calls = [*calls[1:], ((None,), {"padding_mode": "border"})]
    check("affine_sample", (drawn(2, 3, *(4, 5, 6)[:axes]), theta), calls, LIMIT)


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_flows(axes):
    flow = drawn(2, *(4, 5, 6)[:axes], axes, low=-2, high=2)
    words = [{"units": unit, "align_corners": align} for unit in ("pixel", "normalized") for align in (False, True)]
    check("flow_grid", (flow,), plain(words), 16 * E)
    check("flow_sample", (drawn(2, 3, *(4, 5, 6)[:axes]), flow), plain(words), LIMIT)


# The exporter tells those who name the axes that it keeps the first of two names.
@pytest.mark.filterwarnings("ignore:. The axis name:UserWarning")
def test_sizes_known_only_when_it_runs():
    class Model(nn.Module):
        def forward(self, image, flow, theta):
            moved = stnkit.flow_sample(image, flow)
            pixels = stnkit.grid_sample(image, flow, coords="pixel")
            return moved, pixels, stnkit.affine_sample(image, theta), stnkit.flow_grid(flow, align_corners=True)

    def given(n, h, w, t):
        return drawn(n, 2, h, w), drawn(n, t, 3, 2, low=-2, high=4), drawn(n, 2, 3, low=-1)

    model = Model()
    n, h, w, t = (torch.export.Dim(name) for name in "nhwt")
    shapes = ({0: n, 2: h, 3: w}, {0: n, 1: t}, {0: n})
    proto = exported(model, given(2, 5, 6, 4), dynamic_shapes=shapes)
    for sizes in ((2, 5, 6, 4), (3, 7, 4, 2), (1, 2, 2, 5)):
        agree(proto, model, given(*sizes), LIMIT)


OWN = control_lattice((3, 2)) * 0.9


@pytest.mark.parametrize(
    ("transform", "own"),
    [
        ("similarity", {}),
        ("projective", {}),
        ("thin_plate_spline", {}),
        ("thin_plate_spline", {"control_points": OWN}),
        ("thin_plate_spline", {"control_points": torch.from_numpy(OWN).float()}),
    ],
)
def test_a_spatial_transformer(transform, own):
    torch.manual_seed(0)
    head = identity_head(8, transform, **own)
    nn.init.normal_(head.weight, 0, 0.2)
    localization = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Tanh(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), head)
    model = SpatialTransformer(localization, transform, padding_mode="border", **own)
    proto = exported(model, (drawn(2, 1, 8, 9),), dynamic_shapes=({0: "n"},))
    assert {node.domain for node in proto.graph.node} == {""}
    assert {"GridSample"} <= nodes(proto)
    assert ("MatMul" in nodes(proto)) == (transform == "thin_plate_spline")
    agree(proto, model, (drawn(4, 1, 8, 9),), LIMIT)


class Bent(nn.Module):
    """Control points in the ways that a program may have them."""

    def __init__(self, points, scale=1):
        super().__init__()
        self.scale = scale
        if isinstance(points, torch.Tensor):
            self.register_buffer("points", points)
        else:
            self.points = points

    def forward(self, image, theta):
        points = self.points if self.scale == 1 else self.points * self.scale  # which the exporter computes nothing of
        size = (3, 2, 4)[-theta.shape[-1] :]
        grids = [stnkit.thin_plate_spline_grid(theta, points, size, align_corners=align) for align in (False, True)]
        return *grids, stnkit.thin_plate_spline_sample(image, theta, points, padding_mode="border")


@pytest.mark.parametrize(
    ("axes", "points", "scale", "dtype", "optimize"),
    [
        (2, torch.from_numpy(OWN), 1, torch.float32, True),
        (2, torch.from_numpy(OWN).float(), 0.8, torch.float32, True),
        (2, torch.from_numpy(OWN), 1.5, torch.float64, False),
        (1, torch.linspace(-1, 1, 4)[:, None], 1, torch.float32, True),
        (3, torch.from_numpy(control_lattice((2, 2, 2))), 1, torch.float32, True),
    ],
)
def test_thin_plate_splines(axes, points, scale, dtype, optimize):
    """A table, of the control points alone, and a product."""
    model = Bent(points, scale)
    image = drawn(2, 3, *(4, 5, 6)[:axes], dtype=dtype)
    theta = points.to(dtype) + drawn(2, len(points), axes, low=-0.3, high=0.3, dtype=dtype)
    proto = exported(model, (image, theta), optimize=optimize)
    assert "MatMul" in nodes(proto)
    agree(proto, model, (image, theta), LIMIT if dtype == torch.float32 else 1e-13)


def test_tricubic_is_exported_though_onnxruntime_lacks_it():
    """ONNX's own reference has it, but for borders, where it clamps coordinates: on two axes onnxruntime does not."""
    ways = [{"mode": "bicubic", "padding_mode": padding} for padding in ("zeros", "reflection")]
    model = Calls("grid_sample", plain(ways))
    image, grid = drawn(1, 1, 3, 4, 5), drawn(1, 1, 2, 2, 3, low=-1.4, high=1.4)
    proto = exported(model, (image, grid))
    names = [given.name for given in proto.graph.input]
    results = onnx.reference.ReferenceEvaluator(proto).run(
        None, dict(zip(names, (image.numpy(), grid.numpy()), strict=True))
    )
    for got, wanted in zip(results, model(image, grid), strict=True):
        np.testing.assert_allclose(got, wanted.numpy(), rtol=0, atol=LIMIT)


@pytest.mark.parametrize("opset", [18, 21, 23])
def test_opsets(opset):
    model, given = Calls("grid_sample", plain(WAYS[::5])), (drawn(2, 3, 5, 6), drawn(2, 4, 3, 2, low=-1.6, high=1.6))
    proto = exported(model, given, opset_version=opset)
    assert [entry.version for entry in proto.opset_import if entry.domain == ""] == [opset]
    agree(proto, model, given, LIMIT)


SQUARE = torch.from_numpy(control_lattice((2, 2)))
PLANE, POINTS = drawn(1, 1, 3, 3), drawn(1, 2, 2, 2)


@pytest.mark.parametrize(
    ("name", "tensors", "rest", "options", "opset", "reason"),
    [
        ("grid_sample", (PLANE, POINTS), (), {"padding_mode": "wrap"}, 20, "`padding_mode` 'wrap'; only 'zeros'"),
        *(
            ("grid_sample", (PLANE, POINTS), (), {"mode": "spline3", "prefilter": own}, 20, "`mode` 'spline3'; only 'n")
            for own in (True, False)
        ),
        ("grid_sample", (PLANE, POINTS), (), {"padding_mode": ("zeros", "border")}, 20, "a `padding_mode` for each"),
        ("grid_sample", (PLANE, POINTS), (), {"fill_value": float("nan")}, 20, "a `fill_value` that is not finite"),
        ("grid_sample", (PLANE.long(), POINTS), (), {"mode": "nearest"}, 20, "an image of INT64; only of BFLOAT16, "),
        ("grid_splat", (drawn(1, 1, 2, 2), POINTS), ((3, 3),), {}, 20, "`grid_splat`"),
        ("thin_plate_spline_grid", (drawn(1, 4, 2), SQUARE), ((3, 3),), {}, 20, "a thin plate spline whose `control_p"),
        ("affine_grid", (drawn(1, 2, 3),), ((3, 3),), {}, 18, "an affine map in opset 18; pass `opset_version=20`"),
        ("grid_sample", (drawn(1, 1, 2, 2, 2), drawn(1, 1, 1, 1, 3)), (), {}, 19, "three axes in opset 19"),
    ],
)
def test_what_onnx_lacks_is_refused(name, tensors, rest, options, opset, reason):
    # torch 2.8 knows an input only when it optimises, whose error is a RuntimeError.
    with pytest.raises((torch.onnx.OnnxExporterError, RuntimeError)) as caught:
        exported(Calls(name, [(rest, options)]), tensors, opset_version=opset)
    assert any(f"ONNX cannot express {reason}" in text for text in said(caught.value))


def said(error):
    """Say what an error, and those that led to it, tell."""
    while error is not None:
        yield str(error)
        error = error.__cause__ or error.__context__


def test_a_spline_s_size_is_known():
    with pytest.raises(torch.onnx.OnnxExporterError, match="cannot express a thin plate spline whose output's size"):
        exported(Bent(SQUARE), (drawn(2, 3, 4, 5), drawn(2, 4, 2)), dynamic_shapes=({2: torch.export.Dim("h")}, None))


def test_an_input_is_found_when_the_file_is_whole():
    """What older exporters do not tell from the start; a constant is filled in by then."""
    made = ir.Value(name="points")
    made.meta["node"] = torch.fx.Graph().placeholder("points")
    numbers = evaluated(made, "it")
    with pytest.raises(ValueError, match="ONNX cannot express it"):
        numbers()
    made.const_value = ir.tensor(OWN)
    np.testing.assert_array_equal(numbers().numpy(), OWN)


def test_the_table_has_every_operation_of_the_forward_pass():
    forward = {"grid_sample", "affine_sample", "flow_sample", "affine_grid", "flow_grid", "grid_splat"}
    named = forward | {"thin_plate_spline_table", "spline_filter"}
    assert set(translation_table()) == {getattr(torch.ops.stnkit, name).default for name in named}


def test_examples():
    tests = [test for test in doctest.DocTestFinder().find(room) if test.examples]
    assert tests
    for test in tests:
        assert doctest.DocTestRunner(verbose=False).run(test).failed == 0
