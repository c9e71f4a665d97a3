"""Dask arrays: any chunks give the bits of the whole, graphs stay small, and what cannot work is said."""

import os
import pickle
import subprocess
import sys
import time
import warnings
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from strategies import SEEDS

from stnkit.spec import MARGINS, PADDING_MODES
from stnkit.transforms import control_lattice

dask = pytest.importorskip("dask")
da = pytest.importorskip("dask.array")

NAMES = ("affine_sample", "projective_sample", "thin_plate_spline_sample", "flow_sample", "grid_sample")
MODES = ("nearest", "bilinear", "bicubic", "spline0", "spline3", "lanczos3")
PADDINGS = ("zeros", "border", "reflection", "wrap", "mask", "periodic")
DTYPES = ("float32", "float64", "float16", "uint8", "uint16", "int32")
SHARED = {
    "phases": (Phase.explicit, Phase.generate),
    "suppress_health_check": [HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
}


class Case(NamedTuple):
    """A call on whole arrays, and how they are cut into chunks."""

    name: str
    image: np.ndarray
    source: np.ndarray
    fixed: tuple[np.ndarray, ...]  # control points
    size: tuple[int, ...]
    options: dict[str, Any]
    chunks: tuple[Any, ...]  # of the image
    out_chunks: tuple[Any, ...]  # of the output's spatial axes
    source_chunks: tuple[Any, ...]

    @property
    def is_map(self) -> bool:
        return self.name not in ("flow_sample", "grid_sample")

    def whole(self, package):
        sized = (self.size,) if self.is_map else ()
        call = getattr(package, self.name)
        return call(self.image, self.source.astype(float), *self.fixed, *sized, **self.options)

    def chunked(self, package, image, source, **options):
        sized = (self.size,) if self.is_map else ()
        call = getattr(package.dask, self.name)
        return call(image, source, *self.fixed, *sized, **self.options, **options)


def cuts(n: int) -> st.SearchStrategy[tuple[int, ...]]:
    """Draw sizes of chunks of an axis, some of which may be empty."""
    places = st.lists(st.integers(0, n), max_size=3).map(lambda ends: [0, *sorted(ends), n])
    return places.map(lambda ends: tuple(b - a for a, b in zip(ends[:-1], ends[1:], strict=True)))


@st.composite
def cases(draw: st.DrawFn, modes: tuple[str, ...] = MODES, dtypes: tuple[str, ...] = DTYPES) -> Case:
    name, d = draw(st.sampled_from(NAMES)), draw(st.integers(1, 3))
    random = np.random.default_rng(draw(SEEDS))
    longest = (17, 8, 5)[d - 1]
    extent, size = (tuple(draw(st.integers(1, longest)) for _ in range(d)) for _ in range(2))
    counts = draw(st.sampled_from([(2, 2), (1, 2), (2, 1), (None, 1), (1, None), (None, None)]))
    channels, last = draw(st.integers(1, 3)), draw(st.booleans())
    inner = (*extent, channels) if last else (channels, *extent)
    dtype = np.dtype(draw(st.sampled_from(dtypes)))
    shape = inner if counts[0] is None else (counts[0], *inner)
    image = random.uniform(-1, 1, shape) if dtype.kind == "f" else random.integers(0, 200, shape)
    many = () if counts[1] is None else (counts[1],)
    fixed: tuple[np.ndarray, ...] = ()
    options: dict[str, Any] = {}
    if name == "thin_plate_spline_sample":
        fixed = (control_lattice((2,) * d),)
        source = fixed[0] + random.uniform(-0.5, 0.5, (*many, 2**d, d))
    elif name in ("flow_sample", "grid_sample"):
        unit = draw(st.sampled_from(["pixel", "normalized"]))
        options["units" if name == "flow_sample" else "coords"] = unit
        source = random.uniform(-1, 1, (*many, *size, d)) * draw(st.sampled_from([0.2, 2.0]))
        source = source * (max(extent) / 2 if unit == "pixel" else 1)
        if draw(st.booleans()):
            source[(0,) * source.ndim] = np.nan
    else:
        source = random.uniform(-1, 1, (*many, d, d + 1))
        if name == "projective_sample":
            row = random.uniform(-0.7, 0.7, (*many, 1, d))
            source = np.concatenate([source, np.concatenate([row, np.ones((*many, 1, 1))], -1)], -2)
    paddings = draw(st.one_of(st.sampled_from(PADDINGS), st.tuples(*[st.sampled_from(PADDINGS)] * d)))
    options |= {
        "mode": draw(st.sampled_from(modes)),
        "prefilter": False,  # with it, a chunk is filtered with what lies around it
        "padding_mode": paddings,
        "align_corners": draw(st.booleans()),
        "data_format": "channels_last" if last else "channels_first",
        "fill_value": draw(st.sampled_from([0, 7, list(range(channels))])),
    }
    return Case(
        name,
        image.astype(dtype),
        source.astype(draw(st.sampled_from(["float32", "float64"]))),
        fixed,
        size,
        options,
        tuple(draw(cuts(n)) for n in shape),
        tuple(draw(cuts(n)) for n in size),
        tuple(draw(cuts(n)) for n in source.shape),
    )


def equal(found: np.ndarray, expected: np.ndarray) -> None:
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(found, expected)


@settings(max_examples=80, **SHARED)
@given(case=cases())
def test_any_chunks_give_the_bits_of_the_whole(plain, case: Case) -> None:
    import stnkit
    import stnkit.dask

    whole, image = case.whole(stnkit), da.from_array(case.image, case.chunks)
    given = {"chunks": case.out_chunks}
    sources = [(case.source, {})]
    if not case.is_map:
        lattice = da.from_array(case.source, case.source_chunks)
        with np.errstate(all="ignore"):
            found = stnkit.dask.bounds(lattice)
        sources = [(lattice, {"bounds": found}), (lattice, {})]
        if case.name == "flow_sample":
            sources += [(lattice, {"max_displacement": float(np.nanmax(abs(case.source), initial=0))})]
    with dask.config.set(scheduler="sync"):
        for source, more in sources:
            out = case.chunked(stnkit, image, source, **given, **more)
            assert out.shape == whole.shape
            first = out.ndim - len(case.size) - (case.options["data_format"] == "channels_last")
            assert out.chunks[first:][: len(case.size)] == case.out_chunks
            equal(out.compute(), whole)
        equal(case.chunked(stnkit, Store(case.image), sources[-1][0], **given).compute(), whole)


class Store:
    """What is no array, but is read as one, box by box."""

    def __init__(self, array: np.ndarray) -> None:
        self.array, self.shape, self.dtype, self.most = array, array.shape, array.dtype, 0

    def __getitem__(self, where: tuple[slice, ...]) -> np.ndarray:
        part = self.array[where]
        self.most = max(self.most, part.size)
        return part
