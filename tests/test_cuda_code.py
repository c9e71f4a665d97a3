"""Every two choices of kernels for GPUs that can meet, compiled to machine code where there is no GPU.

All combinations are too many to compile. A fault of a compiler, or of a kernel's text, mostly takes two choices to
show, so some kernels are chosen in which every two meet; they are those that calls of the public functions ask for.
Half of them are compiled for GPUs of compute capability 8.0, and half for 9.0.

`STNKIT_TESTS_ALL_KERNELS` asks for many more: it names formats of images, as "float32 float16". For each, the kernels
of every operation with every source, number of axes, mode and layout are compiled.
"""

import functools
import itertools
import os
import re

import numpy as np
import pytest
from calls import CHOICES, drawn, effort
from covering import covering
from emulation.phantoms import SHORT, Kernel, asked_for, kernels_of, nowhere, phantom, recorded
from ml_dtypes import bfloat16

import stnkit
from stnkit import validation
from stnkit.backends.cuda import execute
from stnkit.backends.cuda.warp_layout import VECTOR
from stnkit.kernels.cuda import elementwise, prefilter, runtime
from stnkit.kernels.cuda import kernels as cuda
from stnkit.kernels.leaves.formats import zero
from stnkit.spec import FLOAT64, GRID, LONG

SEED = 12
PARTS = 16  # of the work
CAPABILITIES = ((8, 0), (9, 0))
SPILLED = 512  # bytes, at most, of second derivatives of more than 16 pixels in float64: no thread has the registers
WORD = 4  # bytes, of which numbers are read side by side if they are shorter

PLAIN = {
    "operation": "", "source": "grid", "ndim": 2, "mode": "bilinear", "padding": "zeros", "align": False,
    "image": "float32", "coordinates": "float32", "channels": 0, "gaps": False, "asked": (True, True),
    "size": "small", "deterministic": False,
}  # fmt: skip
EVERYDAY = [  # what adds to memory differs by capability, which `test_vector_atomics.py` is about
    ({"channels": 64}, (8, 0)),
    ({"source": "affine"}, (9, 0)),
    ({"operation": "_vjp", "source": "affine"}, (8, 0)),
    ({"operation": "_double_vjp", "channels": 64}, (9, 0)),
]
ALL = os.environ.get("STNKIT_TESTS_ALL_KERNELS", "").split()
SIZES = ("bool", "int16", "uint64")  # beside int32: one of each other size


@functools.cache
def found():
    return asked_for(SEED)


@functools.cache
def chosen():
    return covering(found(), cost=seconds)


def seconds(kernel):
    """Say about how long a kernel is compiled."""
    name, spec = kernel.factory.__name__, kernel.spec
    return 0.3 if name in SHORT else effort(spec.ndim, spec.interp, name == "sample_double_vjp")


def test_every_two_choices_that_can_meet_do():
    """In the kernels that are chosen meet all choices that meet in any kernel asked for, in other drawn calls too."""
    kernels = found()
    met = set().union(*(kernels[kernel] for kernel in chosen()))
    assert met == set().union(*kernels.values())
    assert met >= set().union(*asked_for(SEED + 1, each=2).values())
    names = {kernel.factory.__name__ for kernel in kernels}
    assert names == {kernel.factory.__name__ for kernel in chosen()}
    assert len(kernels) > 20 * len(chosen())


def test_calls_that_exist_launch_kernels():
    """So that choices do not count as met in a call that is refused, or has nothing to do."""
    for call in drawn({**CHOICES, "size": ("small",)}, SEED, 1):
        assert kernels_of(call), call


