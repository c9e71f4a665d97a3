"""Antialiased calls: maps that shrink, calls of their functions, and the grid of every subsample beside locations."""

import itertools

import numpy as np
import oracles
from scipy.interpolate import RegularGridInterpolator

EPS = np.finfo(float).eps
EXTENT, SIZE, LATTICE = (5, 7, 9), (2, 3, 2), (2, 2, 3)
OPS = ("affine", "flow", "projective", "thin_plate_spline")
KINDS = {op: ("", "_vjp", "_jvp", "_double_vjp")[: 4 if op in OPS[:2] else 3] for op in OPS}
EACH = [(op, kind) for op in OPS for kind in KINDS[op]]


def control(d):
    """Lay out control points that are not quite regular."""
    points = np.stack([axis.ravel() for axis in np.meshgrid(*(np.linspace(-1, 1, n) for n in LATTICE[-d:]))], axis=-1)
    return points + np.random.default_rng(d).uniform(-0.1, 0.1, points.shape)


def affine_as(op, theta, size=None, align=False):
    """Write affine maps as maps of another kind: as a flow in normalised units, for an output of a size."""
    d = theta.shape[-2]
    if op == "projective":
        return np.concatenate([theta, np.broadcast_to(np.eye(d + 1)[d], (*theta.shape[:-2], 1, d + 1))], axis=-2)
    if op == "thin_plate_spline":
        return control(d) @ theta[..., :d].swapaxes(-1, -2) + theta[..., None, :, d]
    if op == "flow":
        return oracles.affine_grid(theta - np.eye(d, d + 1), size, align)
    return theta


def shrinking(op, d, batch=2, seed=0):
    """Draw maps that shrink two to three times: theta, or a flow in pixels."""
    random = np.random.default_rng(seed)
    if op == "flow":
        return random.uniform(-0.4, 0.4, (batch, *SIZE[-d:], d))
    if op == "thin_plate_spline":
        return 0.9 * control(d) + random.uniform(-0.1, 0.1, (batch, *control(d).shape))
    linear = np.eye(d, d + 1) * 0.9 + random.uniform(-0.1, 0.1, (batch, d, d + 1))
    if op == "affine":
        return linear
    last = np.append(np.zeros(d), 1) + random.uniform(-0.1, 0.1, (batch, 1, d + 1))
    return np.concatenate([linear, last], axis=1)


def drawn(op, d, batch=2, seed=0):
    """Draw the arguments of every kind of function, by role."""
    random = np.random.default_rng([seed, d])
    source = shrinking(op, d, batch, seed)
    image, image_dot = random.uniform(-1, 1, (2, batch, 2, *EXTENT[-d:]))
    cotangent = random.uniform(-1, 1, (batch, 2, *SIZE[-d:]))
    return image, source, cotangent, image_dot, random.uniform(-1, 1, source.shape)


def call(package, op, kind, given, **options):
    """Call one of the functions of a sampler on its share of arrays that `drawn` gives; results are a tuple."""
    image, source, cotangent, image_dot, source_dot = given
    own = {"control_points": control(source.shape[-1])} if op == "thin_plate_spline" else {}
    if op != "flow" and kind in ("", "_jvp"):
        own["size"] = tuple(cotangent.shape[2:])
    arrays = {
        "": (image, source),
        "_vjp": (cotangent, image, source),
        "_jvp": (image, source, image_dot, source_dot),
        "_double_vjp": (image_dot, source_dot, cotangent, image, source),
    }[kind]
    results = getattr(package, f"{op}_sample{kind}")(*arrays, **own, **options)
    return results if isinstance(results, tuple) else (results,)


def grids(op, source, factors, size, align, units):
    """Yield the grid of each subsample: of the map, at coordinates beside each location's."""
    d = len(size)
    n = np.array(size[::-1], float)
    pitch = 2 / np.maximum(n - align, 1)
    for steps in itertools.product(*([(k + 0.5) / m - 0.5 for k in range(m)] for m in factors)):
        way = np.array(steps) * pitch
        beside = oracles.base(size, align) + np.append(way, 0)
        if op == "flow":
            yield beside[..., :d] + _flow_beside(source, steps, size) * (pitch if units == "pixel" else 1)
        elif op == "thin_plate_spline":
            yield np.einsum("...k,nkd->n...d", oracles.thin_plate_spline_table(control(d), size, align, way), source)
        else:
            rows = np.einsum("nij,...j->n...i", source, beside)
            yield rows if op == "affine" else np.where(rows[..., d:] > 0, rows[..., :d] / rows[..., d:], np.nan)


def _flow_beside(flow, steps, size):
    points = np.stack(np.meshgrid(*map(np.arange, size), indexing="ij"), axis=-1) + np.array(steps[::-1])
    lines = [np.arange(max(k, 2)) for k in size]  # an axis of one location is a line without a slope
    for axis, k in enumerate(size):
        flow = np.repeat(flow, 2, axis=axis + 1) if k == 1 else flow
    return np.stack([RegularGridInterpolator(lines, one, bounds_error=False, fill_value=None)(points) for one in flow])
