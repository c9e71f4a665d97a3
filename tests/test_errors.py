"""Every refusal: its type, and a message that names the argument, what was given and what is accepted."""

import functools
import inspect
import re

import jax.numpy as jnp
import numpy as np
import PIL.Image
import pytest
import scipy.sparse
import torch
from cases import FUNCTIONS

import stnkit
from stnkit._dispatch import FAST
from stnkit.spec import BFLOAT16, COORDS, DATA_FORMATS, DTYPES, MODES, MOVED, PADDING_MODES, UNITS

IMAGE, GRID, THETA = np.ones((2, 3, 4, 5)), np.zeros((2, 6, 7, 2)), np.ones((2, 2, 3))
OUT = np.ones((2, 3, 6, 7))
SQUARE, CONTROL = np.stack([np.eye(3)] * 2), np.array([[-1.0, -1.0], [1.0, -1.0], [0.0, 1.0]])


def sample(image=IMAGE, grid=GRID, **options):
    return stnkit.grid_sample(image, grid, **options)


def vjp(cotangent=OUT, image=IMAGE, grid=GRID, **options):
    return stnkit.grid_sample_vjp(cotangent, image, grid, **options)


def flow(image=IMAGE, flow=GRID, **options):
    return stnkit.flow_sample(image, flow, **options)


def affine(image=IMAGE, theta=THETA, size=None, **options):
    return stnkit.affine_sample(image, theta, size, **options)


class Half:
    """An array that would be shared, of a library that does not say where it lies."""

    def __dlpack__(self, **options):
        return IMAGE.__dlpack__(**options)


BLENDED = [name for name, code in DTYPES.items() if code not in MOVED]
FLOATS = [name for name, code in DTYPES.items() if code <= BFLOAT16]


def quoted(table):
    return [repr(name) for name in table]


SHAPES = [
    (lambda: sample(grid=np.zeros((2, 6, 7, 4))), ["`grid`", "(N, H, W, 2)", "(2, 6, 7, 4)"]),
    (lambda: sample(grid=np.zeros((7, 3))), ["`grid`", "(N, D, H, W, 3)", "(7, 3)"]),
    (lambda: sample(grid=np.array(1.0)), ["`grid`", "got ()"]),
    (lambda: sample(np.ones((4, 5))), ["`image`", "(N, C, H, W)", "channels_first", "(4, 5)"]),
    (lambda: sample(np.ones((1, 2, 3, 4, 5))), ["`image`", "(N, C, H, W)", "(1, 2, 3, 4, 5)"]),
    (lambda: sample(np.ones((4, 5)), data_format="channels_last"), ["`image`", "(N, H, W, C)", "channels_last"]),
    (lambda: sample(np.ones((3, 3, 4, 5))), ["`image`", "`grid`", "batch", "3 and 2"]),
    (lambda: affine(np.ones((3, 3, 4, 5))), ["`image`", "`theta`", "batch", "3 and 2"]),
    (lambda: sample(np.ones((2, 3, 0, 5))), ["`image`", "at least one pixel", "(2, 3, 0, 5)"]),
    (lambda: affine(np.ones((2, 3, 0, 5)), size=(2, 2)), ["`image`", "at least one pixel"]),
    (lambda: affine(theta=np.eye(3)), ["`theta`", "(N, 2, 3)", "(3, 3)"]),
    (lambda: stnkit.affine_grid(np.ones(3), (4, 5)), ["`theta`", "(N, 1, 2)", "(3,)"]),
    (lambda: stnkit.affine_grid_vjp(np.ones((2, 3))), ["`cotangent`", "(N, W, 1)", "(2, 3)"]),
    (lambda: vjp(OUT[..., :6]), ["`cotangent`", "(2, 3, 6, 7)", "(2, 3, 6, 6)"]),
    (lambda: vjp(OUT[0]), ["`cotangent`", "(2, 3, 6, 7)", "(3, 6, 7)"]),
    (lambda: stnkit.affine_sample_vjp(OUT[0, 0], IMAGE, THETA), ["`cotangent`", "(N, C, H, W)", "(6, 7)"]),
    (lambda: stnkit.affine_sample_vjp(OUT[:, :2], IMAGE, THETA), ["`cotangent`", "(2, 3, 6, 7)", "(2, 2, 6, 7)"]),
]

