"""JAX operations on several devices: how results are split, what the devices send each other, and the same numbers."""

import contextlib
import json

import jax
import numpy as np
import pytest
from jax.sharding import AbstractMesh, AxisType, NamedSharding
from jax.sharding import PartitionSpec as P
from processes import run

import stnkit
from stnkit.jax import axes, partition
from stnkit.jax.primitives import Settings
from stnkit.spec import AFFINE, GRID, Options

within = getattr(jax.sharding, "use_abstract_mesh", contextlib.nullcontext)  # which old releases do not ask for
MESH = AbstractMesh((2, 2), ("d", "e"), axis_types=(AxisType.Explicit,) * 2)
POINTS = np.random.default_rng(0).uniform(-1, 1, (5, 2))
IMAGE, GRIDS, THETA, FLOW = (4, 2, 6, 8), (4, 6, 4, 2), (4, 2, 3), (4, 6, 8, 2)
CALLS = {
    "grid_sample": (stnkit.grid_sample, IMAGE, GRIDS),
    "affine_sample": (stnkit.affine_sample, IMAGE, THETA),
    "flow_sample": (stnkit.flow_sample, IMAGE, FLOW),
    "projective_sample": (stnkit.projective_sample, IMAGE, (4, 3, 3)),
    "thin_plate_spline_sample": (
        lambda x, t: stnkit.thin_plate_spline_sample(x, t, POINTS),
        IMAGE, (4, 5, 2),
    ),
    "grid_splat": (lambda v, u: stnkit.grid_splat(v, u, (6, 8)), (4, 2, 6, 4), GRIDS),
    "antialias": (lambda x, t: stnkit.affine_sample(x, t, antialias=2), IMAGE, THETA),
    "nearest": (lambda x, u: stnkit.grid_sample(x, u, mode="nearest"), IMAGE, GRIDS),
}  # fmt: skip


def split(shape, *names, mesh=MESH):
    """Describe an array that is split along its first axes over those of a mesh."""
    return jax.ShapeDtypeStruct(shape, np.float32, sharding=NamedSharding(mesh, P(*names)))


def specs(function, *arrays):
    """Return how results are split over a mesh of explicit axes; none is there, so nothing runs."""
    with within(MESH):
        found = jax.tree.leaves(jax.eval_shape(function, *arrays))
    return [tuple(array.sharding.spec) for array in found]


def whole(shape, *names):
    return (*names, *(None,) * (len(shape) - len(names)))


@pytest.mark.parametrize(
    ("name", "shared"),
    [(name, shared) for name in CALLS for shared in (None, 0, 1) if (name, shared) != ("grid_splat", 0)],
)
def test_results_and_derivatives_of_batches_are_split_as_these_are(name, shared):
    """With an image and a source for each item, and with one image, or one source, for all."""
    function, *shapes = CALLS[name]
    batches = [(1, *shape[1:]) if i == shared else shape for i, shape in enumerate(shapes)]
    names = [(None,) if i == shared else ("d",) for i in range(2)]
    x, u = (split(shape, *each) for shape, each in zip(batches, names, strict=True))
    given = [whole(shape, *each) for shape, each in zip(batches, names, strict=True)]

    def loss(*arrays):
        return (function(*arrays) ** 2).sum()

    gradient = jax.grad(loss, (0, 1))
    assert specs(function, x, u) == [("d", None, None, None)]
    assert specs(gradient, x, u) == given
    assert specs(lambda *a: jax.jvp(function, a, a), x, u) == 2 * [("d", None, None, None)]
    assert specs(lambda *a: jax.jvp(gradient, a, a), x, u) == 2 * given
    assert specs(jax.grad(lambda *a: sum((bar**2).sum() for bar in gradient(*a)), (0, 1)), x, u) == given


def test_channels_and_locations_are_split_too():
    image, grid = split(IMAGE, "d", "e"), split(GRIDS, "d")
    gradient = jax.grad(lambda x, u: (stnkit.grid_sample(x, u) ** 2).sum(), (0, 1))
    assert specs(stnkit.grid_sample, image, grid) == [("d", "e", None, None)]
    assert specs(gradient, image, grid) == [("d", "e", None, None), ("d", None, None, None)]
    image, grid = split(IMAGE, "d"), split(GRIDS, "d", "e")
    assert specs(stnkit.grid_sample, image, grid) == [("d", None, "e", None)]
    assert specs(gradient, image, grid) == [("d", None, None, None), ("d", "e", None, None)]


