"""What sampling commutes with, on drawn calls: on compiled kernels, where these are shared with other tests."""

import bounds
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import eighths, numbers, pixels, shapes

import stnkit

MODES = ["nearest", "bilinear", "bicubic"]


def sample(image, px, package=stnkit, **options):
    return package.grid_sample(image, px, coords="pixel", **options)


def own_pixels(extent):
    """Return the grid that reads every pixel of an image at its centre."""
    axes = np.meshgrid(*[np.arange(float(n)) for n in extent], indexing="ij")
    return np.stack(axes[::-1], axis=-1)[None]


def limit(mode, extent, px, image=1.0):
    return bounds.value(bounds.Size(2, mode, "float64", max(extent), np.abs(px).max(), image))


@pytest.mark.parametrize("mode", MODES)
@given(data=st.data())
def test_identity(data, mode):
    """Reading every pixel at its centre returns the image, bit for bit."""
    image = data.draw(numbers((2, 3, *data.draw(shapes(2)))))
    np.testing.assert_array_equal(sample(image, own_pixels(image.shape[2:]), mode=mode), image)


@given(extent=shapes(2), align=st.booleans(), data=st.data())
def test_affine_identity(plain, extent, align, data):
    """The identity map returns the image, to the rounding of normalised coordinates."""
    image = data.draw(numbers((1, 2, *extent)))
    out = plain.affine_sample(image, np.eye(2, 3), align_corners=align)
    np.testing.assert_allclose(out[0], image[0], rtol=0, atol=limit("bilinear", extent, np.ones(1)))


@pytest.mark.parametrize("mode", MODES)
@given(shift=st.tuples(st.integers(-7, 7), st.integers(-7, 7)), data=st.data())
def test_whole_pixel_shift(shift, data, mode):
    """A shift by whole pixels is exact: what comes from outside is 0."""
    h, w = extent = data.draw(shapes(2))
    image = data.draw(numbers((1, 2, *extent)))
    out = sample(image, own_pixels(extent) + np.array(shift, float), mode=mode)
    wide = np.pad(image, [(0, 0), (0, 0), (8, 8), (8, 8)])
    x, y = shift
    np.testing.assert_array_equal(out, wide[..., 8 + y : 8 + y + h, 8 + x : 8 + x + w])


@given(data=st.data())
def test_flip(data):
    """Mirroring the image and the coordinates changes no bit, where fractions are exact."""
    extent = data.draw(shapes(2))
    image, px = data.draw(numbers((1, 2, *extent))), data.draw(eighths((1, 3, 4), extent))
    mirrored = px.copy()
    mirrored[..., 0] = extent[1] - 1 - px[..., 0]
    np.testing.assert_array_equal(sample(image, px), sample(image[..., ::-1].copy(), mirrored))


@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
@given(data=st.data())
def test_axis_swap(data, mode):
    """Swapping both image axes and coordinates changes the order of summation alone."""
    extent = data.draw(shapes(2))
    image, px = data.draw(numbers((1, 2, *extent))), data.draw(pixels((1, 3, 4), extent))
    swapped = sample(image.swapaxes(2, 3).copy(), px[..., ::-1].copy(), mode=mode)
    np.testing.assert_allclose(sample(image, px, mode=mode), swapped, rtol=0, atol=limit(mode, extent, px))


@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
@given(a=st.floats(-2, 2), b=st.floats(-2, 2), data=st.data())
def test_linear_in_the_image(a, b, data, mode):
    extent = data.draw(shapes(2))
    first, second = data.draw(numbers((1, 2, *extent))), data.draw(numbers((1, 2, *extent)))
    px = data.draw(pixels((1, 3, 4), extent))
    together = sample(a * first + b * second, px, mode=mode)
    apart = a * sample(first, px, mode=mode) + b * sample(second, px, mode=mode)
    np.testing.assert_allclose(together, apart, rtol=0, atol=limit(mode, extent, px, 8.0))


@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
@given(value=st.floats(-1, 1), data=st.data())
def test_constant_image(value, data, mode):
    """Weights sum to 1: a constant image, filled with the same constant, stays what it is."""
    extent = data.draw(shapes(2))
    px = data.draw(pixels((1, 3, 4), extent))
    out = sample(np.full((1, 1, *extent), value), px, mode=mode, fill_value=value)
    np.testing.assert_allclose(out, value, rtol=0, atol=limit(mode, extent, px))


@given(data=st.data())
def test_batch_and_channels_permute(data):
    extent = data.draw(shapes(2))
    image, px = data.draw(numbers((3, 4, *extent))), data.draw(pixels((3, 2, 5), extent))
    items, channels = data.draw(st.permutations(range(3))), data.draw(st.permutations(range(4)))
    expected = sample(image, px)[items][:, channels]
    np.testing.assert_array_equal(sample(image[items][:, channels], px[items]), expected)


@given(data=st.data())
def test_layouts_of_channels(plain, data):
    """channels_last is channels_first with its axes moved, bit for bit; so are its cotangents."""
    extent = data.draw(shapes(2))
    image, px = data.draw(numbers((2, 3, *extent))), data.draw(pixels((2, 2, 5), extent))
    first, last = sample(image, px, plain), sample(np.moveaxis(image, 1, -1), px, plain, data_format="channels_last")
    np.testing.assert_array_equal(first, np.moveaxis(last, -1, 1))
    d_first = plain.grid_sample_vjp(first, image, px, coords="pixel")
    d_last = plain.grid_sample_vjp(last, np.moveaxis(image, 1, -1), px, coords="pixel", data_format="channels_last")
    np.testing.assert_array_equal(d_first[0], np.moveaxis(d_last[0], -1, 1))
    np.testing.assert_array_equal(d_first[1], d_last[1])