MOVE, POINTS = np.zeros((2, 2, 6, 7)), np.zeros((2, 9, 3))
HINTS = [  # what a message ends with, where what was meant can be guessed
    (lambda: flow(flow=MOVE), "axis 1 holds x, y, move it to the end: `np.moveaxis(flow, 1, -1)`"),
    (lambda: flow(flow=MOVE[0]), "axis 0 holds x, y, move it to the end: `np.moveaxis(flow, 0, -1)`"),
    (
        lambda: stnkit.flow_grid(np.zeros((2, 3, 5, 6, 7))),
        "x, y, z, move it to the end: `np.moveaxis(flow, 1, -1)`",
    ),
    (lambda: stnkit.flow_grid(np.zeros((4, 1, 9))), "axis 1 holds x, move it to the end: `np.moveaxis(flow, 1, -1)`"),
    (lambda: sample(grid=MOVE), "axis 1 holds x, y, move it to the end: `np.moveaxis(grid, 1, -1)`"),
    (lambda: stnkit.affine_grid_vjp(MOVE), "move it to the end: `np.moveaxis(cotangent, 1, -1)`"),
    (lambda: sample(grid=POINTS[0, :, :2]), "(P, 2) pass `grid[None, None]`, which gives (N, C, 1, P)"),
    (lambda: sample(grid=POINTS[0]), "(P, 3) pass `grid[None, None, None]`, which gives (N, C, 1, 1, P)"),
    (lambda: sample(grid=POINTS), "(N, P, 3) pass `grid[:, None, None]`, which gives (N, C, 1, 1, P)"),
    (
        lambda: affine(theta=SQUARE),
        "functions `projective_...`; if its last row is (0, 0, 1), pass `theta[..., :2, :]`",
    ),
    (lambda: stnkit.affine_grid(np.eye(4), (1, 1, 1)), "last row is (0, 0, 0, 1), pass `theta[..., :3, :]`"),
    (lambda: stnkit.affine_sample_vjp(OUT, IMAGE, np.eye(2)), "last row is (0, 1), pass `theta[..., :1, :]`"),
    (lambda: affine(theta=THETA.reshape(2, 6)), "`stnkit.transforms.affine_from_parameters` makes theta of rows"),
    (lambda: stnkit.affine_grid(np.ones(12), (4, 5, 6)), "`stnkit.transforms.affine_from_parameters` makes theta"),
    (lambda: stnkit.projective_sample(IMAGE, THETA), "functions `affine_...`, or gets (0, 0, 1) as its last row"),
    (lambda: stnkit.projective_grid(np.eye(3, 4), (1, 1, 1)), "or gets (0, 0, 0, 1) as its last row"),
    (lambda: stnkit.projective_grid(np.ones((2, 8)), (4, 5)), "`stnkit.transforms.projective_from_parameters` makes"),
    (lambda: sample(IMAGE[0, 0]), "An image of one channel is `image[None]`"),
    (lambda: sample(IMAGE[0, 0], data_format="channels_last"), "An image of one channel is `image[..., None]`"),
]


@pytest.mark.parametrize(("call", "hint"), HINTS)
def test_a_misfit_is_explained(call, hint):
    with pytest.raises(ValueError, match=re.escape(hint)):
        call()


@pytest.mark.parametrize("make", [torch.from_numpy, jnp.asarray])
def test_a_misfit_is_explained_in_every_framework(make):
    for call, part in (
        (lambda: stnkit.flow_sample(make(IMAGE), make(MOVE)), "`np.moveaxis(flow, 1, -1)`"),
        (lambda: stnkit.affine_sample(make(IMAGE), make(SQUARE)), "`theta[..., :2, :]`"),
        (lambda: stnkit.projective_sample(make(IMAGE), make(THETA)), "(0, 0, 1) as its last row"),
        (lambda: stnkit.grid_sample(make(IMAGE), make(POINTS)), "`grid[:, None, None]`"),
    ):
        with pytest.raises(ValueError, match=re.escape(part)):
            call()