def test_a_cotangent_is_split_as_its_array_is_where_the_operation_is_not():
    """Rows of an image cannot be split, as a location may read any: they are gathered."""
    image, grid = split(IMAGE, "d", None, "e"), split(GRIDS, "d")
    gradient = jax.grad(lambda x, u: (stnkit.grid_sample(x, u) ** 2).sum(), (0, 1))
    assert specs(stnkit.grid_sample, image, grid) == [("d", None, None, None)]
    assert specs(gradient, image, grid) == [("d", None, "e", None), ("d", None, None, None)]


def test_vmap_over_a_split_axis():
    images, grids = split((4, 2, 3, 6, 8), "d"), split((4, 2, 5, 4, 2), "d")
    gradient = jax.grad(lambda x, u: (stnkit.grid_sample(x, u) ** 2).sum(), (0, 1))
    assert specs(jax.vmap(stnkit.grid_sample), images, grids) == [("d", *(None,) * 4)]
    assert specs(jax.vmap(gradient), images, grids) == 2 * [("d", *(None,) * 4)]


def test_arrays_that_disagree_are_refused():
    with pytest.raises(ValueError, match=r"sharded alike along their batch axes; got \('d',\) and \('e',\)"):
        specs(stnkit.grid_sample, split(IMAGE, "d"), split(GRIDS, "e"))
    with pytest.raises(ValueError, match=r"batch and location0 axes cannot both be sharded over 'd'"):
        specs(stnkit.grid_sample, split(IMAGE, "d"), split(GRIDS, None, "d"))


def named(sampler, *shapes):
    image, source = (jax.ShapeDtypeStruct(shape, np.float32) for shape in shapes)
    return axes.sample(image, source, sampler=sampler)


def sampler(kind, fill=(0.0, 0.0)):
    return Settings(
        kind, (6, 4), Options(1, (0, 0, 0), False, False, False), np.float32(fill).tobytes(), np.dtype("f4")
    )


def test_what_can_be_split():
    grids = ("batch", "location0", "location1", None)
    assert named(sampler(GRID), IMAGE, GRIDS) == axes.Axes(
        (("batch", "channel", None, None), grids), (("batch", "channel", "location0", "location1"),)
    )
    assert named(sampler(AFFINE), IMAGE, (1, 2, 3)) == axes.Axes(
        (("batch", "channel", None, None), (None, None, None)), (("batch", "channel", None, None),)
    )
    # One fill value for each channel: a device does not know which of them it has.
    assert named(sampler(GRID, (0.0, 1.0)), (1, *IMAGE[1:]), GRIDS).operands == ((None,) * 4, grids)


def test_what_xla_proposes_is_taken_where_it_is_even():
    mesh = AbstractMesh((2, 2), ("d", "e"))
    first, second = (("batch", "channel"), ("batch", None))

    def chosen(one, other, shape=(4, 2)):
        arrays = [split(shape, *one, mesh=mesh), split(shape, *other, mesh=mesh)]
        return partition.chosen((first, second), arrays, mesh)

    assert chosen(("d", "e"), ("d",)) == {"batch": ("d",), "channel": ("e",)}
    assert chosen(("d",), ("e", "d")) == {"batch": ("d",)}
    assert chosen((None, "d"), ("d",)) == {"channel": ("d",)}
    assert chosen((None,), (("d", "e"),)) == {"batch": ("d", "e")}
    assert chosen(("d",), ("d",), (3, 2)) == {}


