"""From bounds of a coordinate to the pixels of an axis that are read: by taps, and by what a padding does with them.

A range of pixels is (first, last), both included. Indices are those of memory, where a margin comes first.
"""

import math
from collections.abc import Iterable, Sequence

from stnkit.bounds.coordinates import Span
from stnkit.spec import (
    BORDER,
    BORDER_MARGIN,
    MARGIN_WIDTH,
    MARGINS,
    MASK,
    NEAREST,
    PERIODIC,
    REFLECTION,
    SPLINE0,
    TAPS,
    WRAP,
    ZEROS,
    ZEROS_MARGIN,
    Options,
)

Range = tuple[int, int]

EXACT = 2.0**22  # beyond it kernels move a coordinate by whole periods first, and a half may be lost
CIRCULAR = (WRAP, PERIODIC)  # paddings by which the first pixel comes after the last


def ranges(span: Span, n: int, axis: int, options: Options, halo: int = 0) -> list[Range]:
    """Return the ranges of pixels that coordinates within a span read, on an axis that has `n` without margins.

    A spline's filter reaches `halo` pixels further than its taps do. There is no range if only fill values are read.
    """
    low, high = span
    padding, taps = options.padding[axis], TAPS[options.interp]
    if math.isnan(low) or math.isnan(high):  # nothing is known of them
        return [(0, n - 1 + 2 * MARGIN_WIDTH * (padding in MARGINS))]
    if padding == MASK:
        low, high = max(low, 0.0), min(high, float(n - 1))
    if low > high:
        return []
    spans: Sequence[Span] = [(low, high)]
    if taps <= 2 and padding == BORDER:
        spans = [(min(max(low, 0.0), n - 1.0), min(max(high, 0.0), n - 1.0))]
    elif taps <= 2 and padding == REFLECTION:
        spans = [_mirrored(low, high, n, options)]
    elif padding == PERIODIC:
        spans = _repeated(low, high, n)
    found = [_stored(_taps(*one, options.interp), n, padding, options, halo) for one in spans]
    return [one for one in found if one is not None]


def united(found: Iterable[Range], n: int, padding: int) -> slice | None:
    """Return the least box of one axis, of `n` pixels in memory, that holds ranges; it may go on at pixel 0."""
    pieces = [piece for a, b in found for piece in ([(a, b)] if b < n else [(a, n - 1), (0, b - n)])]
    if not pieces:
        return None
    pieces.sort()
    first, end = pieces[0]
    start, before, widest = 0, 0, 0
    for a, b in pieces:
        if a - end - 1 > widest:
            start, before, widest = a, end, a - end - 1
        end = max(end, b)
    if padding not in CIRCULAR or widest <= first + n - 1 - end:  # no gap is wider than that across the edge
        return slice(first, end + 1)
    return slice(start, n + before + 1)


def within(n: int, axis: int, options: Options) -> Span:
    """Return a span of coordinates beyond which fill values alone are read."""
    padding = options.padding[axis]
    if padding in (ZEROS, ZEROS_MARGIN, MASK):
        beyond = TAPS[options.interp] + MARGIN_WIDTH
        return -beyond, n - 1 + beyond
    return -math.inf, math.inf


def _taps(low: float, high: float, interp: int) -> Range:
    """Return the indices of the first and the last tap."""
    if low < -EXACT or high > EXACT:
        low, high = low - 1, high + 1
    if interp == NEAREST:
        return round(low), round(high)
    if interp == SPLINE0:
        return _rounded_up(low), _rounded_up(high)
    taps = TAPS[interp]
    half = 0.5 if taps % 2 == 1 else 0.0
    before = (taps - 1) // 2
    return math.floor(low + half) - before, math.floor(high + half) - before + taps - 1


def _rounded_up(x: float) -> int:
    down = math.floor(x)
    return down + (x - down >= 0.5)


