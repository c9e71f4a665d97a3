"""SciPy's functions on these kernels: numbers, shapes, dtypes, errors, and patches."""

import doctest
import warnings

import numpy as np
import pytest
import scipy.ndimage
from covering import every_two_of

MODES = ("reflect", "grid-mirror", "constant", "grid-constant", "nearest", "mirror", "grid-wrap", "wrap")
EXACT = 1e-12  # relative to the largest number: some hundred roundings of float64, of sums of up to 216 products
SIZES = {1: (21,), 2: (18, 19), 3: (4, 5, 6)}  # SciPy's filter of "reflect" needs long lines: see the next test


def both(plain, name, *args, **options):
    """Return what a function gives, here and in SciPy."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return getattr(plain.ndimage, name)(*args, **options), getattr(scipy.ndimage, name)(*args, **options)


def same(plain, name, *args, atol=EXACT, **options):
    """Compare a function with SciPy's."""
    got, expected = both(plain, name, *args, **options)
    assert (got.shape, got.dtype) == (expected.shape, expected.dtype)
    scale = max(1.0, np.abs(expected).max(initial=0)) if expected.dtype.kind in "fc" else 0
    np.testing.assert_allclose(got, expected, rtol=0, atol=atol * scale)


def draw(d):
    """Draw an image and coordinates: inside, at the rim, at ties, outside, and far outside."""
    random, extent = np.random.default_rng(d), SIZES[d]
    n = np.array(extent)[:, None]
    parts = (
        random.uniform(-0.2, 1.2, (d, 8)) * n,
        random.uniform(-8, 9, (d, 4)) * n,
        random.integers(-60, 80, (d, 12)) / 2,
    )
    ends = np.tile([0, 1, 0.5], (d, 1)) * (n - 1), np.tile([0, 1], (d, 1)) * n - 0.5
    return random.normal(size=extent), np.concatenate([*parts, *ends], axis=1)


@every_two_of(d=(1, 2, 3), order=range(6), mode=MODES)
def test_reads_what_scipy_does(plain, d, order, mode):
    """Everywhere, of an image and of its coefficients; a short line has another filter in SciPy."""
    image, points = draw(d)
    for prefilter in (True, False) if order > 1 else (True,):
        if d < 3 or not prefilter or mode not in ("reflect", "grid-mirror"):
            same(plain, "map_coordinates", image, points, order=order, mode=mode, cval=0.7, prefilter=prefilter)
    if d == 1:
        options = {"order": order, "mode": mode, "cval": -0.5}
        same(plain, "affine_transform", image, [-0.5], 12.5, (30,), **options)
        same(plain, "shift", image, -2.5, **options)
        same(plain, "zoom", image, 1.3, **options)
        same(plain, "zoom", image, 0.5, grid_mode=True, **options)


LAYOUTS = {
    "plain": lambda array: array.copy(),
    "columns": lambda array: np.asfortranarray(array),
    "backwards": lambda array: array[..., ::-1].copy()[..., ::-1],
    "apart": lambda array: np.repeat(array, 2, axis=-1)[..., ::2],
    "rows apart": lambda array: np.repeat(array, 2, axis=0)[::2],
}


@every_two_of(order=(0, 1, 3, 5), mode=MODES, dtype=(np.float32, np.float64), image=LAYOUTS, points=LAYOUTS)
def test_repeated_calls(plain, monkeypatch, order, mode, dtype, image, points):
    """A call like an earlier one goes straight to the kernel, and has the bits of one that is checked in full."""
    random, options = np.random.default_rng(0), {"order": order, "mode": mode, "prefilter": False}
    calls = [
        (LAYOUTS[image](random.normal(size=(7, 6)).astype(dtype)), LAYOUTS[points](random.uniform(-4, 10, (2, 3, 4))))
        for _ in range(2)
    ]
    calls = [(one, where.astype(dtype, order="K")) for one, where in calls]
    in_full = [plain.ndimage.map_coordinates(*call, np.dtype(dtype), **options) for call in calls]
    plain.ndimage.map_coordinates(*calls[0], **options)
    if points in ("plain", "rows apart"):  # of others, the locations are no one row
        monkeypatch.delattr(plain.ndimage.interpolation, "entered")
    for call, expected in zip(calls, in_full, strict=True):
        got = plain.ndimage.map_coordinates(*call, **options)
        np.testing.assert_array_equal(got, expected)
    rows = plain.ndimage.map_coordinates(calls[0][0], list(calls[0][1]), **options)
    np.testing.assert_array_equal(rows, in_full[0])


