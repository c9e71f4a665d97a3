"""The work of `stnkit warp`: one picture sampled under one affine map, in the file's own value range."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stnkit.api.affine import affine_sample
from stnkit.cli.pictures import Picture

CHANNELS = {"LA": "gray, alpha", "RGB": "red, green, blue", "RGBA": "red, green, blue, alpha"}

# A transparent pixel's colour counts this little where pixels blend, yet enough to be found again.
FAINT = 1e-6


def warped(
    picture: Picture,
    theta: NDArray[np.float64],
    size: tuple[int, int],
    *,
    mode: str,
    padding: str,
    fill: Sequence[float],
) -> Picture:
    """Sample a picture under an affine map, (2, 3), and return one of the same kind and value range.

    The map is of double precision, which keeps whole-pixel maps exact. Padding "zeros" reads `fill`, in the file's
    value range: one number, or one per channel, or else ValueError. Integers are rounded half to even and saturated.
    """
    peak = picture.peak
    values = _fill(picture, fill)
    pixels = picture.pixels.astype(np.float32) / np.float32(peak)
    alpha = picture.kind.endswith("A")
    if alpha:  # colours blend in proportion to their opacity
        pixels, values = _weighted(pixels), _weighted(values)
    out: NDArray[Any] = affine_sample(
        pixels, theta, size, mode=mode, padding_mode=padding, fill_value=values, data_format="channels_last"
    )
    if alpha:
        out[..., :-1] /= np.maximum(out[..., -1:], FAINT / 2)
    if picture.pixels.dtype.kind == "u":
        out = np.rint(np.clip(out, 0.0, 1.0) * np.float32(peak))
    return picture._replace(pixels=out.astype(picture.pixels.dtype))


def _fill(picture: Picture, fill: Sequence[float]) -> NDArray[Any]:
    channels = picture.pixels.shape[-1]
    if len(fill) not in (1, channels):
        each = f", or {channels} ({CHANNELS[picture.kind]})" if channels > 1 else ""
        message = f"the fill for this picture takes 1 number{each}; got {len(fill)}"
        raise ValueError(message)
    outside = [value for value in fill if not 0.0 <= value <= picture.peak]
    if picture.pixels.dtype.kind == "u" and outside:
        message = f"the fill must be between 0 and {picture.peak:g} for this picture; got {outside[0]:g}"
        raise ValueError(message)
    return np.broadcast_to(np.array(fill, np.float32) / np.float32(picture.peak), (channels,))


def _weighted(pixels: NDArray[Any]) -> NDArray[Any]:
    alpha = np.maximum(pixels[..., -1:], np.float32(FAINT))
    weighted: NDArray[Any] = np.concatenate([pixels[..., :-1] * alpha, alpha], axis=-1)
    return weighted
