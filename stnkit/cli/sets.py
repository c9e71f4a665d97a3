"""Sets of kernels, by name: what archives are made of, as choices of `stnkit compile`."""

from collections.abc import Iterator
from typing import NamedTuple

from stnkit.cli.selection import Choice, choices

FIRST, LAST = "channels_first", "channels_last"
IN_PLANES, SIDE_BY_SIDE = (FIRST, (3, 16)), (LAST, (1, 3, 4, 16))  # numbers of channels that have kernels of their own


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


BOTH, EITHER = (False, True), ("both", "image", "source")
SAMPLERS = "grid_sample affine_sample"
BACKWARD = "grid_sample_vjp affine_sample_vjp"

COMMON = (
    # What most calls are: float32, in the plane.
    Group(f"{SAMPLERS} flow_sample", "bilinear nearest", layouts=(IN_PLANES, SIDE_BY_SIDE), corners=BOTH),
    Group(f"{BACKWARD} flow_sample_vjp", "bilinear", layouts=(IN_PLANES, SIDE_BY_SIDE), corners=BOTH, wrt=EITHER),
    Group(f"{BACKWARD} flow_sample_vjp", "nearest", layouts=((FIRST, (3,)), (LAST, (3,))), wrt=("image",)),
    Group(SAMPLERS, "bicubic", layouts=(IN_PLANES, SIDE_BY_SIDE), corners=BOTH),
    Group(BACKWARD, "bicubic", layouts=((FIRST, (3,)), (LAST, (3, 16))), wrt=EITHER),
    Group(f"{SAMPLERS} {BACKWARD}", "spline3", "border reflection zeros", layouts=((FIRST, (3,)), (LAST, (3,)))),
    Group("projective_sample projective_sample_vjp", "bilinear nearest", "zeros border",
          layouts=(IN_PLANES, (LAST, (3,)))),
    Group("thin_plate_spline_sample thin_plate_spline_sample_vjp", "bilinear", "zeros border"),
    # Pictures.
    Group(f"{SAMPLERS} flow_sample projective_sample", "bilinear nearest bicubic", dtypes="uint8",
          layouts=((FIRST, (3,)), (LAST, (3, 4)))),
    # Checks of gradients, and science.
    Group(f"{SAMPLERS} {BACKWARD} flow_sample flow_sample_vjp", "bilinear", dtypes="float64", corners=BOTH,
          layouts=((FIRST, (3, 16)), (LAST, (3,)))),
    Group(f"{SAMPLERS} {BACKWARD}", "bicubic spline3 nearest", dtypes="float64", layouts=((FIRST, (3,)),)),
    Group(f"{SAMPLERS} {BACKWARD}", "bilinear", "zeros border", dtypes="float16 bfloat16", layouts=(IN_PLANES,)),
    # Signals, and volumes.
    Group(f"{SAMPLERS} {BACKWARD} flow_sample flow_sample_vjp", "bilinear", axes=(1, 3), layouts=((FIRST, (3, 16)),)),
    Group(f"{SAMPLERS} flow_sample", "nearest", axes=(1, 3), layouts=((FIRST, (3,)),)),
    Group(f"{SAMPLERS}", "bilinear nearest", "zeros border", "uint8 int16", axes=(3,), layouts=((FIRST, (3,)),)),
    # Grids, and their derivatives.
    Group("affine_grid affine_grid_vjp projective_grid projective_grid_vjp flow_grid", axes=(1, 2, 3),
          dtypes="float32 float64", corners=BOTH),
    Group("thin_plate_spline_grid thin_plate_spline_grid_vjp", dtypes="float32 float64", corners=BOTH),
    # Forward mode, the second order, and adjoints.
    Group("grid_sample_jvp affine_sample_jvp grid_sample_double_vjp", paddings="zeros border"),
    Group("grid_splat grid_splat_vjp grid_gradient grid_count", paddings="zeros border", layouts=(IN_PLANES,)),
)  # fmt: skip

FEW = (Group("affine_sample affine_sample_vjp", paddings="zeros"),)  # to try the machinery with

SETS = {"common": COMMON, "few": FEW}


def members(name: str) -> list[Choice]:
    """List every choice of a set once."""
    return list(dict.fromkeys(choice for group in SETS[name] for choice in group.choices()))