@pytest.mark.parametrize("mode", ["reflect", "nearest"])
def test_short_lines(plain, mode):
    """A spline passes through its pixels; with SciPy's filter of "reflect" it misses them by the pole to the 2 n."""
    image = np.array([1.0, -2.0, 4.0])
    got, expected = both(plain, "map_coordinates", image, [np.arange(3)], mode=mode)
    np.testing.assert_allclose(got, image, rtol=0, atol=1e-14)
    np.testing.assert_allclose(got, expected, rtol=0, atol=4 * (2 - 3**0.5) ** 6)


@pytest.mark.parametrize("order", [0, 1, 3])
def test_maps(plain, order):
    """Matrices of every shape, outputs of other ranks, planes of a volume, and axes that stay as they are."""
    random = np.random.default_rng(0)
    image, volume, options = random.normal(size=(6, 5)), random.normal(size=(3, 6, 5)), {"order": order}
    matrix, offset = np.array([[0.9, 0.2], [-0.1, 1.1]]), np.array([0.5, -0.25])
    whole = np.concatenate([matrix, offset[:, None]], axis=1)
    for given in (whole, np.concatenate([whole, [[0, 0, 1]]])):
        same(plain, "affine_transform", image, given, **options)
    same(plain, "affine_transform", image, matrix, offset, (3, 7), mode="mirror", **options)
    same(plain, "affine_transform", image, [0.5, 2], offset, mode="grid-constant", **options)
    same(plain, "affine_transform", image, [[1.0], [0.5]], output_shape=(9,), mode="wrap", **options)
    same(plain, "affine_transform", image[0], [[0.5, 0.25, 1]], output_shape=(4, 3, 2), mode="grid-constant", **options)
    same(plain, "shift", volume, (0, 0.5, 0), mode="nearest", **options)
    same(plain, "shift", np.moveaxis(volume, 0, -1), (0.5, -1, 0), **options)
    same(plain, "zoom", volume, (1, 2, 1.5), mode="mirror", **options)
    same(plain, "zoom", volume, 1.4, **options)
    same(plain, "zoom", image[None, None], (1, 1, 2, 0.5), **options)
    for angle in (0, 90, -180, 33.3, 1e4):
        same(plain, "rotate", image, angle, **options)
    same(plain, "rotate", volume, 20, axes=(0, -1), mode="grid-wrap", **options)
    same(plain, "rotate", volume, 20, (1, 2), False, **options)


def test_dtypes(plain):
    """Integers are rounded half away from 0 and saturate; complex numbers are two images."""
    line = np.array([-300.5, -2.5, -0.5, 0.4, 0.5, 1.5, 254.5, 300.0, 70000.0])
    for dtype in ("bool", "uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64"):
        same(plain, "map_coordinates", line, [np.arange(9)], np.dtype(dtype), order=1)
        image = (np.arange(9) * 14 - (60 if dtype[0] == "i" else 0)).astype(dtype)
        for order in (0, 1, 3):
            same(plain, "shift", image, 0.5, order=order, cval=3)
    same(plain, "shift", np.arange(4, dtype=np.uint8), 1, order=0, cval=-0.7, output=float)
    wave = np.exp(1j * np.arange(12))
    for options in ({"order": 1}, {"mode": "grid-constant", "cval": 1 - 2j}, {"mode": "reflect", "order": 2}):
        same(plain, "shift", wave, 0.3, **options)
        same(plain, "zoom", np.outer(wave, wave), (1, 1.5), **options)
    same(plain, "spline_filter", np.outer(wave, wave), output=complex)
    half = np.arange(8, dtype=np.float16)
    for order in (0, 1, 3):
        got = plain.ndimage.shift(half, 0.5, order=order)
        assert got.dtype == np.float16
        expected = scipy.ndimage.shift(half.astype(float), 0.5, order=order)
        np.testing.assert_allclose(got, expected, rtol=2**-10, atol=2**-14)


@pytest.mark.parametrize("order", [1, 3])
def test_float32(plain, order):
    """Coordinates of n pixels are rounded by a few n eps, and values by that times the slope; the last row stays."""
    image = np.random.default_rng(0).normal(size=(40,)).astype(np.float32)
    for name, argument in (("zoom", 3.1), ("shift", 0.3), ("affine_transform", [0.37])):
        got, expected = both(plain, name, image, argument, order=order)
        steep = 2 * np.abs(image).max() * (1 if order == 1 else 4)  # of a spline: the sum of the filter's magnitudes
        np.testing.assert_allclose(got, expected, rtol=0, atol=8 * 40 * 2**-24 * steep)
        assert got.dtype == np.float32