SCRIPT = """
import functools, json, re, sys
import jax, jax.numpy as jnp, numpy as np, stnkit.ndimage
from jax.sharding import AxisType, NamedSharding, PartitionSpec as P
from stnkit.jax import _compat as release

random = np.random.default_rng(0)
image, grids = random.normal(size=(4, 2, 5, 6)).astype("f"), random.uniform(-1, 1, (4, 4, 3, 2)).astype("f")
theta = (0.5 * random.normal(size=(4, 2, 3))).astype("f")
at_indices = functools.partial(stnkit.ndimage.map_coordinates, order=1)
CALLS = {
    "grids": (stnkit.grid_sample, (image, "d"), (grids, "d")),
    "one image": (stnkit.grid_sample, (image[:1],), (grids, "d")),
    "one grid": (stnkit.grid_sample, (image, "d"), (grids[:1],)),
    "channels": (stnkit.grid_sample, (image, None, "d"), (grids,)),
    "locations": (stnkit.grid_sample, (image,), (grids, None, "d")),
    "maps": (stnkit.affine_sample, (image, "d"), (theta, "d")),
    "one map": (stnkit.affine_sample, (image, "d"), (theta[:1],)),
    "mapped over": (jax.vmap(stnkit.affine_sample), (image, "d"), (theta, "d")),
    "indices": (at_indices, (image[0, 0],), (4 * random.random((2, 8), np.float32), None, "d")),
}

def gathers(program):
    return len(re.findall(r"all-gather|all-to-all|collective-permute|dynamic-slice", program.as_text()))

found = {}
for kind in (AxisType.Auto, AxisType.Explicit):
    mesh = jax.make_mesh((2,), ("d",), axis_types=(kind,))
    for name, (function, *arrays) in CALLS.items():
        backward = jax.grad(lambda x, u: (function(x, u) ** 2).sum(), (0, 1))
        alone = [jnp.asarray(array) for array, *_ in arrays]
        expected = function(*alone), *backward(*alone)
        with jax.set_mesh(mesh) if hasattr(jax, "set_mesh") else jax.sharding.use_mesh(mesh):
            given = [jax.device_put(array, NamedSharding(mesh, P(*names))) for array, *names in arrays]
            programs = [jax.jit(f).lower(*given).compile() for f in (function, backward)]
            results = programs[0](*given), *programs[1](*given)
            eager = function(*given)
        found[f"{kind.name} {name}"] = {
            "gathers": [gathers(program) for program in programs],
            "custom calls": sorted({t.partition("_")[0] for program in programs
                             for t in re.findall(r'custom_call_target="(\\w+)"', program.as_text())}),
            "sums": ["all-reduce" in program.as_text() for program in programs],
            "split": [[i for i, n in enumerate(array.sharding.spec) if n] for array in (*results, eager)],
            "off": [float(abs(a - b).max() / abs(b).max()) for a, b in zip(map(np.asarray, results), expected)],
        }

# A JAX that tells no devices while it lowers.
release.requires_devices = None
jax.clear_caches()
mesh = jax.make_mesh((2,), ("d",), axis_types=(AxisType.Auto,))
given = [jax.device_put(array, NamedSharding(mesh, P("d"))) for array in (image, grids)]
program = jax.jit(stnkit.grid_sample).lower(*given).compile()
expected = stnkit.grid_sample(jnp.asarray(image), jnp.asarray(grids))
found["whole"] = {
    "gathers": gathers(program),
    "same": np.array_equal(np.asarray(program(*given)), np.asarray(expected)),
}
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def on_two_devices():
    """Return what each call gives on two devices of a CPU, by the kind of the mesh and the name of the call."""
    flags = "--xla_force_host_platform_device_count=2"
    return json.loads(run(SCRIPT, XLA_FLAGS=flags, JAX_PLATFORMS="cpu"))


# How the output and the cotangents of image and source are split: by which axes.
SPLIT = {
    "grids": ([0], [0], [0]),
    "one image": ([0], [], [0]),
    "one grid": ([0], [0], []),
    "channels": ([1], [1], []),
    "locations": ([2], [], [1]),
    "maps": ([0], [0], [0]),
    "one map": ([0], [0], []),
    "mapped over": ([0], [0], [0]),
    "indices": ([0], [], [1]),
}


@pytest.mark.parametrize("name", SPLIT)
@pytest.mark.parametrize("kind", ["Auto", "Explicit"])
def test_each_device_does_its_part(on_two_devices, kind, name):
    """Nothing is gathered, what is shared is summed, and numbers are those of one device."""
    found = on_two_devices[f"{kind} {name}"]
    assert found["gathers"] == [0, 0]
    assert found["custom calls"] == ["stnkit"]
    assert found["sums"] == [False, not all(SPLIT[name])]
    assert found["split"] == [*SPLIT[name], SPLIT[name][0]]
    assert max(found["off"]) <= 1e-6


def test_operations_are_done_whole_where_jax_tells_no_devices(on_two_devices):
    found = on_two_devices["whole"]
    assert found["same"]
    assert found["gathers"] > 0
