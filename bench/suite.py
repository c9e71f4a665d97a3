"""What the benchmark runs, in sections, and what groups of its cases are to reach."""

import itertools
from fnmatch import fnmatch
from typing import NamedTuple

from bench.cases import Case, Shape


class Section(NamedTuple):
    """Cases that stand together in a table; the peers are all, or those named."""

    title: str
    cases: tuple[Case, ...]
    peers: tuple[str, ...] | None = None


class Comparison(NamedTuple):
    """Cases whose ratios to one library the README sums up."""

    title: str
    cases: tuple[Case, ...]
    against: str


class Goal(NamedTuple):
    """What a group of cases is to reach: on geometric average, and in each of them."""

    title: str
    cases: tuple[Case, ...]
    against: str  # a peer: how many times as long it takes; or "floor": the fraction that is reached
    average: float
    least: float | None = None


def case(op: str, shape: Shape, **choices: str) -> Case:
    """Build a case whose output has the image's size; the name tells what differs from the defaults.

    `op` may carry a derivative, as in "affine_sample.step".
    """
    operation, _, derivative = op.partition(".")
    name = "/".join([op, "x".join(map(str, shape)), *choices.values()])
    batch, channels, *extent = shape
    derivative = derivative or "forward"
    return Case(name, batch, channels, (*extent,), (*extent,), op=operation, derivative=derivative, **choices)


def cases(op: str, shapes: tuple[Shape, ...], **choices: str) -> tuple[Case, ...]:
    """Build a case for each shape."""
    return tuple(case(op, shape, **choices) for shape in shapes)