def test_outputs(plain):
    """An array is written to and returned, whatever its layout and dtype, be it the image itself."""
    image = np.random.default_rng(0).normal(size=(5, 6))
    expected = scipy.ndimage.shift(image, 0.5)
    for out in (np.empty((5, 6)), np.empty((6, 5)).T, np.empty((5, 6), np.float32), image.copy()):
        source = out if out.dtype == float and np.array_equal(out, image) else image
        assert plain.ndimage.shift(source, 0.5, out) is out
        np.testing.assert_allclose(out, expected, rtol=0, atol=1e-6 if out.dtype == np.float32 else EXACT)
    points = np.array([[0.5, 1.0], [2.0, 3.5]])
    out = np.empty(2)
    assert plain.ndimage.map_coordinates(image, points, out) is out
    np.testing.assert_allclose(out, scipy.ndimage.map_coordinates(image, points), rtol=0, atol=EXACT)
    for axis in (0, 1):  # the output is one of the coordinates
        read = points.copy()
        plain.ndimage.map_coordinates(image, read, read[axis])
        np.testing.assert_array_equal(read[axis], out)
    same(plain, "spline_filter", image[0, 0])
    same(plain, "spline_filter", image, output=np.float32, atol=8 * 2**-24 * 4)
    same(plain, "spline_filter1d", image, axis=0, mode="grid-wrap")
    same(plain, "spline_filter1d", image, 1, output=np.int16)


def test_refuses(plain):
    """With the kinds of errors that SciPy has, and ValueError."""
    nd, image, frozen = plain.ndimage, np.ones((3, 4)), np.ones((3, 4))
    frozen.flags.writeable = False
    for kinds, accepted, call in (
        ((ValueError, RuntimeError), "0, 1, 2, 3, 4, 5", lambda: nd.shift(image, 1, order=6)),
        ((ValueError, RuntimeError), "'grid-wrap'", lambda: nd.zoom(image, 2, mode="wrapped")),
        ((ValueError, RuntimeError), r"\(2, 3\)", lambda: nd.affine_transform(image, np.eye(4))),
        ((ValueError,), "bottom row", lambda: nd.affine_transform(image, np.ones((3, 3)))),
        ((ValueError, RuntimeError), "read-only", lambda: nd.shift(image, 1, frozen)),
        ((ValueError, RuntimeError), "output shape", lambda: nd.shift(image, 1, np.empty(3))),
        ((ValueError, RuntimeError), "input rank", lambda: nd.shift(image, (1, 2, 3))),
        ((ValueError, RuntimeError), "coordinate array", lambda: nd.map_coordinates(image, [[0.0]])),
        ((ValueError, RuntimeError), "rank", lambda: nd.shift(np.float64(1), 1)),
        ((TypeError,), "real", lambda: nd.map_coordinates(image, [[0j], [0j]])),
        ((TypeError, RuntimeError), "dtype", lambda: nd.shift(np.array([None]), 1)),
        ((ValueError,), "two", lambda: nd.rotate(image, 1, (0,))),
        ((ValueError,), "two axes", lambda: nd.rotate(image, 1, (0, 0))),
        ((ValueError,), "finite", lambda: nd.rotate(image, np.nan)),
        ((ValueError,), "finite", lambda: nd.zoom(image, (1, np.inf))),
        ((ValueError,), "`zoom` must be finite, and not negative", lambda: nd.zoom(image, (1, -2))),
        ((ValueError,), r"pixel.*\(0, 4\)", lambda: nd.rotate(image[:0], 30)),
        ((TypeError,), "`angle`", lambda: nd.rotate(image, None)),
        ((TypeError,), "`shift`", lambda: nd.shift(image, (None, 1))),
        ((TypeError,), "`matrix`", lambda: nd.affine_transform(image, np.eye(2) * 1j)),
        ((TypeError,), "`offset`", lambda: nd.affine_transform(image, np.eye(2), "a")),
        ((TypeError,), "`output_shape`", lambda: nd.affine_transform(image, np.eye(2), output_shape=(2.5, 3))),
        ((TypeError,), "`cval`", lambda: nd.shift(image, 0.5, cval=1j)),
        ((TypeError,), "`cval`", lambda: nd.shift(image, 0.5, cval="1")),
        ((TypeError, RuntimeError), "`order`", lambda: nd.shift(image, 0.5, order=1.0)),
        ((TypeError, RuntimeError), "`coordinates`", lambda: nd.map_coordinates(image, [[None], [0]])),
        ((NotImplementedError,), "scipy.ndimage.geometric_transform", lambda: nd.geometric_transform(image, tuple)),
        ((NotImplementedError,), "scipy.ndimage.zoom", lambda: nd.zoom(np.ones((2,) * 4), 2)),
        (
            (NotImplementedError,),
            "scipy.ndimage.map_coordinates",
            lambda: nd.map_coordinates(np.ones((2,) * 4), [[0]] * 4),
        ),
    ):
        for kind in kinds:
            with pytest.raises(kind, match=accepted):
                call()


