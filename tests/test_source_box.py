"""Boxes of what is read: nothing outside them counts, and they are no larger than they must be."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import SEEDS, strange

from stnkit.spec import LABEL, MARGINS, MODES, PADDING_MODES

BLENDING = sorted({code: name for name, code in MODES.items() if code != LABEL}.values())
OPS = ("affine", "projective", "thin_plate_spline", "flow", "grid")


@st.composite
def calls(draw, op, names=tuple(PADDING_MODES), modes=BLENDING, antialias=True):
    """Draw a call of a sampler, an image for it, and a box of its output."""
    d = draw(st.integers(1, 3))
    size = draw(st.tuples(*[st.integers(1, (16, 7, 4)[d - 1])] * d))
    extent = draw(st.tuples(*[st.integers(1, (16, 7, 4)[d - 1])] * d))
    paddings = draw(st.lists(st.sampled_from(names), min_size=d, max_size=d))
    extent = tuple(n + 24 * (PADDING_MODES[p] in MARGINS) for n, p in zip(extent, reversed(paddings), strict=True))
    align = draw(st.booleans())
    options = {"mode": draw(st.sampled_from(modes)), "padding_mode": paddings, "align_corners": align}
    options["prefilter"] = False  # with which each pixel counts
    batch, random = draw(st.integers(1, 2)), np.random.default_rng(draw(SEEDS))
    units = draw(st.sampled_from(["normalized", "pixel"]))
    scale = draw(st.sampled_from([0.1, 1.0, 3.0])) * (max(extent) / 2 if units == "pixel" and op != "affine" else 1)
    if op in ("grid", "flow"):
        source = scale * random.uniform(-1, 1, (batch, *size, d)) + draw(st.sampled_from([0, 0, scale / 2, 3 * scale]))
        options["coords" if op == "grid" else "units"] = units
    elif op == "thin_plate_spline":
        control = np.stack(np.meshgrid(*[[-1.0, 0.2, 1.0]] * d), axis=-1).reshape(-1, d)
        source = control + 0.5 * scale * random.uniform(-1, 1, (batch, *control.shape))
        options["control_points"] = control
    else:
        source = scale * random.uniform(-1, 1, (batch, d, d + 1))
        if draw(st.booleans()):  # whole pixels, of which each is a knot
            source = np.rint(source)
        if op == "affine":
            options["coords"] = units
            source[..., d] *= max(extent) / 2 if units == "pixel" else 1
            if antialias and d < 3 and draw(st.booleans()):
                options["antialias"] = draw(st.integers(2, 3))
        else:
            last = np.concatenate([random.uniform(-1, 1, (batch, 1, d)), np.ones((batch, 1, 1))], axis=-1)
            source = np.concatenate([source, last], axis=1)
    source = draw(strange(source)) if op != "thin_plate_spline" else source
    starts = [draw(st.integers(0, n - 1)) for n in size]
    box = tuple(slice(a, draw(st.integers(a + 1, n))) for a, n in zip(starts, size, strict=True))
    image = random.uniform(-1, 1, (1, 1, *extent))
    return op, image, source, size, box, options


def boxed(package, op, source, box, size, extent, options):
    """Return the box of a call, whose grid or flow is cut to the box of the output."""
    own = source[(slice(None), *box)] if op in ("grid", "flow") else source
    with np.errstate(all="ignore"):
        return package.tiles.source_box(op, own, box, size, extent, **options)


def run(package, op, image, source, size, box, options):
    """Return what a call gives in a box of its output."""
    choices, given = dict(options), [image, source]
    if op == "thin_plate_spline":
        given.append(choices.pop("control_points"))
    if op not in ("grid", "flow"):
        given.append(size)
    return getattr(package, f"{op}_sample")(*given, **choices)[(slice(None), slice(None), *box)]


def outside(box, extent):
    """Return where an image is not in a box."""
    poisoned = np.ones(extent, bool)
    if box is not None:
        for part, n in zip(box, extent, strict=True):
            assert 0 <= part.start < n
            assert part.start < part.stop <= part.start + n
        ranges = [np.arange(part.start, part.stop) % n for part, n in zip(box, extent, strict=True)]
        poisoned[np.ix_(*ranges)] = False
    return poisoned


@pytest.mark.parametrize("op", OPS)
def test_what_is_outside_a_box_changes_nothing(plain, op):
    """Each pixel there is NaN; the output has the bits that it has of the image itself."""
    seen = {"poisoned": 0, "read": 0}

    @settings(max_examples=45)
    @given(calls(op))
    def check(call):
        op, image, source, size, box, options = call
        found = boxed(plain, op, source, box, size, image.shape[2:], options)
        without = outside(found, image.shape[2:])
        seen["poisoned"] += bool(without.any())
        seen["read"] += not without.all()
        expected = run(plain, *call)
        poisoned = np.where(without, np.nan, image)
        np.testing.assert_array_equal(run(plain, op, poisoned, source, size, box, options), expected)

    check()
    assert min(seen.values()) > 12, seen


TOUCHED = ("border", "wrap", "border_margin")  # what lies between two folds need not be read


@pytest.mark.parametrize("op", ["affine", "flow", "grid"])
def test_a_box_is_no_larger_than_it_must_be(plain, op):
    """Its first and its last pixels, on each axis, are read: a NaN there is found in the output."""
    seen = []

    @settings(max_examples=30)
    @given(calls(op, TOUCHED, sorted(set(BLENDING) - {"spline0"}), antialias=False))
    def check(call):
        op, image, source, size, box, options = call
        found = boxed(plain, op, source, box, size, image.shape[2:], options)
        for axis, part in enumerate(found or ()):
            whole = part.stop - part.start == image.shape[2 + axis] and "wrap" in options["padding_mode"]
            for end in () if whole else (part.start, part.stop - 1):
                poisoned = image.copy()
                poisoned[(slice(None),) * (2 + axis) + (end % image.shape[2 + axis],)] = np.nan
                assert np.isnan(run(plain, op, poisoned, source, size, box, options)).any(), (axis, end, found)
                seen.append(end)

    check()
    assert len(seen) > 40


def spread(found):
    """Return how many pixels a box has."""
    return np.prod([part.stop - part.start for part in found])


@pytest.mark.parametrize("op", ["projective", "thin_plate_spline"])
def test_boxes_of_curved_maps_are_little_larger_than_what_is_read(plain, op):
    """In the median at most 1.5 times the least box, that of the coordinates themselves; never less."""
    from stnkit.plans import thin_plates

    random, ratios = np.random.default_rng(7), []
    for _ in range(60):
        d = random.integers(2, 4)
        n = (512, 96)[d - 2]
        starts = random.integers(0, 3 * n // 4, d)
        box = tuple(slice(a, a + n // 8) for a in starts.tolist())
        axes = [(2 * np.arange(part.start, part.stop) + 1 - n) / n for part in box]
        points = np.stack([a.ravel() for a in np.meshgrid(*axes, indexing="ij")][::-1], axis=-1)
        options = {"padding_mode": "border"}
        if op == "projective":
            theta = np.eye(d + 1) + 0.2 * random.uniform(-1, 1, (d + 1, d + 1))
            rows = points @ theta[:, :d].T + theta[:, d]
            found = rows[:, :d] / np.where(rows[:, d:] > 0, rows[:, d:], np.nan)
        else:
            control = np.stack(np.meshgrid(*[np.linspace(-1, 1, 5)] * d), axis=-1).reshape(-1, d)
            theta = control + 0.05 * random.uniform(-1, 1, control.shape)
            first, second = thin_plates.solution(control.tobytes(), d)
            found = thin_plates.basis(points, control) @ second @ (first @ theta)
            options["control_points"] = control
        least = plain.tiles.source_box(
            "grid", found.reshape(*[n // 8] * d, d), box, (n,) * d, (n,) * d, padding_mode="border"
        )
        got = plain.tiles.source_box(op, theta, box, (n,) * d, (n,) * d, **options)
        for inner, outer in zip(least, got, strict=True):
            assert outer.start <= inner.start
            assert inner.stop <= outer.stop
        ratios.append(spread(got) / spread(least))
    assert np.median(ratios) < 1.5, np.median(ratios)


def test_a_projective_map_is_cut_at_its_horizon(plain):
    """A tile on both sides reads what is before it, and one behind it nothing; one before it reads a little."""
    theta = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 1.0, 0.5]])  # the horizon is at y = -0.5
    size = (64, 64)
    rows = [slice(0, 8), slice(0, 16), slice(8, 24), slice(17, 24), slice(48, 64)]
    found = [
        plain.tiles.source_box("projective", theta, (part, slice(24, 40)), size, size, padding_mode="border")
        for part in rows
    ]
    assert found[0] is None
    assert found[1] is None
    assert found[2] == (slice(0, 2), slice(0, 64))
    assert found[3] is not None
    assert spread(found[4]) < 16 * 16


@pytest.mark.parametrize("d", [1, 2, 3])
@pytest.mark.parametrize("order", [2, 3, 4, 5])
def test_a_spline_is_filtered_in_its_box(plain, order, d):
    """Beyond the halo a pixel changes nothing that is more than rounding."""
    random = np.random.default_rng(order)
    n = (150, 150, 120)[d - 1]
    theta = np.concatenate([np.eye(d) / 8, random.uniform(-0.1, 0.1, (d, 1))], axis=1)
    box = tuple(slice(0, 3) for _ in range(d))
    options = {"mode": f"spline{order}", "padding_mode": "reflection"}
    for dtype, digits in (("float32", 24), ("float64", 53)):
        found = plain.tiles.source_box("affine", theta, box, (8,) * d, (n,) * d, dtype=dtype, **options)
        bare = plain.tiles.source_box("affine", theta, box, (8,) * d, (n,) * d, prefilter=False, **options)
        pole = {2: np.sqrt(8) - 3, 3: np.sqrt(3) - 2, 4: -0.361341225900220177, 5: -0.430575347099973792}[order]
        for wide, part in zip(found, bare, strict=True):
            halo = part.start - wide.start
            assert halo == wide.stop - part.stop
            assert abs(pole) ** halo < 2.0**-digits < abs(pole) ** (halo - 2)


def test_rims(plain):
    """What boxes are at the rim of an image of ten pixels, for a tile of three locations."""
    for padding, shift, found in [
        ("zeros", 20, None),
        ("zeros", -2, slice(0, 2)),
        ("zeros", -4, None),
        ("border", 20, slice(9, 10)),
        ("border", -20, slice(0, 2)),
        ("wrap", 8, slice(8, 12)),
        ("wrap", -1, slice(9, 13)),
        ("reflection", 8, slice(8, 10)),
        ("periodic", 8, slice(8, 13)),
        ("mask", 20, None),
    ]:
        theta = np.array([[1.0, shift]])
        own = {"coords": "pixel", "padding_mode": padding}
        got = plain.tiles.source_box("affine", theta, (slice(0, 3),), (10,), (10,), **own)
        assert got == (found if found is None else (found,)), padding
        assert got is None or plain.tiles.read(np.arange(10), got).tolist() == [
            i % 10 for i in range(found.start, found.stop)
        ]


def test_read_around_rims_and_channels(plain):
    image = np.arange(2 * 5 * 7 * 3).reshape(2, 5, 7, 3)
    box = slice(3, 6), slice(5, 9)
    got = plain.tiles.read(image, box, "channels_last")
    np.testing.assert_array_equal(got, image[:, [3, 4, 0]][:, :, [5, 6, 0, 1]])
    got = plain.tiles.read(np.moveaxis(image, -1, 1), box)
    np.testing.assert_array_equal(np.moveaxis(got, 1, -1), image[:, [3, 4, 0]][:, :, [5, 6, 0, 1]])
    with pytest.raises(ValueError, match="`box` must be a range for each spatial axis of an image of shape"):
        plain.tiles.read(image[0, 0, 0], box)
    for wrong, kind, message in (
        (None, TypeError, "no pixel is read"),
        (slice(0, 2), ValueError, "`box` must be a range for each"),
        ((slice(-1, 2), slice(0, 2)), ValueError, "0 <= start <= stop"),
        ((slice(0, 4, 2), slice(0, 2)), ValueError, "`box` must be a range for each"),
    ):
        with pytest.raises(kind, match=message):
            plain.tiles.read(image, wrong)
    with pytest.raises(TypeError, match="`image` must have `shape`"):
        plain.tiles.read([1, 2, 3], (slice(0, 2),))


def test_bounds_of_flows_and_grids(plain):
    """A pair of bounds stands for a flow or a grid; so does a largest displacement."""
    box, size = (slice(10, 20), slice(30, 40)), (64, 64)
    source_box = plain.tiles.source_box
    flow = np.random.default_rng(0).uniform(-2, 3, (10, 10, 2))
    least = source_box("flow", flow, box, size, size)
    given = source_box("flow", (flow.min((0, 1)), flow.max((0, 1))), box, size, size)
    most = source_box("flow", None, box, size, size, max_displacement=3.0)
    assert most == source_box("flow", None, box, size, size, max_displacement=(3, 3)) == (slice(7, 24), slice(27, 44))
    for inner, outer, all_ in zip(least, given, most, strict=True):
        assert all_.start <= outer.start <= inner.start
        assert inner.stop <= outer.stop <= all_.stop
    grid = source_box("grid", ((0.0, 0.5), (0.0, 0.5)), box, size, size)
    assert grid == (slice(47, 49), slice(31, 33))


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"kind": "warp"}, ValueError, "`kind` must be one of 'affine', "),
        ({"out_box": (slice(0, 9), slice(0, 5))}, ValueError, "`out_box` must lie within the output, of size"),
        ({"out_box": (slice(0, 8, 2), slice(0, 8))}, ValueError, "without steps"),
        ({"out_box": (slice(0, 8),)}, ValueError, "`out_box` must be 2 slices"),
        ({"out_box": None}, ValueError, "`out_box` must be 2 slices"),
        ({"size": 8}, TypeError, "`size` must be a sequence"),
        ({"source": np.ma.ones((2, 3))}, TypeError, "`theta` is a masked array"),
        ({"kind": "flow", "max_displacement": "a"}, ValueError, "`max_displacement` must be a finite number >= 0"),
        ({"source": np.eye(3, 4)}, ValueError, r"acts on 3 axes, and `size` has 2"),
        ({"source": np.eye(2, 3, dtype=int)}, TypeError, "`theta` must have dtype float32"),
        ({"image_size": (8,)}, ValueError, "`image_size` must be 2 integers"),
        ({"kind": "flow", "source": None}, TypeError, "`source` must be the flow within `out_box`, its bounds, or"),
        ({"kind": "flow", "max_displacement": -1}, ValueError, "`max_displacement` must be a finite number >= 0"),
        ({"max_displacement": 1}, ValueError, "`max_displacement` is for kind 'flow'"),
        ({"kind": "grid", "source": np.zeros((3, 3, 2))}, ValueError, "`grid` must be what it is within `out_box`"),
        ({"kind": "flow", "source": (0, 1)}, ValueError, "`flow` must be an array, or two bounds of 2 finite numbers"),
        ({"kind": "thin_plate_spline"}, TypeError, "`control_points` must be given"),
        ({"kind": "flow", "source": ((0, 0), (1, 1)), "antialias": 2}, ValueError, "`antialias` is for maps here"),
    ],
)
def test_bad_input(plain, options, kind, message):
    given = {"kind": "affine", "source": np.eye(2, 3), "out_box": (slice(0, 8),) * 2, "size": (8, 8)}
    given |= {"image_size": (8, 8)} | options
    with pytest.raises(kind, match=message):
        plain.tiles.source_box(**given)