def shrunk(shape: Shape, times: int) -> Case:
    """Build a case whose output is smaller, and antialiased by as many subsamples along each axis."""
    batch, channels, *extent = shape
    size = tuple(n // times for n in extent)
    name = "/".join(["affine_sample", "x".join(map(str, shape)), f"antialias={times}"])
    return Case(name, batch, channels, (*extent,), size, op="affine_sample", antialias=times)


def of_scipy(op: str, *modes: str) -> tuple[Case, ...]:
    """Build cases of a plane and a volume, as SciPy has them: order 3 with its filter, on periodic images."""
    found = itertools.product(modes, ((1, 1, 2048, 2048), (1, 1, 128, 128, 128)), ("float32", "float64"))
    return tuple(
        case(op, shape, mode=mode, dtype=dtype)
        if mode in ("nearest", "bilinear")
        else case(op, shape, mode=mode, padding_mode="wrap", dtype=dtype)._replace(prefilter=op.endswith("sample"))
        for mode, shape, dtype in found
    )


LAST = "channels_last"
# N, C and the spatial axes: pictures, one photograph, one plane, features, digits, deep features.
PLANES = (
    (32, 3, 224, 224), (1, 3, 1080, 1920), (1, 1, 4096, 4096), (16, 64, 64, 64), (64, 1, 28, 28), (8, 256, 32, 32),
)  # fmt: skip
COLOURED = tuple(shape for shape in PLANES if shape[1] > 1)
VOLUMES = ((1, 1, 128, 128, 128), (2, 16, 48, 48, 48))
SCAN = (1, 1, 256, 256, 256)
FRAMES = ((1, 1, 1080, 1920), (1, 3, 1080, 1920))
MIDDLE = (16, 16, 64, 64)
WIDE = (16, 64, 64, 64)
SQUARES = tuple((1, 1, n, n) for n in (28, 64, 128, 256, 512, 1024, 2048, 8192))  # 4096 is one of PLANES

SECTIONS = (
    Section("Sampling at a grid", cases("grid_sample", PLANES)),
    Section("Sampling under affine maps", cases("affine_sample", PLANES)),
    Section("A training step of affine maps", cases("affine_sample.step", PLANES)),
    Section(
        "Channels last",
        cases("grid_sample", COLOURED, data_format=LAST)
        + cases("affine_sample", COLOURED, data_format=LAST)
        + cases("affine_sample.step", COLOURED, data_format=LAST),
        ("torch", "opencv"),
    ),
    Section("Volumes", cases("grid_sample", VOLUMES) + cases("affine_sample.step", VOLUMES), ("torch", "scipy", "jax")),
    Section(
        "Bicubic",
        cases("grid_sample", PLANES, mode="bicubic") + cases("affine_sample.step", PLANES, mode="bicubic"),
        ("torch",),
    ),
    Section(
        "One frame, as OpenCV takes it",
        cases("affine_sample", FRAMES[:1], data_format=LAST)  # that of 3 channels stands above
        + cases("affine_sample", FRAMES, data_format=LAST, dtype="uint8")
        + cases("grid_sample", FRAMES, data_format=LAST, dtype="uint8"),
        ("opencv",),
    ),
    Section(
        "Integers of 16 bits, beside float32",
        cases("affine_sample", (*FRAMES[:1], SCAN)) + cases("affine_sample", (*FRAMES[:1], SCAN), dtype="uint16"),
        ("opencv", "scipy"),
    ),
    Section(
        "Labels: moved, by the weight of their pixels, and as if they were numbers",
        tuple(
            case("affine_sample", shape, mode=mode, dtype="uint8")
            for shape in (FRAMES[0], SCAN)
            for mode in ("nearest", "label", "bilinear")
        ),
        (),
    ),
    Section(
        "Other operations and derivatives",
        tuple(
            case(op, MIDDLE)
            for op in (
                "grid_sample", "grid_sample.vjp", "grid_sample.jvp", "grid_sample.double_vjp",
                "affine_sample.jvp", "affine_sample.double_vjp", "affine_grid", "affine_grid.vjp", "affine_grid.jvp",
                "flow_sample", "flow_sample.step", "flow_sample.jvp", "flow_sample.double_vjp",
                "flow_grid", "flow_grid.vjp", "flow_grid.jvp", "grid_splat", "grid_splat.vjp", "grid_count",
                "grid_gradient",
            )
        ),
        ("torch",),
    ),
    Section("Antialiased, to a quarter of the size", tuple(shrunk(shape, 4) for shape in PLANES[:2]), ("torch",)),
    Section(
        "Projective maps and thin plate splines of 16 control points",
        cases("projective_sample", FRAMES[:1], data_format=LAST)
        + tuple(
            case(op, MIDDLE)
            for root in ("projective", "thin_plate_spline")
            for op in (
                f"{root}_sample", f"{root}_sample.step", f"{root}_sample.jvp",
                f"{root}_grid", f"{root}_grid.vjp", f"{root}_grid.jvp",
            )
        ),
        ("opencv",),
    ),
    Section(  # the functions of SciPy's names, as they come, stand here too
        "Orders 0, 1 and 3, as SciPy takes them",
        of_scipy("affine_sample", "nearest", "bilinear", "spline3") + of_scipy("spline_filter", "spline3"),
        ("scipy",),
    ),
    Section(
        "Half precision",
        (
            case("grid_sample", WIDE, dtype="float16"),
            case("grid_sample", WIDE, dtype="bfloat16"),
        ),
        (),
    ),
    Section("The cost of a call", cases("grid_sample", ((1, 1, 4, 4),)) + cases("affine_sample", ((1, 1, 4, 4),))),
    Section("From small to large", cases("affine_sample", SQUARES), ("torch", "opencv")),
)  # fmt: skip

# Every public function once, on images so small that one thread takes them; on lines what few peers have,
# because fewer axes compile sooner.
SMALL, LINE = (2, 3, 32, 32), (2, 3, 256)
QUICK = (
    Section(
        "Every operation, on small images",
        tuple(
            case(op, SMALL)
            for op in (
                "grid_sample", "grid_sample.step", "affine_sample", "affine_sample.step", "affine_grid",
                "affine_grid.vjp",
            )
        )
        + cases("affine_sample", (SMALL,), data_format=LAST)
        + cases("affine_sample", (SMALL,), data_format=LAST, dtype="uint8"),
    ),
    Section(
        "Every other operation, on lines",
        tuple(
            case(op, LINE)
            for op in (
                "grid_sample.jvp", "grid_sample.double_vjp", "affine_sample.jvp", "affine_sample.double_vjp",
                "affine_grid.jvp", "flow_sample", "flow_sample.step", "flow_sample.jvp", "flow_sample.double_vjp",
                "flow_grid", "flow_grid.vjp", "flow_grid.jvp",
                "projective_sample", "projective_sample.step", "projective_sample.jvp",
                "projective_grid", "projective_grid.vjp", "projective_grid.jvp",
                "thin_plate_spline_sample", "thin_plate_spline_sample.step", "thin_plate_spline_sample.jvp",
                "thin_plate_spline_grid", "thin_plate_spline_grid.vjp", "thin_plate_spline_grid.jvp",
                "grid_splat", "grid_splat.vjp", "grid_count", "grid_gradient", "spline_filter", "spline_filter.vjp",
            )
        ),
        (),
    ),
)  # fmt: skip

SCALED = cases("grid_sample", PLANES[:2]) + cases("affine_sample.step", PLANES[:1])

GOALS = (
    Goal("torch grid_sample, forward", cases("grid_sample", PLANES), "torch", 2.0, 1.1),
    Goal("torch affine_grid and grid_sample, forward", cases("affine_sample", PLANES), "torch", 4.0, 2.0),
    Goal("torch, training step", cases("affine_sample.step", PLANES), "torch", 3.0, 1.8),
    Goal("torch channels last, forward", cases("grid_sample", COLOURED, data_format=LAST), "torch", 4.0),
    Goal("torch channels last, training step", cases("affine_sample.step", COLOURED, data_format=LAST), "torch", 3.0),
    Goal("torch volumes, forward", cases("grid_sample", VOLUMES), "torch", 4.0),
    Goal("torch volumes, training step", cases("affine_sample.step", VOLUMES), "torch", 3.0),
    Goal("torch bicubic, forward", cases("grid_sample", PLANES, mode="bicubic"), "torch", 1.5),
    Goal("torch bicubic, training step", cases("affine_sample.step", PLANES, mode="bicubic"), "torch", 1.5),
    Goal("OpenCV warpAffine, float32", cases("affine_sample", FRAMES, data_format=LAST), "opencv", 0.8),
    Goal("OpenCV warpAffine, uint8", cases("affine_sample", FRAMES, data_format=LAST, dtype="uint8"), "opencv", 0.6),
    Goal("SciPy map_coordinates", cases("grid_sample", PLANES + VOLUMES), "scipy", 12.0),
    Goal("SciPy affine_transform", cases("affine_sample", PLANES), "scipy", 12.0),
    Goal("JAX map_coordinates", cases("grid_sample", PLANES + VOLUMES), "jax", 10.0),
    Goal("the floor, many channels last", cases("grid_sample", PLANES[3::2], data_format=LAST), "floor", 0.5),
    Goal("the floor, 3 channels first", cases("grid_sample", PLANES[:2]), "floor", 0.35),
)

COMPARISONS = (
    Comparison("torch `grid_sample`", cases("grid_sample", PLANES), "torch"),
    Comparison("torch `affine_grid`, `grid_sample`", cases("affine_sample", PLANES), "torch"),
    Comparison("the same, forward and backward", cases("affine_sample.step", PLANES), "torch"),
    Comparison("torch `grid_sample`, volumes", cases("grid_sample", VOLUMES), "torch"),
    Comparison("torch `grid_sample`, bicubic", cases("grid_sample", PLANES, mode="bicubic"), "torch"),
    Comparison("kornia `warp_affine`", cases("affine_sample", PLANES), "kornia"),
    Comparison("SciPy `map_coordinates`", cases("grid_sample", PLANES + VOLUMES), "scipy"),
    Comparison("JAX `map_coordinates`", cases("grid_sample", PLANES + VOLUMES), "jax"),
    Comparison("OpenCV `warpAffine`, float32", cases("affine_sample", FRAMES, data_format=LAST), "opencv"),
)


def everything() -> dict[str, Case]:
    """Return every case of the benchmark by its name."""
    return {one.name: one for section in SECTIONS + QUICK for one in section.cases}


def selected(sections: tuple[Section, ...], pattern: str) -> tuple[Section, ...]:
    """Return the sections with only the cases whose name fits a pattern; refuse one that fits none."""
    found = [s._replace(cases=tuple(one for one in s.cases if fnmatch(one.name, pattern))) for s in sections]
    if not any(section.cases for section in found):
        known = ", ".join(one.name for section in sections for one in section.cases)
        message = f"--cases {pattern} fits no case; known are {known}"
        raise ValueError(message)
    return tuple(section for section in found if section.cases)
