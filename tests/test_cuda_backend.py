"""Operations on a GPU's arrays, from the public functions to what each thread does, on memory that pretends to be one.

Threads run one after another, uncompiled, so nothing here depends on their order; values are those of the CPU's loops.
"""

import importlib
import math

import bounds
import numpy as np
import pytest
import shrunk
from covering import every_two_of
from emulation.pretended import OnHost, Pretender, lent, pretended, returned
from ml_dtypes import bfloat16

RANDOM = np.random.default_rng(0)
ULPS = {"float16": 2.0**-11, "bfloat16": 2.0**-8, "float32": 2.0**-24, "float64": 2.0**-53}


@pytest.fixture
def library(plain):
    """Return the uncompiled stnkit on pretended devices."""
    importlib.import_module("stnkit.kernels.cuda.runtime")
    with pretended():
        yield plain


def numbers(shape, dtype="float32"):
    if np.dtype(dtype).kind in "ui":
        return RANDOM.integers(0, 100, shape).astype(dtype)
    return RANDOM.uniform(-1, 1, shape).astype(dtype)


def picture(batch, channels, size, last, dtype):
    return numbers((batch, *size, channels) if last else (batch, channels, *size), dtype)


def compare(function, *arguments, sums=1, moved=0.0, **options):
    """Compare a call on a device with the same call on the CPU.

    `sums` is the largest number of terms, each at most 16 in size, that one number of a result adds up. Their order
    differs between devices, and each addition rounds once. By `moved` results differ before they are rounded.
    """
    here = function(*arguments, **options)
    there = returned(function(*map(lent, arguments), **options))
    pairs = zip(here, there, strict=True) if isinstance(here, tuple) else [(here, there)]
    for expected, result in pairs:
        if expected is None:
            assert result is None
            continue
        assert (result.shape, result.dtype) == (expected.shape, expected.dtype)
        one, other = result.astype("float64"), expected.astype("float64")
        ulp = ULPS.get(expected.dtype.name, 0)
        bound = 2 * ulp * np.abs(other) + 2 * sums * 16 * sums * max(ulp, ULPS["float32"] if ulp < 2.0**-53 else ulp)
        if sums == 1 and not moved:
            np.testing.assert_array_equal(result, expected)
        else:
            bound = bound + moved if ulp else 1  # integers are rounded to either side
            assert np.all(np.abs(one - other) <= bound), np.abs(one - other).max()


SIZES = {1: ((7,), (5,)), 2: ((4, 5), (3, 4)), 3: ((2, 3, 4), (2, 3, 2))}
CALLS = [  # axes, channels last, images, sources, dtype of the image, mode, padding
    (2, False, 2, 2, "float32", "bilinear", "zeros"),
    (2, True, 2, 2, "float32", "bicubic", "border"),
    (1, False, 1, 2, "float64", "bilinear", "reflection"),
    (3, True, 2, 1, "float32", "bilinear", "wrap"),
    (2, False, 2, 1, "float16", "bicubic", "zeros"),
    (3, False, 1, 2, "float32", "nearest", "border"),
    (2, True, 1, 2, bfloat16, "bilinear", "zeros"),
]


@pytest.mark.parametrize("name", ["grid_sample", "affine_sample", "flow_sample"])
@pytest.mark.parametrize("call", CALLS)
def test_samplers_and_their_derivatives(library, name, call):
    ndim, last, images, sources, dtype, mode, padding = call
    extent, size = SIZES[ndim]
    options = {"mode": mode, "padding_mode": padding, "data_format": "channels_last" if last else "channels_first"}
    image, image_dot = (picture(images, 4, extent, last, dtype) for _ in range(2))
    shape = (sources, ndim, ndim + 1) if name == "affine_sample" else (sources, *size, ndim)
    source, source_dot = numbers(shape), numbers(shape)
    cotangent = picture(max(images, sources), 4, size, last, dtype)
    size = (size,) if name == "affine_sample" else ()
    function = {end: getattr(library, name + end) for end in ("", "_vjp", "_jvp", "_double_vjp")}
    compare(function[""], image, source, *size, fill_value=[1.0, 2.0, 0.5, 0.0], **options)
    compare(function["_jvp"], image, source, image_dot, source_dot, *size, **options)
    compare(function["_jvp"], image, source, None, source_dot, *size, **options)
    terms = 4 * 2 * int(np.prod(SIZES[ndim][1])) * 4  # channels, batch items, locations, and taps that meet
    for deterministic in (False, True):
        steady = {"deterministic": deterministic, "sums": terms, **options}
        compare(function["_vjp"], cotangent, image, source, **steady)
        compare(function["_double_vjp"], image_dot, source_dot, cotangent, image, source, **steady)
    compare(function["_double_vjp"], image_dot, None, cotangent, image, source, sums=terms, **options)