@pytest.mark.parametrize("dtype", ["g", "G", "S1", "O", "M8[s]"])
@pytest.mark.parametrize("order", [0, 3])
def test_refuses_dtypes(plain, order, dtype):
    """Of images and outputs, without a loss of digits and whatever the order is: those that SciPy refuses."""
    image = np.ones((3, 4))
    for call in (
        lambda: plain.ndimage.shift(np.empty((3, 4), dtype), 0.5, order=order),
        lambda: plain.ndimage.zoom(np.empty((3, 4), dtype), 1, order=order),
        lambda: plain.ndimage.shift(image, 0.5, dtype, order=order),
        lambda: plain.ndimage.shift(image, 0.5, np.empty((3, 4), dtype), order=order),
        lambda: plain.ndimage.spline_filter1d(np.empty((3, 4), dtype), order),
        lambda: plain.ndimage.spline_filter1d(image, order, output=dtype),
    ):
        for kind in (TypeError, RuntimeError):
            with pytest.raises(kind, match="must have a dtype of integers"):
                call()


@pytest.mark.parametrize(("n", "size"), [(8, 12), (6, 9), (10, 15), (64, 48)])
def test_zooms_of_labels_take_the_upper_of_two_pixels(plain, n, size):
    """Locations half way between two: the sum of a line's coordinates must not be rounded down there."""
    for shape in ((n,), (n, n, n)):
        given = np.arange(np.prod(shape)).reshape(shape)
        same(plain, "zoom", given, size / n, order=0, mode="nearest", grid_mode=True)


def test_byte_orders(plain):
    """Of images, coordinates and outputs; an output that is asked for in another than the machine's has it."""
    image = np.random.default_rng(0).normal(size=(5, 6))
    wave, points = image + 1j * image[::-1], np.array([[0.5, 1.0], [2.0, 3.5]])
    for order in (0, 1, 3):
        for given in (image.astype(">f8"), wave.astype(">c16")):
            same(plain, "shift", given, 0.5, order=order)
            same(plain, "map_coordinates", given, points.astype(">f8"), order=order)
            same(plain, "zoom", given, 1.5, order=order, mode="grid-constant")
            same(plain, "zoom", given, 1.0)
            same(plain, "spline_filter1d", given, order)
        for dtype in (">f8", ">i2", np.dtype(">f8")):
            same(plain, "shift", image, 0.5, dtype, order=order)
    same(plain, "spline_filter", wave.astype(">c16"), output=complex)


def test_complex_outputs(plain):
    """A complex image has them in the dtype that holds what is asked for; a real one has them too, and 0 beside it."""
    image = np.random.default_rng(0).normal(size=(5, 6))
    for dtype in (bool, np.uint8, np.int16, np.int32, np.float32, np.float64):
        same(plain, "shift", image + 1j, 0.5, dtype, order=1, atol=1e-6)
    for dtype, real in (("complex64", "float32"), ("complex128", "float64")):
        for factor in (1, 1.5):
            got = plain.ndimage.zoom(image, factor, dtype)
            assert got.dtype == dtype
            np.testing.assert_array_equal(got, plain.ndimage.zoom(image, factor, real))
        assert plain.ndimage.spline_filter(image, output=dtype).dtype == dtype