@pytest.mark.parametrize("make", [np.asarray, torch.from_numpy, jnp.asarray])
@pytest.mark.parametrize("dtype", ["uint8", "int32"])
def test_integers_have_no_sum_of_fractions(make, dtype):
    says = (
        f"`values` must have dtype float32, .* as fractions of them are added; got {dtype}; convert to floating point"
    )
    with pytest.raises(TypeError, match=says):
        stnkit.grid_splat(make(OUT.astype(dtype)), make(GRID), (4, 5))
    with pytest.raises(TypeError, match=says):
        stnkit.grid_splat_vjp(make(IMAGE.astype(dtype)), make(OUT.astype(dtype)), make(GRID))


def test_a_list_of_points_is_a_grid_without_a_batch_axis(plain):
    points = np.random.default_rng(0).uniform(-1, 1, (2, 9, 2))
    image = np.random.default_rng(1).uniform(-1, 1, (2, 3, 4, 5))
    shared, own = plain.grid_sample(image, points), plain.grid_sample(image, points[:, None])
    assert shared.shape == (2, 3, 2, 9)
    assert own.shape == (2, 3, 1, 9)
    for n in range(2):
        np.testing.assert_array_equal(own[n, :, 0], shared[n, :, n])
    np.testing.assert_array_equal(plain.grid_sample(image, points[0][None, None])[:, :, 0], shared[:, :, 0])


def labelled(package, method, **more):
    """Return something with an array inside, as another library would make it."""
    kind = type("Labelled", (), {method: lambda self, *_, **__: IMAGE, "__module__": f"{package}.core", **more})
    return kind()


OTHERS = {  # what is no array, and how it becomes one
    "xarray": (labelled("xarray", "to_numpy", compute=lambda self: self), "{}.to_numpy()"),
    "pandas": (labelled("pandas", "to_numpy", __array__=lambda self: IMAGE), "{}.to_numpy()"),
    "scipy.sparse": (scipy.sparse.csr_matrix(IMAGE[0, 0]), "{}.toarray()"),
    "PIL": (PIL.Image.new("RGB", (5, 4)), "np.asarray({})"),
}
ROOMS = {
    "numpy": (np.asarray, "{}"),
    "torch": (torch.from_numpy, "torch.as_tensor({})"),
    "JAX": (jnp.asarray, "jnp.asarray({})"),
}


@pytest.mark.parametrize("framework", ROOMS)
@pytest.mark.parametrize("name", OTHERS)
def test_what_has_an_array_inside_is_refused_with_the_way_to_it(name, framework):
    other, inner = OTHERS[name]
    make, outer = ROOMS[framework]
    calls = {
        "image": lambda: stnkit.grid_sample(other, make(GRID)),
        "grid": lambda: stnkit.grid_sample(make(IMAGE), other),
        "theta": lambda: stnkit.projective_sample(make(IMAGE), other),
        "flow": lambda: stnkit.flow_sample_vjp(make(OUT), make(IMAGE), other),
        "values": lambda: stnkit.grid_splat(other, make(GRID), (4, 5)),
        "cotangent": lambda: stnkit.affine_sample_vjp(other, make(IMAGE), make(THETA)),
        "d_image": lambda: stnkit.affine_sample_jvp(make(IMAGE), make(THETA), other, None),
    }
    for argument, call in calls.items():
        with pytest.raises(TypeError, match=f"`{argument}` must be a") as caught:
            call()
        assert f"pass `{outer.format(inner.format(argument))}`" in str(caught.value)
        assert ("channels_last" in str(caught.value)) == (name == "PIL" and argument == "image")
    listed_by = {"numpy": "np.asarray", "torch": "torch.as_tensor", "JAX": "jnp.asarray"}[framework]
    for listed in (IMAGE.tolist(), tuple(IMAGE.tolist())):
        with pytest.raises(TypeError, match=re.escape(f"pass `{listed_by}(image)`")):
            stnkit.grid_sample(listed, make(GRID))


@pytest.mark.parametrize("framework", ROOMS)
def test_arguments_that_a_sampler_does_not_have_are_refused(framework):
    make, _ = ROOMS[framework]
    with pytest.raises(TypeError, match="size"):
        stnkit.grid_sample(make(IMAGE), make(GRID), size=(2, 3))
    with pytest.raises(TypeError, match="positional"):
        stnkit.grid_sample_vjp(make(OUT), make(IMAGE), make(GRID), ("image", "grid"))