MAPS = {  # what their functions take beside theta
    "projective": lambda ndim, dtype: (),
    "thin_plate_spline": lambda ndim, dtype: (numbers((2 * ndim + 3, ndim), "float64"),),
}


def drawn(name, ndim, many, dtype, fixed):
    """Draw maps close to the identity, of which projective ones show their horizon somewhere."""
    if name == "projective":
        return (np.eye(ndim + 1) + 0.6 * numbers((many, ndim + 1, ndim + 1), "float64")).astype(dtype)
    return (fixed[0] + 0.3 * numbers((many, *fixed[0].shape), "float64")).astype(dtype)


CLOSE = [  # in float64, where bounds are close
    (2, False, 2, 2, "float64", "bicubic", "reflection"),
    (3, True, 2, 1, "float64", "bilinear", "border"),
]


@pytest.mark.parametrize("name", MAPS)
@pytest.mark.parametrize("call", CALLS + CLOSE)
def test_maps(library, name, call):
    """A spline's system is solved in float64 on both sides, each in its own order: float32 may round otherwise."""
    ndim, last, images, sources, dtype, mode, padding = call
    extent, size = SIZES[ndim]
    options = {"mode": mode, "padding_mode": padding, "data_format": "channels_last" if last else "channels_first"}
    image, image_dot = (picture(images, 4, extent, last, dtype) for _ in range(2))
    kind = "float64" if dtype == "float64" else "float32"
    fixed = MAPS[name](ndim, kind)
    theta, theta_dot = (drawn(name, ndim, sources, kind, fixed) for _ in range(2))
    cotangent = picture(max(images, sources), 4, size, last, dtype)
    sample, vjp, jvp = (of_maps(library, f"{name}_sample{end}", fixed) for end in ("", "_vjp", "_jvp"))
    terms = 4 * 2 * int(np.prod(size)) * 4
    first = {"sums": 1 if name == "projective" else terms}
    compare(sample, image, theta, *fixed, size, fill_value=[1.0, 2.0, 0.5, 0.0], **first, **options)
    for dots in ((image_dot, theta_dot), (None, theta_dot), (image_dot, None)):
        compare(jvp, image, theta, *dots, *fixed, size, **first, **options)
    for steady in (False, True):
        compare(vjp, cotangent, image, theta, *fixed, deterministic=steady, sums=terms, **options)
    grid, grid_vjp, grid_jvp = (of_maps(library, f"{name}_grid{end}", fixed) for end in ("", "_vjp", "_jvp"))
    compare(grid, theta, *fixed, size, **first)
    compare(grid_jvp, theta, theta_dot, *fixed, size, align_corners=True, **first)
    compare(grid_vjp, numbers((sources, *size, ndim), kind), theta, *fixed, sums=terms)


def of_maps(library, name, fixed):
    """Return a function whose control points stay in main memory."""
    function = getattr(library, name)

    def call(*arguments, **options):
        given = [a.array if fixed and isinstance(a, Pretender) and a.array is fixed[0] else a for a in arguments]
        return function(*given, **options)

    return call


def test_control_points_on_a_device_are_refused(library):
    image, points = picture(1, 3, (4, 5), False, "float32"), numbers((6, 2))
    with pytest.raises(TypeError, match="`control_points` lie on CUDA device 0; they are constants: pass them in main"):
        library.thin_plate_spline_sample(lent(image), lent(points), lent(points))


@pytest.mark.parametrize("name", ["grid_sample", "affine_sample", "flow_sample"])
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
def test_deterministic_sums_do_not_depend_on_the_order_of_threads(plain, name, dtype):
    """Bits are the same if threads run in the opposite order; by default they are not, but for half precision."""
    importlib.import_module("stnkit.kernels.cuda.runtime")
    image, image_dot, cotangent = (picture(2, 3, (5, 6), False, dtype) for _ in range(3))
    shape = (2, 2, 3) if name == "affine_sample" else (2, 5, 6, 2)
    source, source_dot = (0.5 * numbers(shape) for _ in range(2))
    cotangent[0, 0, 0, 0] *= np.dtype(dtype).type(1000)  # so that small numbers are added to large ones
    backward, double = (getattr(plain, name + end) for end in ("_vjp", "_double_vjp"))
    calls = [(backward, (cotangent, image[:1], source)), (double, (image_dot, source_dot, cotangent, image, source))]
    for steady in (False, True):
        same = []
        for function, arrays in calls:
            answers = []
            for order in (False, True):
                with pretended(backwards=order):
                    answers.append(returned(function(*map(lent, arrays), deterministic=steady)))
            same += [np.array_equal(a, b) for a, b in zip(*answers, strict=True)]
        assert all(same) or not steady
        assert not all(same) or steady or dtype == "float16"