def test_patch(plain):
    """Programs get these functions, and SciPy does what is not here; afterwards all is as it was."""
    before, volume = scipy.ndimage.zoom, np.random.default_rng(0).normal(size=(2,) * 4)
    with plain.ndimage.patch():
        assert scipy.ndimage.shift.__module__ == "stnkit.ndimage.interpolation"
        got = scipy.ndimage.zoom(volume, 2, order=1)
    assert scipy.ndimage.zoom is before
    np.testing.assert_array_equal(got, scipy.ndimage.zoom(volume, 2, order=1))
    with plain.ndimage.patch(strict=True), pytest.raises(NotImplementedError):
        scipy.ndimage.zoom(volume, 2, order=1)


def test_examples_of_documentation(plain):
    """Every public function shows what it prints."""
    assert plain.ndimage.__all__ == sorted(plain.ndimage.__all__)
    for name in plain.ndimage.__all__:
        (test,) = doctest.DocTestFinder(recurse=False).find(getattr(plain.ndimage, name), name, module=False, globs={})
        assert test.examples
        assert doctest.DocTestRunner(verbose=False).run(test).failed == 0


def test_compiled():
    """Machine code: one volume, zoomed and rotated."""
    import stnkit.ndimage

    volume = np.random.default_rng(0).normal(size=(6, 7, 8))
    got, expected = stnkit.ndimage.rotate(volume, 10, mode="mirror"), scipy.ndimage.rotate(volume, 10, mode="mirror")
    np.testing.assert_allclose(got, expected, rtol=0, atol=EXACT)


def taken(image, indices, fill):
    """Take pixels axis by axis, by NumPy."""
    for axis, index in enumerate(indices, 1):
        image = np.take(image, index, axis)  # -1 is the last
    for axis, index in enumerate(indices, 1):
        image[(slice(None),) * axis + (index < 0,)] = fill
    return image


INDICES = [  # neighbours and what is missing at both ends, single pixels among these, neighbours in pieces, and nothing
    np.r_[[-1] * 3, 0:50, [-1] * 2],
    np.r_[[-1], np.arange(20) * 2, 7:0:-1, [-1]],
    np.r_[30:50, 0:40, 10:30, 5:50],
    np.full(4, -1),
]


@pytest.mark.parametrize("d", [1, 2, 3])
def test_pixels_are_taken_by_tables(plain, d):
    """Of images of any layout; rows are runs of each kind."""
    from stnkit.backends.cpu.take import take

    random = np.random.default_rng(d)
    for index, other in zip(INDICES, [INDICES[1][:9], INDICES[0][2:8], INDICES[2][18:24], INDICES[1][:3]], strict=True):
        whole = random.normal(size=(2, *(50,) * d))
        for image in (whole, whole[:, ::-1], whole[..., ::-1], whole.swapaxes(1, -1)):
            indices = [other] * (d - 1) + [index]
            np.testing.assert_array_equal(take(image, indices, 0.5), taken(image, indices, 0.5))


def test_large_images_are_taken_by_machine_code():
    """An image that is large enough for tables, shifted by whole pixels and halves and zoomed, with SciPy's numbers."""
    import stnkit.ndimage

    image = np.random.default_rng(0).normal(size=(260, 270)).astype(np.float32)
    for mode in ("constant", "mirror"):
        for name, argument in (("shift", (2, -3.5)), ("zoom", 1.3)):
            got, expected = (
                getattr(module, name)(image, argument, order=0, mode=mode, cval=7)
                for module in (stnkit.ndimage, scipy.ndimage)
            )
            np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("mode", ["constant", "grid-constant", "nearest", "mirror", "wrap"])
@pytest.mark.parametrize("order", [0, 1, 3])
def test_axis_by_axis(plain, monkeypatch, order, mode):
    """What large images are zoomed and shifted by reads what one pass does, slab after slab."""
    from stnkit.ndimage import separable

    monkeypatch.setattr(separable, "LARGE", 0)
    monkeypatch.setattr(separable, "SLAB", 300)
    random, options = np.random.default_rng(0), {"order": order, "mode": mode, "cval": 0.7}
    for shape in ((9, 8), (5, 4, 6)):
        image = random.normal(size=shape)
        same(plain, "shift", image, random.normal(size=len(shape)), **options)
        same(plain, "shift", image, 100, **options)
        same(plain, "zoom", image, 1.7, **options)
        same(plain, "affine_transform", image, [-0.5] * len(shape), 4.5, **options)
        out = np.empty(shape)
        assert plain.ndimage.shift(image, 0.5, out, **options) is out
        np.testing.assert_allclose(out, scipy.ndimage.shift(image, 0.5, **options), rtol=0, atol=3 * EXACT)