FITTING = {"image": IMAGE, "d_image": IMAGE, "dd_image": IMAGE, "values": OUT, "cotangent": OUT, "size": (6, 7)}
FITTING |= {"grid": GRID, "flow": GRID, "theta": THETA, "control_points": CONTROL}
SLIPS = {"grid": MOVE, "flow": MOVE, "theta": SQUARE}
EXPLAINED = {"grid": "moveaxis(grid, 1, -1)", "flow": "moveaxis(flow, 1, -1)", "theta": "`theta[..., :2, :]`"}


def fitting(name):
    """Return arguments of a public function by name, and which of them are arrays that are of one framework."""
    function = getattr(stnkit, name)
    parameters = inspect.signature(function).parameters.values()
    names = [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
    own = {"theta": SQUARE} if name.startswith("projective") else {}
    own |= {"theta": CONTROL[None].repeat(2, 0)} if name.startswith("thin") else {}
    own |= {"cotangent": GRID} if "_grid_" in name else {"cotangent": IMAGE} if name == "grid_splat_vjp" else {}
    given = FITTING | own
    arguments = {word: given.get(word, given.get(word.lstrip("d").lstrip("_"))) for word in names}
    return arguments, [word for word in names if word not in ("size", "control_points")]


@pytest.mark.parametrize("framework", ROOMS)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_function_says_how_to_make_arrays(name, framework):
    arguments, arrays = fitting(name)
    make, outer = ROOMS[framework]
    arguments |= {word: make(arguments[word]) for word in arrays}
    for word in arrays:
        inside = labelled("xarray", "to_numpy", dtype=IMAGE.dtype, shape=IMAGE.shape)
        with pytest.raises(TypeError, match=f"`{word}` must be a") as caught:
            getattr(stnkit, name)(**arguments | {word: inside})
        alone = len(arrays) == 1
        way = f"{word}.to_numpy()" if alone else outer.format(f"{word}.to_numpy()")
        assert f"got xarray.core.Labelled; pass `{way}`" in str(caught.value)
    for word in {"control_points"} & set(arguments):
        inside = labelled("xarray", "to_numpy", dtype=CONTROL.dtype, shape=CONTROL.shape)
        with pytest.raises(TypeError, match=r"`control_points` must be .*; pass `control_points.to_numpy\(\)`"):
            getattr(stnkit, name)(**arguments | {word: inside})


@pytest.mark.parametrize("framework", ROOMS)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_function_refuses_mixtures_and_explains_misfits(name, framework):
    arguments, arrays = fitting(name)
    make, _ = ROOMS[framework]
    other = torch.from_numpy if framework == "JAX" else jnp.asarray
    given = arguments | {word: make(arguments[word]) for word in arrays}
    for word in arrays if len(arrays) > 1 else []:
        with pytest.raises(
            TypeError, match=f"`{word}`.* is a .* array and `.*; pass arrays of one framework|and `{word}` a "
        ):
            getattr(stnkit, name)(**given | {word: other(arguments[word])})
    for word in set(SLIPS) & set(arrays):
        if not (word == "theta" and not name.startswith("affine")):
            slips = {each: make(SLIPS[word]) for each in {word, f"d_{word}"} & set(arrays)}
            with pytest.raises(ValueError, match=re.escape(EXPLAINED[word])):
                getattr(stnkit, name)(**given | slips)


@pytest.mark.parametrize("make", [np.asarray, torch.from_numpy], ids=["NumPy", "torch"])
@pytest.mark.parametrize("name", sorted(FAST))
def test_what_repeated_calls_remember_is_asked_for_with_the_same_arguments_alone(plain, name, make):
    """`None` may stand for a size, and never where a good call had an array, nor before one."""
    arguments, arrays = fitting(name)
    function, given = getattr(plain, name), [make(arguments[word]) for word in arrays]
    expected = function(*given)
    for _ in range(2):
        function(*given)
        for k in range(len(given)):
            for others in ([*given[:k], None, *given[k:]], [*given[:k], None, *given[k + 1 :]]):
                with pytest.raises(TypeError, match=r"`|takes"):
                    function(*others)
    if name == "affine_sample":
        np.testing.assert_array_equal(function(*given, None), expected)


VALUES = [
    (lambda: sample(mode="cubic"), ["`mode`", "'cubic'", *quoted(MODES)]),
    (lambda: sample(padding_mode="mirror"), ["`padding_mode`", "'mirror'", *quoted(PADDING_MODES)]),
    (lambda: sample(padding_mode=["zeros", "mirror"]), ["`padding_mode`", "'mirror'", *quoted(PADDING_MODES)]),
    (lambda: sample(padding_mode=["zeros"] * 3), ["`padding_mode`", "one per axis", "x, y", "3 names"]),
    (lambda: flow(units="voxel"), ["`units`", "'voxel'", *quoted(UNITS)]),
    (lambda: stnkit.flow_grid(GRID, units="voxel"), ["`units`", "'voxel'", *quoted(UNITS)]),
    (lambda: sample(coords="unit"), ["`coords`", "'unit'", *quoted(COORDS)]),
    (lambda: sample(data_format="NHWC"), ["`data_format`", "'NHWC'", *quoted(DATA_FORMATS)]),
    (lambda: sample(fill_value=[1.0, 2.0]), ["`fill_value`", "3", "each channel", "(2,)"]),
    (lambda: sample(fill_value=np.ones((3, 1))), ["`fill_value`", "(3, 1)"]),
    (lambda: sample(fill_value=[[1.0], [1.0, 2.0]]), ["`fill_value`", "[[1.0], [1.0, 2.0]]"]),
    (lambda: sample(fill_value=10**400), ["`fill_value`", "float64 can hold", "1329 bits"]),
    (lambda: sample(IMAGE.astype(int), mode="nearest", fill_value=10**400), ["`fill_value`", "an integer from"]),
    (lambda: vjp(wrt="theta"), ["`wrt`", "'theta'", "'image'", "'grid'"]),
    (lambda: vjp(wrt=("image", "theta")), ["`wrt`", "'theta'"]),
    (lambda: stnkit.affine_sample_vjp(OUT, IMAGE, THETA, wrt="grid"), ["`wrt`", "'grid'", "'theta'"]),
    (lambda: affine(size=(4, -1)), ["`size`", "2 integers", "(H, W)", "(4, -1)"]),
    (lambda: affine(size=(2**40, 2**40)), ["`size`", "which memory can hold", "1099511627776"]),
    (lambda: affine(size=(4,)), ["`size`", "2 integers", "(4,)"]),
    (lambda: affine(size=(2**70, 1)), ["`size`", "which memory can hold"]),
    (lambda: affine(size=(2, 3, 4, 5)), ["`size`", "without N and C", "(2, 3, 4, 5)"]),
]

TYPES = [
    (lambda: sample(IMAGE.astype(np.int64)), ["`image`", "int64", "'nearest'", *BLENDED]),
    (lambda: sample(IMAGE.astype(bool), mode="bicubic"), ["`image`", "bool", "'nearest'", *BLENDED]),
    (lambda: sample(IMAGE.astype(np.longdouble)), ["`image`", np.dtype(np.longdouble).name, *DTYPES]),
    (lambda: sample(IMAGE.astype("M8[s]")), ["`image`", "datetime64", *DTYPES]),
    (lambda: sample(grid=GRID.astype(int)), ["`grid`", "int64", *FLOATS]),
    (lambda: flow(flow=GRID.astype(int)), ["`flow`", "int64", *FLOATS]),
    (lambda: affine(theta=THETA.astype(int)), ["`theta`", "int64", *FLOATS]),
    (lambda: stnkit.affine_grid(THETA.astype(int), (2, 2)), ["`theta`", "int64", *FLOATS]),
    (lambda: stnkit.affine_grid_vjp(GRID.astype(int)), ["`cotangent`", "int64", *FLOATS]),
    (lambda: stnkit.flow_grid(GRID.astype(int)), ["`flow`", "int64", *FLOATS]),
    (lambda: sample(IMAGE.astype(complex)), ["`image`", "complex128", "two channels", "a real view"]),
    (lambda: sample(IMAGE.astype(object)), ["`image`", "object"]),
    (lambda: sample(IMAGE.tolist()), ["`image`", "DLPack", "list"]),
    (lambda: sample(grid=None), ["`grid`", "DLPack", "NoneType"]),
    (lambda: sample(np.ma.array(IMAGE)), ["`image`", "masked", ".filled("]),
    (lambda: vjp(OUT.astype(np.float32)), ["`cotangent`", "derivatives", "float64", "float32"]),
    (lambda: sample(mode=1), ["`mode`", "1"]),
    (lambda: sample(mode=["bilinear"]), ["`mode`", "['bilinear']"]),
    (lambda: sample(coords=None), ["`coords`", "None"]),
    (lambda: flow(units=None), ["`units`", "None"]),
    (lambda: sample(data_format=True), ["`data_format`", "True"]),
    (lambda: sample(padding_mode=1), ["`padding_mode`", "got 1"]),
    (lambda: sample(padding_mode=["zeros", 1]), ["`padding_mode`", "1"]),
    (lambda: sample(padding_mode=[["zeros"], "wrap"]), ["`padding_mode`", "['zeros']"]),
    (lambda: sample(align_corners="no"), ["`align_corners`", "True or False", "'no'"]),
    (lambda: stnkit.affine_grid(THETA, (2, 2), align_corners=None), ["`align_corners`", "None"]),
    (lambda: sample(fill_value="0"), ["`fill_value`", "'0'", "real number"]),
    (lambda: sample(fill_value=1j), ["`fill_value`", "1j"]),
    (lambda: sample(fill_value=None), ["`fill_value`", "None"]),
    (lambda: sample(fill_value=np.ma.array(np.ones(3), mask=[0, 1, 0])), ["`fill_value`", "masked", ".filled("]),
    (lambda: sample(fill_value=torch.ones(3, requires_grad=True)), ["`fill_value`", "gradient", ".detach()"]),
    (lambda: sample(Half()), ["`image`", "DLPack", "test_errors.Half"]),
    (lambda: vjp(wrt=None), ["`wrt`", "None", "'image'", "'grid'"]),
    (lambda: affine(size=4), ["`size`", "sequence of 2 integers", "got 4"]),
    (lambda: affine(size={6, 7}), ["`size`", "sequence of 2 integers", "got {6, 7}"]),
    (lambda: affine(size=(4, 1.5)), ["`size`", "(4, 1.5)"]),
]


@pytest.mark.parametrize(
    ("kind", "call", "parts"),
    [
        (kind, call, parts)
        for kind, table in ((ValueError, SHAPES + VALUES), (TypeError, TYPES))
        for call, parts in table
    ],
)
def test_refused(kind, call, parts):
    with pytest.raises(kind) as caught:
        call()
    for part in parts:
        assert part in str(caught.value)


DETERMINISTIC = {
    "grid_sample_vjp": (OUT, IMAGE, GRID),
    "grid_sample_double_vjp": (None, None, OUT, IMAGE, GRID),
    "affine_grid_vjp": (GRID,),
    "affine_sample_vjp": (OUT, IMAGE, THETA),
    "affine_sample_double_vjp": (None, None, OUT, IMAGE, THETA),
    "flow_grid_vjp": (GRID,),
    "flow_sample_vjp": (OUT, IMAGE, GRID),
    "flow_sample_double_vjp": (None, None, OUT, IMAGE, GRID),
    "projective_grid_vjp": (GRID, SQUARE),
    "projective_sample_vjp": (OUT, IMAGE, SQUARE),
    "thin_plate_spline_grid_vjp": (GRID, CONTROL[None].repeat(2, 0), CONTROL),
    "thin_plate_spline_sample_vjp": (OUT, IMAGE, CONTROL[None].repeat(2, 0), CONTROL),
    "grid_splat": (OUT, GRID, (4, 5)),
    "grid_splat_vjp": (IMAGE, OUT, GRID),
    "grid_count": (GRID, (4, 5)),
}


@pytest.mark.parametrize("name", DETERMINISTIC)
def test_deterministic_is_a_flag(plain, name):
    """It changes nothing on a CPU, and is checked all the same."""
    function = getattr(plain, name)
    for given in ("yes", 1, None):
        with pytest.raises(TypeError, match=r"`deterministic` must be True or False"):
            function(*DETERMINISTIC[name], deterministic=given)
    for given in (True, np.bool_(True)):
        function(*DETERMINISTIC[name], deterministic=given)


def test_which_functions_are_deterministic_on_demand():
    takers = {name for name in FUNCTIONS if "deterministic" in inspect.signature(getattr(stnkit, name)).parameters}
    assert takers == set(DETERMINISTIC)


def test_true_is_not_one():
    """A flag is refused or not whatever was called before."""
    sample(IMAGE[:, :, :, :0], GRID[:, :0], align_corners=True)
    for given in (1, 1.0, 0):
        with pytest.raises(TypeError, match=r"`align_corners` must be True or False"):
            sample(IMAGE[:, :, :, :0], GRID[:, :0], align_corners=given)


TORCH = [
    (lambda: sample(torch.ones(2, 3, 4, 5)), ["`grid`", "`image`", "numpy", "torch", "one framework"]),
    (lambda: sample(grid=torch.zeros(2, 6, 7, 2)), ["`grid`", "`image`", "numpy", "torch"]),
    (
        lambda: torch.func.vmap(sample, in_dims=(None, 0))(IMAGE, torch.zeros(2, 6, 7, 2)),
        ["`image` is a numpy", "torch"],
    ),
    (lambda: torch.func.grad(lambda u: sample(grid=u).sum())(torch.zeros(2, 6, 7, 2)), ["`image` is a numpy", "torch"]),
    (
        lambda: torch.func.vmap(lambda x: stnkit.projective_sample(x, SQUARE))(torch.ones(2, 3, 4, 5)),
        ["`theta` is a numpy array and `image` a torch array"],
    ),
    (
        lambda: torch.func.vmap(lambda u: sample([[0.0]], u))(torch.zeros(2, 6, 7, 2)),
        ["`image`", "torch.as_tensor(image)"],
    ),
    (lambda: sample(torch.ones(2, 3, 4, 5, device="meta"), torch.zeros(2, 6, 7, 2)), ["`image` on meta", "one device"]),
    (lambda: sample(torch.ones(2, 3, 4, 5, device="meta"), torch.zeros(2, 6, 7, 2, device="meta")), ["no numbers"]),
    (lambda: sample(torch.ones(2, 3, 4, 5).cfloat(), torch.zeros(2, 6, 7, 2)), ["`image`", "complex64", "a real view"]),
    (lambda: sample(torch.ones(2, 3, 4, 5).to_sparse(), torch.zeros(2, 6, 7, 2)), ["`image`", ".to_dense()"]),
    (
        lambda: stnkit.projective_sample(torch.ones(2, 3, 4, 5, requires_grad=True), SQUARE),
        ["`theta` is a numpy array and `image` a torch array"],
    ),
    (
        lambda: stnkit.projective_sample(torch.ones(2, 3, 4, 5, requires_grad=True), SQUARE, antialias=2),
        ["`theta` is a numpy array and `image` a torch array"],
    ),
    (lambda: stnkit.projective_grid(None, (2, 2)), ["`theta` must be", "NoneType"]),
    (
        lambda: stnkit.thin_plate_spline_sample(torch.ones(2, 3, 4, 5, requires_grad=True), None, CONTROL),
        ["`theta` must be a torch array", "NoneType"],
    ),
    (
        lambda: stnkit.thin_plate_spline_sample(IMAGE, CONTROL, torch.tensor(CONTROL, requires_grad=True)),
        ["`control_points` are constants", ".detach()"],
    ),
]


@pytest.mark.parametrize(("call", "parts"), TORCH)
def test_torch_refused(call, parts):
    with pytest.raises(TypeError) as caught:
        call()
    for part in parts:
        assert part in str(caught.value)


@pytest.mark.parametrize("name", ["out", "accumulate_into"])
def test_memory_that_is_read_negated_cannot_be_written(plain, name):
    image, grid, memory = torch.ones(1, 1, 2, 2), torch.zeros(1, 2, 2, 2), torch._neg_view(torch.zeros(1, 1, 2, 2))
    call = plain.grid_sample if name == "out" else functools.partial(plain.grid_sample_vjp, image)
    with pytest.raises(TypeError, match=rf"`{name}` has its negative bit set.*resolve_neg"):
        call(image, grid, **{name: memory})


def test_a_fill_value_of_minus_zero_is_zero(plain):
    image, grid = np.ones((1, 1, 2, 2)), np.full((1, 1, 1, 2), 9.0)
    for fill in (-0.0, 0.0, -0.0):
        assert not np.signbit(plain.grid_sample(image, grid, fill_value=fill)).any()
