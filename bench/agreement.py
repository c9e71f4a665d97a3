"""How far the results of two libraries may be apart, and why."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from bench.cases import DERIVATIVES, Case

EPSILON = 2.0**-23


class Tolerance(NamedTuple):
    """How far the results of a peer may be from those of stnkit, as a share of their norm, and why."""

    constant: float
    ulps: float  # of float32, of the longest axis in pixels: how precisely both sides know a coordinate
    reason: str

    def limit(self, case: Case, jumps: bool) -> float:
        """Return the share for a result, which may jump where a coordinate passes to the next pixel.

        The images are noise, so that an error of `delta` pixels is one of about `delta` in a value. A slope is
        another one altogether in the 2 d delta of all locations that lie within `delta` of a pixel's centre.
        """
        delta = self.constant + self.ulps * EPSILON * max(case.extent)
        return (4 * len(case.extent) * delta) ** 0.5 if jumps else delta


ROUNDING = Tolerance(1e-6, 16, "both round coordinates to float32, in a few steps")


def disagreement(
    case: Case, mine: Sequence[np.ndarray], theirs: Sequence[np.ndarray], allowed: Tolerance
) -> dict[str, str] | None:
    """Return by which share of its norm a result differs, and what is allowed, if that is less."""
    jumping = DERIVATIVES[case.derivative] if case.op.endswith("_sample") else (False,) * len(mine)
    jumping = (True,) * len(mine) if case.mode == "nearest" else jumping
    for one, other, jumps in zip(mine, theirs, jumping, strict=True):
        if one.shape != other.shape:
            return {"failure": "differs", "reason": f"the shape is {other.shape}, not {one.shape}"}
        gap = np.linalg.norm((one.astype(np.float64) - other).ravel())
        share = float(gap / (np.linalg.norm(other.astype(np.float64).ravel()) or 1.0))
        limit = allowed.limit(case, jumps)
        if not share <= limit:
            return {"failure": f"differs {share:.0e}", "reason": f"more than {limit:.0e}: {allowed.reason}"}
    return None
