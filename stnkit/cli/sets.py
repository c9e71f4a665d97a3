"""Sets of kernels, by name: what archives are made of.

A set is made of groups of calls, in the words of `stnkit compile`, and of kernels one by one: those that the
documentation, the demonstrations and the examples call, which `python -m bench.documented` writes down.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from stnkit.cli.selection import Choice, choices
from stnkit.kernels.compiler.digests import digest
from stnkit.kernels.cpu.factories import Factory
from stnkit.spec import Spec

FIRST, LAST = "channels_first", "channels_last"
IN_PLANES, SIDE_BY_SIDE = (FIRST, (3, 16)), (LAST, (3, 4, 16))  # numbers of channels that have kernels of their own
ONE_EACH = ((FIRST, (3,)), (LAST, (3,)))
DOCUMENTED = Path(__file__).with_name("documented.json")


class Single(NamedTuple):
    """One kernel."""

    factory: Factory
    spec: Spec


class Group(NamedTuple):
    """Every choice of one field with every choice of the others."""

    operations: str
    modes: str = "bilinear"
    paddings: str = "zeros border reflection"
    dtypes: str = "float32"
    layouts: tuple[tuple[str, tuple[int, ...]], ...] = ((FIRST, (3,)),)
    axes: tuple[int, ...] = (2,)
    corners: tuple[bool, ...] = (False,)
    wrt: tuple[str, ...] = ("both",)

    def choices(self) -> Iterator[Choice]:
        """Yield what the group says."""
        for layout, counts in self.layouts:
            for count in counts:
                yield from choices(
                    self.operations.split(),
                    self.axes,
                    self.dtypes.split(),
                    [count],
                    mode=self.modes.split(),
                    padding_mode=self.paddings.split(),
                    data_format=[layout],
                    align_corners=self.corners,
                    wrt=self.wrt,
                )


BOTH = (False, True)
SAMPLERS, BACKWARD = "grid_sample affine_sample", "grid_sample_vjp affine_sample_vjp"
FLOW, FLOW_BACKWARD = "flow_sample", "flow_sample_vjp"

COMMON = (
    # What most calls are: float32, in the plane.
    Group(f"{SAMPLERS} {FLOW}", layouts=(IN_PLANES, SIDE_BY_SIDE), corners=BOTH),
    Group(f"{BACKWARD} {FLOW_BACKWARD}", layouts=(IN_PLANES, SIDE_BY_SIDE)),
    Group(BACKWARD, corners=(True,)),
    Group(f"{BACKWARD} {FLOW_BACKWARD}", paddings="zeros border", layouts=(IN_PLANES, (LAST, (16,))),
          wrt=("image", "source")),
    Group(f"{SAMPLERS} {FLOW}", "nearest", layouts=ONE_EACH),
    Group(BACKWARD, "nearest", "zeros border", wrt=("image",)),
    Group(f"{SAMPLERS} {FLOW}", "bicubic", layouts=(IN_PLANES, SIDE_BY_SIDE)),
    Group(BACKWARD, "bicubic", "zeros border", layouts=ONE_EACH),
    Group(f"{SAMPLERS} {BACKWARD}", "spline3", "zeros border reflection", layouts=ONE_EACH),
    Group("projective_sample", "bilinear nearest", "zeros border", layouts=ONE_EACH),
    Group("projective_sample_vjp", paddings="zeros border"),
    Group("thin_plate_spline_sample thin_plate_spline_sample_vjp", paddings="zeros border"),
    # Pictures, and labels.
    Group(f"{SAMPLERS} projective_sample", "bilinear nearest", "zeros border", "uint8", (*ONE_EACH, (LAST, (4,)))),
    Group(SAMPLERS, "bicubic", "zeros border", "uint8", ONE_EACH),
    Group(SAMPLERS, "nearest", "zeros border", "int32 int64"),
    # Checks of gradients, and science.
    Group(f"{SAMPLERS} {BACKWARD} {FLOW} {FLOW_BACKWARD}", dtypes="float64"),
    Group(f"{SAMPLERS} {BACKWARD}", "bicubic spline3", "zeros border", dtypes="float64"),
    Group(f"{SAMPLERS} {BACKWARD}", paddings="zeros border", dtypes="float16 bfloat16", layouts=(IN_PLANES,)),
    # Signals, and volumes.
    Group(f"{SAMPLERS} {BACKWARD} {FLOW} {FLOW_BACKWARD}", paddings="zeros border", axes=(1, 3)),
    Group(f"{SAMPLERS} {FLOW}", "nearest", "zeros border", axes=(3,)),
    Group("affine_sample", "bilinear nearest", "zeros border", "uint8 int16", axes=(3,)),
    # Grids, and their derivatives.
    Group("affine_grid affine_grid_vjp projective_grid projective_grid_vjp flow_grid", dtypes="float32 float64",
          axes=(1, 2, 3), corners=BOTH),
    Group("thin_plate_spline_grid thin_plate_spline_grid_vjp", dtypes="float32 float64"),
    # Forward mode, the second order, and adjoints.
    Group("grid_sample_jvp affine_sample_jvp grid_sample_double_vjp", paddings="zeros border"),
    Group("grid_splat grid_splat_vjp grid_gradient grid_count", paddings="zeros border", layouts=(IN_PLANES,)),
)  # fmt: skip

FEW = (Group("affine_sample affine_sample_vjp", paddings="zeros"),)  # to try the machinery with

SETS = {"common": (*COMMON, DOCUMENTED), "documented": (DOCUMENTED,), "few": FEW}


def members(name: str) -> list[Choice | Single]:
    """List everything in a set once."""
    parts = SETS[name]
    found = [one for part in parts for one in (part.choices() if isinstance(part, Group) else singles(part))]
    return list(dict.fromkeys(found))


def singles(path: Path) -> list[Single]:
    """Read kernels from a file."""
    return [
        Single(Factory(room, name), Spec(**{field: _value(value) for field, value in fields.items()}, digest=digest()))
        for room, name, fields in json.loads(path.read_text(encoding="utf-8"))
    ]


def kept(kernels: list[Single]) -> str:
    """Write kernels as a file has them: a line for each, with the fields that are not as they are by default."""
    default = Spec(0)
    lines = {
        json.dumps([*factory, {k: v for k, v in spec._asdict().items() if k != "digest" and v != getattr(default, k)}])
        for factory, spec in kernels
    }
    return "[\n" + ",\n".join(sorted(lines)) + "\n]\n"


def _value(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
