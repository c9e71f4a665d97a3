"""Machine code gives the bits of plain Python: calls of every function, in which every two choices that can meet do.

So what other tests say of uncompiled kernels holds for compiled ones. A call is done twice, with coordinates as most
are, exact ones among them, and with some that are huge or not finite. Kernels take seconds to compile: other tests of
machine code ask for kernels that these calls compile, where they can.
"""

import calls
import numba
import numpy as np
import pytest
from calls import CHOICES, POINTS
from conftest import uncompiled
from covering import covering
from ml_dtypes import bfloat16

import stnkit
from stnkit import _dispatch
from stnkit.kernels.cpu import threads
from stnkit.plans import launch, layout, maps, tangents, thin_plates
from stnkit.spec import MODES

MINE = CHOICES | {
    "operation": (*CHOICES["operation"], "count", "gradient"),
    "mode": ("nearest", "bilinear", "bicubic"),  # of the others there is machine code in `test_splines.py`
    "channels": (0, 1, 3, 8, 11),  # one number, fewer than lanes, lanes, and some over
    "size": ("tiny",),
    "deterministic": (False,),
    "fill": (3, np.nan),
    "items": ((2, 2), (1, 3), (3, 1), (9, 9)),  # of images and of sources: few, shared, and many
}
PLAIN = {name: values[0] for name, values in MINE.items()} | {"ndim": 2, "image": "float64", "coordinates": "float64"}
SHARED = [  # with `test_torch_parity.py` and `test_algebra.py`
    PLAIN | {"source": "pixel grid", "operation": operation, "mode": mode, "padding": padding, "align": align}
    for mode, padding, align in calls.SPECS
    for operation in ("", "_vjp")
]
REACH = {"grid": 1.5, "pixel grid": 9.0, "flow": 3.0, "normalized flow": 0.5, "tangent": 1.0}
STRANGE = (np.nan, np.inf, -np.inf, 3e9, -1e20)


def seconds(items):
    """Say about how long a call's kernels are compiled."""
    call = dict(items)
    if call["operation"].startswith("make"):
        return 0.25
    return calls.effort(call["ndim"], MODES[call["mode"]], call["operation"] == "_double_vjp") + (
        0.5 if call["source"] in ("projective", "thin_plate_spline") else 0.0
    )


def chosen():
    """Return the calls, those with the same leaves one after the other."""
    drawn = {tuple(call.items()): calls.pairs(call) for call in [*SHARED, *calls.drawn(MINE, seed=3, each=3)]}
    found = map(dict, covering(drawn, [tuple(call.items()) for call in SHARED], seconds))
    reading = ("source", "ndim", "mode", "padding", "align", "image", "coordinates", "channels")
    return sorted(found, key=lambda call: [str(call[option]) for option in (*reading, "operation")])


CALLS = chosen()


def name(call):
    told = (f"{call['operation'].strip('_') or 'sample'}", call["source"], f"{call['ndim']}d", call["mode"])
    return "-".join((*told, call["padding"], call["image"], call["coordinates"], str(call["channels"])))


def numbers(strange):
    """Return what makes the arrays of a call."""
    random = np.random.default_rng(0)

    def spread_out(what, shape):
        spread = random.uniform(-1, 1, shape)
        if what in REACH:
            spread *= REACH[what]
            exact = random.random(shape) < 0.5
            return np.where(exact, np.rint(8 * spread) / 8, spread)
        if what == "thin_plate_spline":
            return POINTS[shape[2]] + spread / 4
        return np.eye(*shape[1:]) + spread / 4 if what in ("affine", "projective") else spread

    def make(what, shape, dtype, gaps):
        drawn = spread_out(what, shape)
        if strange and what not in ("image", "tangent"):
            odd = STRANGE[: drawn.size // 3]
            drawn.flat[random.choice(drawn.size, len(odd), replace=False)] = odd
        dtype = np.dtype(bfloat16 if dtype == "bfloat16" else dtype)
        with np.errstate(over="ignore"):
            drawn = (100 * drawn + 100 if dtype.kind in "iu" else drawn).astype(dtype)
        if not gaps:
            return drawn
        wide = np.full([2 * count for count in shape], 77, dtype)
        view = wide[tuple([slice(None, None, 2)] * len(shape))]
        view[...] = drawn
        return view

    return make


def results(package, call, strange):
    with np.errstate(invalid="ignore"):  # a spline's theta is multiplied by NumPy, which warns of what is not finite
        found = calls.perform(package, numbers(strange), **call)
    return [array for array in (found if isinstance(found, tuple) else (found,)) if array is not None]


def same(got, expected):
    assert len(got) == len(expected) > 0
    for a, b in zip(got, expected, strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a.astype(float), b.astype(float))


def test_every_two_choices_that_can_meet_do():
    """In other drawn calls, too, none meet that do not in these."""
    met = set().union(*map(calls.pairs, CALLS))
    assert met == set().union(*map(calls.pairs, calls.drawn(MINE, seed=4, each=2)))


@pytest.fixture
def prefetching(monkeypatch):
    """Let kernels prefetch, as they do of arrays that are too large for a cache: other tests have small ones."""
    monkeypatch.setattr(layout, "CACHE", 0)
    for module in (layout, launch, maps, tangents, thin_plates):
        for known in vars(module).values():
            if hasattr(known, "cache_clear"):
                known.cache_clear()
    _dispatch._known.clear()


@pytest.mark.parametrize("call", CALLS, ids=name)
@pytest.mark.usefixtures("prefetching")
def test_bits(call):
    for strange in (False, True):
        got = results(stnkit, call, strange)
        with uncompiled() as plain:
            expected = results(plain, call, strange)
        same(got, expected)


@pytest.mark.parametrize("operation", MINE["operation"])
def test_threads(operation, monkeypatch):
    """Any number of threads gives the bits of one, in every operation; and little work is left to one."""
    monkeypatch.setattr(threads.balance, "pauses", lambda now: False)  # however busy the machine is
    monkeypatch.setattr(threads, "SMALL", 1 << 16)  # so that not much has to be computed
    made = [call for call in CALLS if call["operation"] == operation]
    call = max(made, key=lambda call: (call["source"] in ("projective", "thin_plate_spline"), call["ndim"] == 2))
    before, found, shared, on_threads = numba.get_num_threads(), [], [], threads._on_threads
    monkeypatch.setattr(threads, "_on_threads", lambda *given: shared.append(given) or on_threads(*given))
    try:
        results(stnkit, call, False)
        assert not shared
        for count in (1, 2, 3):
            numba.set_num_threads(count)
            found.append(results(stnkit, call | {"size": "threaded"}, False))
            assert bool(shared) == (count > 1)
    finally:
        numba.set_num_threads(before)
    for other in found[1:]:
        same(other, found[0])