def test_deterministic_sums_of_what_is_not_finite(library):
    image, grid = picture(1, 2, (4, 5), False, "float32"), numbers((1, 3, 4, 2))
    cotangent = picture(1, 2, (3, 4), False, "float32")
    cotangent[0, 0, 0, :3] = np.inf, -np.inf, np.nan
    cotangent[0, 1, 0, :2] = 0.0, -0.0
    arrays = cotangent, image, grid
    expected, _ = library.grid_sample_vjp(*arrays, wrt="image")
    bar, _ = returned(library.grid_sample_vjp(*map(lent, arrays), wrt="image", deterministic=True))
    for test in (np.isnan, np.isposinf, np.isneginf):
        np.testing.assert_array_equal(test(bar), test(expected))
    finite = np.isfinite(expected)
    np.testing.assert_allclose(bar[finite], expected[finite], rtol=0, atol=50 * 50 * 2.0**-24)


@pytest.mark.parametrize("wrt", ["image", "grid", ()])
def test_what_is_not_asked_for_is_none(library, wrt):
    image, grid = picture(2, 3, (4, 5), False, "float32"), numbers((2, 3, 4, 2))
    compare(library.grid_sample_vjp, picture(2, 3, (3, 4), False, "float32"), image, grid, wrt=wrt, sums=100)


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint32", "bool"])
def test_images_of_integers(library, dtype):
    image, grid = picture(1, 3, (4, 5), True, "uint8").astype(dtype), numbers((1, 3, 4, 2))
    options = {"mode": "nearest", "data_format": "channels_last"}
    compare(library.grid_sample, image, grid, **options)
    if dtype != "bool":
        compare(library.grid_sample, image, grid, data_format="channels_last", fill_value=[1, 2, 3])


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_splats(library, last, dtype):
    values, grid = picture(2, 3, (3, 4), last, dtype), numbers((2, 3, 4, 2))
    options = {"data_format": "channels_last" if last else "channels_first", "sums": 200}
    compare(library.grid_splat, values, grid, (4, 5), **options)
    compare(library.grid_splat, values, grid, (4, 5), deterministic=True, **options)
    compare(library.grid_splat, values[:1], grid, (4, 5), **options)
    cotangent = picture(2, 3, (4, 5), last, dtype)
    for given in (values, values[:1]):  # of which the second is shared
        compare(library.grid_splat_vjp, cotangent, given, grid, **options)
    for steady in (False, True):
        arrays = values, grid, numbers(grid.shape), numbers(grid.shape)
        compare(of_views, *arrays, (4, 5), mode="bicubic", deterministic=steady, **options)


def of_views(*arguments, **options):
    """Call what adapters call, which takes views."""
    function = importlib.import_module("stnkit.calls.splatting").splat_double_jvp
    if isinstance(arguments[0], np.ndarray):
        return function(*arguments, **options)
    lend = importlib.import_module("stnkit.backends.cuda.interop").import_array
    result = function(*(lend("x", a) if isinstance(a, Pretender) else a for a in arguments), **options)
    return result.context.export(result)


def test_counts_and_gradients(library):
    image, grid = picture(2, 3, (4, 5), False, "float32"), numbers((2, 3, 4, 2))
    compare(library.grid_count, grid, (4, 5), sums=200)
    compare(library.grid_gradient, image, grid)
    compare(library.grid_gradient, image[0], grid[0], mode="bicubic")


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_grids(library, dtype):
    theta, flow = numbers((2, 2, 3), dtype), numbers((2, 3, 4, 2), dtype)
    compare(library.affine_grid, theta, (3, 4), align_corners=True)
    compare(library.affine_grid, theta[0], (3, 4))
    compare(library.affine_grid_jvp, theta, numbers((2, 2, 3), dtype), (3, 4))
    compare(library.affine_grid_vjp, flow, sums=100)
    compare(library.flow_grid, flow)
    compare(library.flow_grid_vjp, flow)
    compare(library.flow_grid_vjp, flow, units="normalized")
    compare(library.flow_grid_jvp, flow, numbers(flow.shape, dtype))


def strided(array):
    """Return an equal array with gaps."""
    wide = np.zeros((*array.shape[:-1], 2 * array.shape[-1]), array.dtype)
    wide[..., ::2] = array
    return wide[..., ::2]


def misaligned(array):
    """Return an equal array whose numbers lie where no GPU can read them."""
    raw = np.zeros(array.nbytes + 1, np.uint8)[1:]
    shifted = raw.view(np.dtype((np.void, array.itemsize))).view(array.dtype).reshape(array.shape)
    shifted[...] = array
    return shifted