def _stored(taps: Range, n: int, padding: int, options: Options, halo: int) -> Range | None:
    """Return the pixels of memory, of which `n` are the image's, that taps read."""
    first, last = taps
    if padding == ZEROS and halo:  # coefficients go on in a margin, made of pixels and fill values
        if last < -MARGIN_WIDTH or first > n - 1 + MARGIN_WIDTH:
            return None
        return _clamped(first - halo, n), _clamped(last + halo, n)
    if padding in (ZEROS, ZEROS_MARGIN):
        width = MARGIN_WIDTH if padding == ZEROS_MARGIN else 0
        first, last = max(first - halo, -width), min(last + halo, n - 1 + width)
        return (first + width, last + width) if first <= last else None
    first, last = first - halo, last + halo
    if padding == WRAP:
        return (0, n - 1) if last - first + 1 >= n else (first % n, first % n + last - first)
    if padding == BORDER_MARGIN:
        stored = n + 2 * MARGIN_WIDTH
        return _clamped(first + MARGIN_WIDTH, stored), _clamped(last + MARGIN_WIDTH, stored)
    if padding == BORDER and halo:  # as above
        low, high = -MARGIN_WIDTH, n - 1 + MARGIN_WIDTH
        return _clamped(min(taps[0], high) - halo, n), _clamped(max(taps[1], low) + halo, n)
    if padding == BORDER or TAPS[options.interp] <= 2:
        return _clamped(first, n), _clamped(last, n)
    return _turned(first, last, n, is_centred=padding != REFLECTION or options.align)


def _clamped(i: int, n: int) -> int:
    return min(max(i, 0), n - 1)


def _turned(first: int, last: int, n: int, is_centred: bool) -> Range:
    """Reflect a range of taps about the image's edges."""
    span = 2 * (n - 1) if is_centred else 2 * n
    if n == 1 or last - first + 1 >= span:
        return 0, n - 1
    start = first % span
    stop = start + last - first
    ends = {start, stop} | {i for i in (n - 1, n, span - 1, span, span + n - 1) if start <= i <= stop}
    places = [i % span for i in ends]
    places = [i if i < n else (span - i if is_centred else span - 1 - i) for i in places]
    return min(places), max(places)


def _mirrored(low: float, high: float, n: int, options: Options) -> Span:
    """Reflect coordinates, as kernels do where one has two taps at most; then they are clamped."""
    last = n - 1.0
    if n == 1:
        return 0.0, 0.0
    turn, offset = (n - 1, 0.0) if options.align else (n, 0.5)
    if high - low >= 2 * turn:
        return 0.0, last
    if low < -EXACT or high > EXACT:
        low, high = low % (2 * turn) - 1, low % (2 * turn) + (high - low) + 1
    low, high = low + offset, high + offset
    cells = math.floor(low / turn), math.floor(high / turn)
    if cells[1] - cells[0] > 1:
        return 0.0, last
    ends = [_mirror(x, turn) - offset for x in (low, high)]
    if cells[1] > cells[0]:
        ends.append(-offset if cells[1] % 2 == 0 else turn - offset)
    first, final = min(max(min(ends), 0.0), last), min(max(max(ends), 0.0), last)
    if options.align and options.interp == SPLINE0:  # half a pixel past the last one, it takes the one before
        first = max(first - 0.5, 0.0)
    return first, final


def _mirror(x: float, turn: int) -> float:
    r = _folded(x, 2 * turn)
    return 2 * turn - r if r > turn else r


def _folded(x: float, span: int) -> float:
    """Reduce `x` to [0, span) by whole periods, as kernels do."""
    r = x - math.floor(x / span) * span
    r = r + span if r < 0 else r
    return r - span if r >= span else r


def _repeated(low: float, high: float, n: int) -> Sequence[Span]:
    """Fold coordinates by n - 1, as kernels do; those that end at the last pixel go on at the first."""
    last = n - 1.0
    if n == 1 or high - low >= n - 2:
        return [(0.0, last)]
    if low >= 0 and high <= last:
        return [(low, high)]
    if low < -EXACT or high > EXACT:
        low, high = low % (n - 1) - 1, low % (n - 1) + (high - low) + 1
        if high - low >= n - 2:
            return [(0.0, last)]
    first, final = (_once(x, n) for x in (low, high))
    return [(first, final)] if first <= final else [(first, last), (0.0, final)]


def _once(x: float, n: int) -> float:
    if 0 <= x <= n - 1:
        return x
    r = _folded(x, n - 1)
    return n - 1.0 if x < 0 and r == 0 else r