@pytest.mark.parametrize("part", range(PARTS))
def test_kernels_in_which_they_meet(compiler, part):
    for place in range(part, len(chosen()), PARTS):
        compiled(chosen()[place], CAPABILITIES[place // PARTS % 2])


@pytest.mark.parametrize(("call", "capability"), EVERYDAY, ids=str)
def test_kernels_of_everyday(compiler, call, capability):
    for kernel in kernels_of({**PLAIN, **call}):
        compiled(kernel, capability)


@pytest.mark.parametrize(("order", "capability"), [((1, 0, 0), (8, 0)), ((1, 2, 1), (9, 0))])
def test_derivatives_that_programs_are_made_of(compiler, order, capability):
    """No function of NumPy's arrays asks for them; JAX's rules do."""
    place, ndim = nowhere(), 3 if any(order[2:]) else 2
    image, grid = phantom((2, 3, *(9,) * ndim), "float32", place), phantom((2, *(5,) * ndim, ndim), "float32", place)
    options = validation.options(ndim, "bicubic" if ndim == 2 else "bilinear", "border", False, "channels_first")
    with recorded() as kernels:
        execute.sample_order(image, grid, GRID, grid.shape[1:-1], options, np.zeros(3, np.float32), None, order)
    (kernel,) = (kernel for kernel in kernels if kernel.factory is cuda.sample_order)
    compiled(kernel, capability)


@pytest.mark.parametrize(("ndim", "mode", "channels"), [(2, "bilinear", 0), (2, "bilinear", 4), (3, "bicubic", 4)])
def test_fill_values_that_are_not_finite(compiler, ndim, mode, channels):
    """Which taps have no weight is kept in a register, too."""
    place, extent, size = nowhere(), (9,) * ndim, (5,) * ndim
    shape, out_shape = ((2, *part, channels) if channels else (2, 3, *part) for part in (extent, size))
    image, cotangent = phantom(shape, "float32", place), phantom(out_shape, "float32", place)
    grid = phantom((2, *size, ndim), "float32", place)
    options = {"mode": mode, "data_format": "channels_last" if channels else "channels_first", "fill_value": np.nan}
    with recorded() as kernels:
        stnkit.grid_sample(image, grid, **options)
        stnkit.grid_sample_vjp(cotangent, image, grid, wrt="grid", **options)
    asked = [kernel for kernel in kernels if kernel.factory in (cuda.sample, cuda.sample_vjp)]
    assert [kernel.spec.fill_finite for kernel in asked] == [False, False]
    for kernel in asked:
        compiled(kernel, (9, 0))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("order", [2, 3, 4, 5])
def test_filters_of_splines(compiler, order, dtype):
    """A thread keeps one sum for each pole, and where it reads, however many pixels that are."""
    for function in (stnkit.spline_filter, stnkit.spline_filter_vjp):
        with recorded() as kernels:
            function(phantom((2, 3, 9, 9), dtype, nowhere()), order=order)
        asked = {kernel for kernel in kernels if kernel.factory is prefilter.spline_filter}
        assert sorted(kernel.spec.packed for kernel in asked) == [False, True]
        for kernel in asked:
            compiled(kernel, (9, 0))
            compiled(kernel._replace(narrow=False), (8, 0))


@pytest.mark.parametrize("name", SIZES)
def test_numbers_that_are_moved(compiler, name):
    for choices in ({"mode": "nearest"}, {"mode": "label", "ndim": 3}):
        for kernel in kernels_of({**PLAIN, "image": name, "channels": 64, **choices}):
            compiled(kernel, (9, 0))


@pytest.mark.parametrize("padding", ["mask", "periodic", "zeros_margin", "border_margin"])
def test_paddings_that_are_not_drawn(compiler, padding):
    for mode in ("bilinear", "spline3"):
        for kernel in kernels_of({**PLAIN, "padding": padding, "mode": mode, "channels": 64}):
            compiled(kernel, (9, 0))


@pytest.mark.parametrize(
    ("call", "rows"),
    [
        ({}, True),
        ({"gaps": True}, False),
        ({"padding": "wrap"}, False),
        ({"channels": 64}, False),
        ({"mode": "nearest"}, False),
    ],
    ids=str,
)
def test_bilinear_planes_are_read_in_rows_of_two(call, rows):
    (kernel,) = (kernel for kernel in kernels_of({**PLAIN, **call}) if kernel.factory is cuda.sample)
    assert kernel.spec.paired == rows


@pytest.mark.parametrize("ndim", [2, 3])
def test_no_tap_is_read_after_the_others(compiler, ndim):
    """Of a choice between two numbers that were read, the assembler may make a read that waits for other choices."""
    kernels = [kernel for kernel in kernels_of({**PLAIN, "operation": "_vjp", "ndim": ndim}) if kernel.spec.source_bar]
    assert kernels
    for kernel in kernels:
        arguments = runtime.signature(kernel.template, kernel.narrow)
        code = runtime.compile(kernel.factory(kernel.spec), arguments, (9, 0))
        read = set(re.findall(r"ld\.global\.f32\s+(%f\d+)", code.ptx))
        chosen = re.findall(r"selp\.f32\s+%f\d+, (%f\d+), (%f\d+)", code.ptx)
        assert read
        assert not any(read >= set(pair) for pair in chosen)


MEANS = [  # of antialiased calls: where coordinates come from, the image's dtype, that of the coordinates
    ("flow", "float32", "float32"),
    ("flow", "float16", "float32"),
    ("affine", "uint8", "float64"),
    ("affine", "uint32", "float32"),
    ("affine", "bfloat16", "float32"),
]


@pytest.mark.parametrize(("name", "image", "coordinates"), MEANS)
def test_kernels_of_means(compiler, name, image, coordinates):
    """While a graph is recorded, it is refused to find out how many subsamples there are."""
    place, shape = nowhere(), {"flow": (2, 3, 4, 2), "affine": (2, 2, 3)}[name]
    picture = phantom((2, 3, 6, 7), bfloat16 if image == "bfloat16" else image, place)
    arrays = picture, phantom(shape, coordinates, place)
    size = {"size": (3, 4)} if name == "affine" else {}
    function = getattr(stnkit, f"{name}_sample")
    with recorded() as kernels:
        function(*arrays, antialias=2, **size)
        with pytest.raises(TypeError, match=r"while a graph is recorded; pass how many subsamples.*antialias=4"):
            function(*arrays, antialias=True, **size)
    own = {kernel for kernel in kernels if kernel.factory in (elementwise.combination, elementwise.longest)}
    measured = {elementwise.longest} if name == "flow" else set()  # affine maps are read as they are
    assert {kernel.factory for kernel in own} == {elementwise.combination} | measured
    for kernel in own:
        compiled(kernel, (9, 0))


if ALL:  # no test is skipped where nobody asks for so many

    @pytest.mark.parametrize("image", ALL)
    @pytest.mark.parametrize("mode", CHOICES["mode"])
    @pytest.mark.parametrize("ndim", CHOICES["ndim"])
    @pytest.mark.parametrize("source", CHOICES["source"])
    def test_kernels_of_every_operation(compiler, source, ndim, mode, image):
        call = {**PLAIN, "source": source, "ndim": ndim, "mode": mode, "image": image}
        choices = itertools.product(CHOICES["operation"], (0, 64))
        calls = ({**call, "operation": operation, "channels": channels} for operation, channels in choices)
        for kernel in dict.fromkeys(itertools.chain.from_iterable(map(kernels_of, calls))):
            compiled(kernel, (9, 0))


@functools.cache
def compiled(kernel: Kernel, capability):
    """Compile a kernel; refuse machine code that a GPU would not be quick at."""
    code = runtime.compile(kernel.factory(kernel.spec), runtime.signature(kernel.template, kernel.narrow), capability)
    name, spec, ptx, about = kernel.factory.__name__, kernel.spec, code.ptx, (kernel, code.registers, code.spilled)
    fields = SHORT.get(name, ("image_dtype", "dot_dtype", "source_dtype"))
    double = any(getattr(spec, field) in (FLOAT64, *LONG) for field in fields if field.endswith("dtype"))
    assert code.cubin.startswith(b"\x7fELF"), about
    assert not re.search(r"\bcall\b", ptx), about
    assert double or not re.search(r"\.f64", ptx), about
    if name in SHORT:
        assert code.spilled == 0, about
        assert ".local" not in ptx, about
        return
    taps = spec.taps**spec.ndim
    assert ".local" not in ptx, about
    many = double and taps > 16 and name == "sample_double_vjp"
    assert code.spilled <= (SPILLED if many else 0), about
    few = taps <= 8 and not double and name in ("sample", "sample_jvp", "scatter")
    assert not few or code.registers <= 128, about  # so that two blocks fit; backward passes keep more, and one does
    adds = name == "scatter" or (name in ("sample_vjp", "sample_double_vjp") and spec.image_bar)
    assert bool(re.search(r"\b(red|atom)\S*\.add\S*\.f(32|64)", ptx)) == adds, about
    assert name != "scatter_binned" or re.search(r"\b(red|atom)\S*\.add\.u64", ptx), about
    exchanges = spec.together and (name in ("sample", "scatter") or spec.image_bar)
    assert not (exchanges or (spec.group > 1 and spec.source_bar)) or "shfl.sync" in ptx, about
    read = spec.dot_dtype if name.startswith("scatter") else spec.image_dtype
    size = zero(read).itemsize
    if spec.lanes * size == VECTOR:
        assert re.search(r"ld\.global\.(v4\.[bfu]32|v2\.[bfu]64)", ptx), about
    if spec.aligned and spec.lanes * size >= WORD > size:
        assert not re.search(rf"(ld|st)\.global\.(v\d\.)?[bfu]{8 * size}\b", ptx), about