LAYOUTS = {
    "whole": lambda array: array,
    "gaps": strided,
    "turned": lambda array: np.ascontiguousarray(np.moveaxis(array, 1, -1)).transpose(0, 3, 1, 2),
    "misaligned": misaligned,
    "one item for all": lambda array: np.broadcast_to(array[:1], array.shape),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_any_layout(library, layout):
    """Odd strides are walked, and what cannot be is copied; bytes are those of arrays without gaps."""
    image, cotangent = (LAYOUTS[layout](picture(2, 4, (4, 5), False, "float32")) for _ in range(2))
    grid = numbers((2, 4, 5, 2))
    grid = LAYOUTS[layout](grid) if layout != "turned" else grid
    compare(library.grid_sample, image, grid)
    compare(library.grid_sample_vjp, cotangent, image, grid, sums=200)
    compare(library.grid_sample_jvp, image, grid, cotangent, None)


@pytest.mark.parametrize("channels", [1, 2, 3, 8])
def test_channels_side_by_side_are_taken_together_where_they_fit(plain, channels):
    importlib.import_module("stnkit.kernels.cuda.runtime")
    record = []
    image, grid = picture(2, channels, (4, 5), True, "float32"), numbers((2, 3, 4, 2))
    with pretended(record):
        compare(plain.grid_sample, image, grid, data_format="channels_last")
        compare(plain.grid_sample, misaligned(image), grid, data_format="channels_last")
    lanes = {1: 1, 2: 2, 3: 3, 8: 4}[channels]
    assert {spec.lanes for name, spec, *_ in record if name == "sample"} == {lanes}


@pytest.mark.parametrize(
    ("channels", "last", "group"),
    [(3, False, 1), (1, True, 1), (3, True, 1), (6, True, 2), (64, True, 16), (256, True, 32)],
)
def test_neighbours_share_the_channels_that_lie_side_by_side(library, channels, last, group):
    """Where a source's cotangent is summed over channels, a group of threads has a location, within one warp."""
    rooms = "backends.cuda.warp_layout", "plans.layout", "validation", "kernels.cuda.runtime"
    ops, plans, validation, runtime = (importlib.import_module(f"stnkit.{name}") for name in rooms)
    image, grid = picture(2, channels, (4, 5), last, "float32"), numbers((2, 3, 4, 2))
    words = validation.options(2, "bilinear", "zeros", False, "channels_last" if last else "channels_first")
    call = plans.sampling(plans.layout(image), plans.layout(grid), 0, (3, 4), words)
    runtime.WARP = 32
    lend = importlib.import_module("stnkit.backends.cuda.interop").import_array
    spec = ops.grouped(call, ops.vectored(call, lend("image", Pretender(image))))
    assert spec.group == group
    warps = ops.warp_layout(call, spec, lend("grid", Pretender(grid)))
    assert warps.rows == 32
    assert warps.items == 2 * 32 * group


@pytest.mark.parametrize("dtype", ["float32", "float16", "float64"])
@pytest.mark.parametrize("mode", ["nearest", "bilinear"])
@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_three_channels_side_by_side_are_taken_by_whole_warps(library, ndim, mode, dtype):
    """Locations are filled up to a multiple of a warp's threads, of which those without one change nothing."""
    record = []
    extent, size = (3, 4, 5)[-ndim:], (2, 3, 5)[-ndim:]
    image, cotangent = (picture(2, 3, part, True, dtype) for part in (extent, size))
    grid = numbers((2, *size, ndim), "float64" if dtype == "float64" else "float32")
    options, sums = {"mode": mode, "data_format": "channels_last"}, 3 * math.prod(size)
    with pretended(record) as runtime:
        runtime.WARP = 4
        compare(library.grid_sample, image, grid, **options)
        compare(library.grid_sample_vjp, cotangent, image, grid, sums=sums, **options)
        compare(library.grid_sample_vjp, cotangent, image, grid, wrt="image", sums=sums, **options)
        compare(library.grid_splat, cotangent, grid, size=extent, sums=sums, **options)
    told = {name: (spec.lanes, items) for name, spec, items, *_ in record}
    items = 2 * (math.prod(size) + -math.prod(size) % 4)
    kernels = {"sample", "scatter"} | ({"sample_vjp"} if mode == "bilinear" else set())
    assert {name: told[name] for name in kernels} == dict.fromkeys(kernels, (3, items))


@pytest.mark.parametrize("rows", [1, 2048, 2049, 5000])
def test_partial_sums_of_large_maps_are_added_up_in_parts(library, rows):
    """Bound: one rounding for a part, and one for the sum of the parts, of which each has less than 1 for a number."""
    ops = importlib.import_module("stnkit.backends.cuda.warp_layout")
    lend = importlib.import_module("stnkit.backends.cuda.interop").import_array
    parts = (np.random.default_rng(rows).random((4, rows, 3)) - 0.5).astype(np.float32)
    record = []
    with pretended(record):
        for maps, count in ((4, rows), (2, 2 * rows)):
            expected = parts.astype(float).reshape(maps, count, 3).sum(1)
            record.clear()
            sums = ops.theta_sums(lend("sums", Pretender(parts)), (maps, 3))
            np.testing.assert_allclose(sums.owner.array, expected, rtol=0, atol=2 * 2.0**-24 * count)
            assert len(record) == (1 if count <= 2048 else 2)
            assert record[0][2] == maps * 3 * (1 if count <= 2048 else -(-count // 512))


def test_arguments_to_write_into(library):
    image, grid = picture(2, 3, (4, 5), False, "float16"), numbers((2, 3, 4, 2))
    out = Pretender(np.zeros((2, 3, 3, 4), "float16"))
    assert library.grid_sample(lent(image), lent(grid), out=out) is out
    np.testing.assert_array_equal(out.array, library.grid_sample(image, grid))
    into, cotangent = Pretender(np.ones(image.shape, "float32")), picture(2, 3, (3, 4), False, "float16")
    arrays = cotangent, image, grid
    bar, _ = library.grid_sample_vjp(*map(lent, arrays), wrt="image", accumulate_into=into)
    expected, _ = library.grid_sample_vjp(*arrays, wrt="image", accumulate_into=np.ones(image.shape, "float32"))
    assert bar is into
    np.testing.assert_allclose(into.array, expected, rtol=0, atol=50 * 50 * 2.0**-24)
    with pytest.raises(ValueError, match="`out` must not overlap `image`"):
        library.grid_sample(out, lent(grid), out=out)
    frozen = np.zeros((2, 3, 3, 4), "float16")
    frozen.flags.writeable = False
    with pytest.raises(ValueError, match="`out` must be writable"):
        library.grid_sample(lent(image), lent(grid), out=Pretender(frozen))
    with pytest.raises(ValueError, match="`out` must be C-contiguous"):
        library.grid_sample(lent(image), lent(grid), out=Pretender(strided(np.zeros((2, 3, 3, 4), "float16"))))


EMPTY = [((0, 3, 4, 5), (0, 3, 4, 2)), ((2, 0, 4, 5), (2, 3, 4, 2)), ((2, 3, 4, 5), (2, 0, 4, 2))]


@pytest.mark.parametrize("shapes", EMPTY)
def test_arrays_without_numbers(library, shapes):
    image, grid = (np.zeros(shape, "float32") for shape in shapes)
    out = library.grid_sample(image, grid)
    compare(library.grid_sample, image, grid)
    compare(library.grid_sample_vjp, out, image, grid)
    compare(library.grid_sample_double_vjp, image, grid, out, image, grid)
    compare(library.affine_grid_vjp, grid)


def test_coordinates_that_are_not_finite(library):
    image, grid = picture(1, 3, (4, 5), False, "float32"), numbers((1, 3, 4, 2))
    grid[0, 0, 0, 0], grid[0, 1, 1, 1], grid[0, 2, 2] = np.nan, np.inf, (1e30, -1e30)
    for padding in ("zeros", "border", "reflection", "wrap"):
        compare(library.grid_sample, image, grid, padding_mode=padding, fill_value=2.0)
        out = numbers((1, 3, 3, 4))
        compare(library.grid_sample_vjp, out, image, grid, padding_mode=padding, sums=100)


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_fill_values_that_are_not_finite(library, ndim, mode, last):
    """They do not reach the rim, which bicubic reads at every pixel here."""
    extent = SIZES[ndim][0]
    image, image_dot = (picture(1, 4, extent, last, "float32") for _ in range(2))
    grid = np.stack(np.meshgrid(*map(np.arange, extent), indexing="ij")[::-1], axis=-1)[None].astype("float32")
    options = {"mode": mode, "coords": "pixel", "data_format": "channels_last" if last else "channels_first"}
    options["fill_value"] = [np.nan, 1.0, np.inf, -np.inf]
    np.testing.assert_array_equal(returned(library.grid_sample(lent(image), lent(grid), **options)), image)
    compare(library.grid_sample, image, grid + np.float32(0.25), **options)
    compare(library.grid_sample_jvp, image, grid, image_dot, numbers(grid.shape), **options)
    compare(library.grid_gradient, image, grid, **options)
    compare(library.grid_sample_vjp, image_dot, image, grid, wrt="grid", sums=4 * 4, **options)


def test_arrays_on_different_devices_are_refused(library):
    image, grid = picture(1, 3, (4, 5), False, "float32"), numbers((1, 3, 4, 2))
    with pytest.raises(TypeError, match="`grid` lies on CUDA device 1 and `image` on CUDA device 0; move them"):
        library.grid_sample(Pretender(image), Pretender(grid, device=1))
    with pytest.raises(TypeError, match="`grid` is a numpy array and `image` a emulation array"):
        library.grid_sample(Pretender(image), grid)


def test_arrays_of_one_framework_on_host_and_device_are_refused(library):
    image, grid = picture(1, 3, (4, 5), False, "float32"), numbers((1, 3, 4, 2))
    with pytest.raises(TypeError, match="`grid` lies in main memory and `image` on CUDA device 0; move them"):
        library.grid_sample(Pretender(image), OnHost(grid))


def test_the_first_array_s_stream_is_worked_on_and_waits_for_the_others(plain):
    importlib.import_module("stnkit.kernels.cuda.runtime")
    image, grid = picture(1, 3, (4, 5), False, "float32"), numbers((1, 3, 4, 2))
    record = []
    with pretended(record):
        plain.grid_sample(Pretender(image, stream=8), Pretender(grid, stream=9))
    assert record[0] == ("follow", 8, 9, 0)
    assert {stream for _, _, _, stream, _ in record[1:]} == {8}


class Capsule:
    """An array of a framework that has DLPack alone."""

    def __init__(self, array):
        self.array = array

    def __dlpack__(self, *, stream):
        assert stream == 1
        return self.array.__dlpack__()

    def __dlpack_device__(self):
        return 2, 0


def test_arrays_that_have_dlpack_alone(library, monkeypatch):
    """Their results come as arrays that share their memory through the interface which all frameworks read."""
    memory = []

    class Buffer:
        def __init__(self, size):
            self.bytes = np.full(size, 0xAB, np.uint8)
            self.handle = self.bytes.ctypes.data

    device = importlib.import_module("stnkit.kernels.cuda.runtime")
    monkeypatch.setattr(device, "allocate", lambda size, stream, at: memory.append(Buffer(size)) or memory[-1])
    image, grid = strided(picture(1, 3, (4, 5), False, "float32")), numbers((1, 3, 4, 2))
    out = library.grid_sample(Capsule(image), Capsule(grid))
    told = out.__cuda_array_interface__
    assert (told["stream"], told["version"], told["data"]) == (1, 3, (out.owner.handle, False))
    result = out.owner.bytes.view("float32").reshape(told["shape"])
    np.testing.assert_array_equal(result, library.grid_sample(image, grid))


def test_constants_are_carried_by_launches_and_kept_for_each_stream(plain):
    memory = importlib.import_module("stnkit.backends.cuda.memory")
    importlib.import_module("stnkit.kernels.cuda.runtime")
    interop = importlib.import_module("stnkit.backends.cuda.interop")
    record = []
    with pretended(record) as device:
        memory._constants.clear()
        contexts = [interop.import_array("x", Pretender(np.zeros(1), stream=stream)).context for stream in (7, 8)]
        for values in (np.arange(100.0), np.full(1000, 2.5, "float32"), np.arange(3, dtype="uint8"), np.zeros(0)):
            launches = max(-(-values.nbytes // memory.LINE), 1) if values.size != 1000 else 1
            for context, expected in (
                (contexts[0], launches),
                (contexts[0], 0),
                (contexts[1], launches),
                (contexts[1], 0),
            ):
                record.clear()
                array = memory.constant(context, values)
                assert len(record) == expected
                assert array.address % 8 == 0
                raw = array.owner.array.view(np.uint8)[: values.nbytes]
                np.testing.assert_array_equal(raw.view(values.dtype), values)
        device.is_capturing = lambda stream, at: True
        record.clear()
        for _ in range(2):
            memory.constant(contexts[0], np.arange(5.0))
        assert len(record) == 2


def test_constants_have_a_size(plain, monkeypatch):
    """Those not used for the longest go, and what is larger than the bound is written each time."""
    memory = importlib.import_module("stnkit.backends.cuda.memory")
    importlib.import_module("stnkit.kernels.cuda.runtime")
    interop = importlib.import_module("stnkit.backends.cuda.interop")
    limit = 20 * memory.LINE
    monkeypatch.setattr(memory, "_constants", memory.Memo(limit))
    with pretended():
        context = interop.import_array("x", Pretender(np.zeros(1))).context
        for count in (*range(1, 60), 5000):
            memory.constant(context, np.arange(float(count)))
            kept = [entry[0] for entry in memory._constants._kept.values()]
            assert sum(len(array.owner.array) for array in kept) <= memory._constants.nbytes <= limit
        assert memory.constant(context, np.arange(59.0)) is memory.constant(context, np.arange(59.0))
        assert memory.constant(context, np.arange(5000.0)) is not memory.constant(context, np.arange(5000.0))


@pytest.mark.parametrize("name", ["grid_sample", "affine_sample"])
def test_a_cotangent_is_summed_in_the_image_s_dtype_whatever_the_source_s(library, name):
    """Memory for it is as large as the image: wider sums would end beyond it."""
    image, cotangent = picture(2, 3, (4, 5), False, "float32"), picture(2, 3, (3, 4), False, "float32")
    source = numbers((2, 2, 3) if name == "affine_sample" else (2, 3, 4, 2), "float64")
    for steady in (False, True):
        compare(getattr(library, f"{name}_vjp"), cotangent, image, source, deterministic=steady, sums=100)
    compare(getattr(library, f"{name}_double_vjp"), image, source, cotangent, image, source, sums=400)


MEANS = [  # axes, mode, padding, corners aligned, dtypes of image and maps, how many subsamples
    (1, "bilinear", "zeros", False, "float64", "float64", True),
    (2, "bilinear", "border", True, "float64", "float64", True),
    (2, "bicubic", "reflection", False, "float32", "float32", 2),
    (3, "bilinear", "wrap", False, "float64", "float64", 2),
    (2, "nearest", "border", False, "float16", "float32", 3),
]


@every_two_of(lambda op, kind, mean: kind in shrunk.KINDS[op], op=shrunk.OPS, kind=shrunk.KINDS["affine"], mean=MEANS)
def test_means_of_subsamples(library, op, kind, mean):
    """What is antialiased has the values of the CPU: bit by bit, but for sums and splines, added otherwise."""
    d, mode, padding, align, dtype, wide, antialias = mean
    image, source, cotangent, image_dot, source_dot = shrunk.drawn(op, d)
    few = (slice(None), slice(1), *[slice(4)] * d)  # pixels
    image, cotangent, image_dot = (np.ascontiguousarray(array[few]) for array in (image, cotangent, image_dot))
    arrays = *(a.astype(dtype) for a in (image, cotangent, image_dot)), *(a.astype(wide) for a in (source, source_dot))
    options = {"mode": mode, "padding_mode": padding, "align_corners": align, "fill_value": 0.5, "antialias": antialias}
    for steady in (False, True)[: 2 if "vjp" in kind else 1]:
        steadily = {"deterministic": steady} if "vjp" in kind else {}

        def function(image, cotangent, image_dot, source, source_dot, steadily=steadily):
            given = image, source, cotangent, image_dot, source_dot
            return shrunk.call(library, op, kind, given, **steadily, **options)

        terms = int(np.prod(shrunk.SIZE[-d:])) * (4 if mode == "bicubic" else 2) ** d + 3**d
        compare(function, *arrays, sums=terms if "vjp" in kind or op == "thin_plate_spline" else 1)


@pytest.mark.parametrize("dtype", ["uint8", "int32", "float32", bfloat16])
def test_items_of_which_each_has_its_own_number_of_subsamples(library, dtype):
    """One shrinks three times, one not at all, and one is not finite; channels come last, and an image is shared."""
    image = picture(1, 2, (3, 4), True, dtype)
    image = image * np.int32(2**24 + 1) if dtype == "int32" else image  # of more digits than float32 has
    theta = np.array([[[0.5, 0, 0.1], [0, 0.6, 0]], [[1.5, 0, 0], [0, 1, 0]], [[1, 0, 0], [0, 0.5, np.nan]]], "float32")
    options = {"data_format": "channels_last", "padding_mode": "border", "antialias": True}
    compare(library.affine_sample, image, theta, (2, 2), **options)
    flow = 0.1 * numbers((3, 2, 3, 2))
    flow[1] *= 4
    flow[2, 0, 0] = np.inf
    compare(library.flow_sample, image, flow, **options)
    compare(library.flow_sample, image[0], flow[1], **options)  # without a batch axis
    compare(library.flow_sample, image, flow[:, :1, :1], **options)  # of one location, which has no neighbour
    if dtype in ("float32", bfloat16):
        cotangent = picture(3, 2, (2, 3), True, dtype)
        compare(library.flow_sample_vjp, cotangent, image, flow, sums=100, **options)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_maps_that_a_gpu_cannot_read_are_copied_before_they_are_moved(library, monkeypatch, dtype):
    elements = importlib.import_module("stnkit.kernels.cuda.elementwise")
    pointer, offsets = elements.pointer, []
    monkeypatch.setattr(elements, "pointer", lambda at, like: offsets.append(at % like.itemsize) or pointer(at, like))
    image, theta, flow = (
        picture(2, 1, (4, 5), False, "float32"),
        numbers((2, 2, 3), dtype),
        numbers((2, 2, 3, 2), dtype),
    )
    for antialias in (True, 2):
        compare(library.affine_sample, image, misaligned(theta), (2, 3), antialias=antialias)
        compare(library.flow_sample, image, misaligned(0.2 * flow), antialias=antialias)
    assert set(offsets) == {0}


@pytest.mark.parametrize("antialias", [True, 3])
def test_means_to_write_into(library, antialias):
    image, theta = picture(2, 1, (6, 9), False, "float32"), numbers((2, 2, 3))
    out = Pretender(np.zeros((2, 1, 2, 3), "float32"))
    assert library.affine_sample(lent(image), lent(theta), (2, 3), antialias=antialias, out=out) is out
    np.testing.assert_array_equal(out.array, library.affine_sample(image, theta, (2, 3), antialias=antialias))
    into, expected = (np.ones(image.shape, "float32") for _ in range(2))
    given, options = (picture(2, 1, (2, 3), False, "float32"), image, theta), {"wrt": "image", "antialias": antialias}
    there = Pretender(into)
    bar, none = library.affine_sample_vjp(*map(lent, given), accumulate_into=there, **options)
    library.affine_sample_vjp(*given, accumulate_into=expected, **options)
    assert bar is there
    assert none is None
    np.testing.assert_allclose(into, expected, rtol=0, atol=100 * 100 * 2.0**-24)
    with pytest.raises(ValueError, match="`out` must not overlap `image`"):
        library.affine_sample(out, lent(theta), (2, 3), antialias=antialias, out=out)


def test_no_number_of_a_map_is_known_while_a_graph_is_recorded(library, monkeypatch):
    image, theta, flow = picture(1, 3, (6, 9), False, "float32"), numbers((1, 2, 3)), numbers((1, 2, 3, 2))
    device = importlib.import_module("stnkit.kernels.cuda.runtime")
    expected = library.affine_sample(image, theta, (2, 3), antialias=2)
    monkeypatch.setattr(device, "is_capturing", lambda stream, at: True)
    for function, source, size in ((library.affine_sample, theta, ((2, 3),)), (library.flow_sample, flow, ())):
        with pytest.raises(TypeError, match=r"while a graph is recorded; pass how many subsamples.*antialias=4"):
            function(lent(image), lent(source), *size, antialias=True)
    np.testing.assert_array_equal(
        returned(library.affine_sample(lent(image), lent(theta), (2, 3), antialias=2)), expected
    )


def test_a_call_is_planned_for_what_kernels_read(library, monkeypatch):
    """Beside an image whose numbers are moved first, and control points."""
    tangents = importlib.import_module("stnkit.backends.cuda.tangents")
    sampling, planned = tangents.sampling, []
    monkeypatch.setattr(tangents, "sampling", lambda *given: planned.append(sampling(*given)) or planned[-1])
    points = shrunk.control(2)
    image, theta = picture(1, 2, (4, 5), False, "float32"), points[None]
    for mode in ("bilinear", "nearest"):
        library.thin_plate_spline_sample_jvp(lent(image), lent(theta), lent(image), None, points, (2, 3), mode=mode)
    assert [call.source[4] for call in planned] == [len(points)] * 2  # in place of a stride


@pytest.mark.parametrize("last", [False, True])
def test_splines_of_images(library, last):
    """Images below 2, fills included, are filtered otherwise, and nine coefficients sum with other roundings.

    Slopes of weights sum to 2 on an axis, half of 3 pixels to a unit, and tangents of grids are below 1.5: of each of
    two axes, 4.5 times what coefficients differ by, beside that of the image's tangent.
    """
    fill = [1.0, 2.0]
    filtered = sum(limit(2, 2, 2.0**-23) for limit in (bounds.convolved_filter, bounds.recursive_filter))
    options = {"mode": "spline2", "padding_mode": ("border", "zeros")}
    options |= {"data_format": "channels_last"} if last else {}
    grid = 1.5 * numbers((1, 2, 3, 2))
    for dtype in ("float32", "uint8", "float16"):
        image = picture(1, 2, (3, 2), last, dtype)
        compare(library.grid_sample, image, grid, fill_value=fill, sums=9, moved=2 * filtered, **options)
    image, cotangent = picture(1, 2, (3, 2), last, "float32"), picture(1, 2, (2, 3), last, "float32")
    compare(library.grid_gradient, image, grid, fill_value=fill, sums=9, moved=6 * filtered, **options)
    compare(library.grid_sample_vjp, cotangent, image, grid, sums=9 * 6, **options)
    compare(library.grid_sample_jvp, image, grid, image, grid, sums=9, moved=10 * filtered, **options)
    compare(library.grid_splat, cotangent, grid, (3, 2), sums=9 * 6, **options)
    sums, there = np.ones_like(image), np.ones_like(image)
    library.grid_sample_vjp(cotangent, image, grid, accumulate_into=sums, **options)
    library.grid_sample_vjp(*map(lent, (cotangent, image, grid)), accumulate_into=lent(there), **options)
    np.testing.assert_allclose(there, sums, rtol=0, atol=1e-4)
    theta = np.array([[[2.0, 0, 0.1], [0, 1.5, 0]]], np.float32)
    compare(library.affine_sample, image, theta, (2, 2), antialias=True, sums=9, moved=filtered, **options)
