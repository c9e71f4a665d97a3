"""What an installation must do, wherever it is: run as `python -P tests/smoke.py` by the Python it is in.

It needs nothing but the installation: neither pytest nor the sources, from which it makes sure not to import. Each
family of functions is called compiled, on numbers whose results can be worked out by hand.
"""

import os
import subprocess
import sys
from importlib import metadata, util
from pathlib import Path

import numpy as np

import stnkit
import stnkit.transforms
from stnkit.demo.data import load_digits

IMAGE = np.array([[[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]]])  # x + 3 y
GRID = np.array([[[0.5, 0.0], [1.0, 0.5]]])
READ = np.array([[[0.5, 2.5]]])  # by GRID, in pixels
WEIGHTS = np.array([[[0.5, 1.0, 0.0], [0.0, 0.5, 0.0]]])  # of the pixels that GRID reads
SLOPES = np.array([[[1.0, 3.0], [1.0, 3.0]]])  # along x and y
HALF = np.array([[0.5, 0.0, 0.0], [0.0, 0.5, 0.0]])
HALVED = np.array([[[1.25, 1.75, 2.25], [2.75, 3.25, 3.75]]])  # by HALF, whose locations lie between corners: x, y / 2


def equal(got, expected, atol=1e-12):
    np.testing.assert_allclose(got, expected, rtol=0, atol=atol)


def what_is_installed():
    package = Path(stnkit.__file__).parent
    assert package != Path(__file__).parents[1] / "stnkit", "these are the sources"
    assert (package / "py.typed").is_file()
    about = metadata.metadata("stnkit")
    assert about["Version"] == stnkit.__version__
    assert about["License-Expression"] == "Apache-2.0 AND CC-BY-SA-3.0"
    files = [file.as_posix() for file in metadata.files("stnkit") or []]
    for name in ("LICENSE", "stnkit/demo/data/README.md"):
        assert any(file.endswith(f"dist-info/licenses/{name}") for file in files), name
    images, labels = load_digits()
    assert images.shape == (1000, 28, 28)
    assert set(labels.tolist()) == set(range(10))


def grids():
    equal(stnkit.grid_sample(IMAGE, GRID, coords="pixel"), READ)
    d_image, d_grid = stnkit.grid_sample_vjp(np.ones((1, 1, 2)), IMAGE, GRID, coords="pixel")
    equal(d_image, WEIGHTS)
    equal(d_grid, SLOPES)
    out, d_out = stnkit.grid_sample_jvp(IMAGE, GRID, None, np.ones((1, 2, 2)), coords="pixel")
    equal(out, READ)
    equal(d_out, [[[4.0, 4.0]]])
    d_cotangent, _, _ = stnkit.grid_sample_double_vjp(
        None, np.ones((1, 2, 2)), np.ones((1, 1, 2)), IMAGE, GRID, coords="pixel"
    )
    equal(d_cotangent, [[[4.0, 4.0]]])
    equal(stnkit.grid_splat(np.ones((1, 1, 2)), GRID, (2, 3), coords="pixel"), WEIGHTS)
    equal(stnkit.grid_count(GRID, (2, 3), coords="pixel"), WEIGHTS[0])
    equal(stnkit.grid_gradient(IMAGE, GRID, coords="pixel"), SLOPES[None])


def maps():
    same = {"align_corners": True}
    equal(stnkit.affine_sample(IMAGE, HALF, **same), HALVED)
    places = stnkit.affine_grid(HALF, (2, 3), **same)
    equal(places[..., 0], [[-0.5, 0.0, 0.5]] * 2)
    equal(places[..., 1], [[-0.5] * 3, [0.5] * 3])
    _, d_theta = stnkit.affine_sample_vjp(np.ones((1, 2, 3)), IMAGE, HALF, wrt="theta", **same)
    equal(d_theta, [[0.0, 0.0, 6.0], [0.0, 0.0, 9.0]])
    equal(stnkit.projective_sample(IMAGE, np.diag([1.0, 1.0, 2.0]), **same), HALVED)
    corners = stnkit.transforms.control_lattice((2, 2))
    equal(stnkit.thin_plate_spline_sample(IMAGE, corners / 2, corners, **same), HALVED)
    equal(stnkit.flow_sample(IMAGE, np.broadcast_to([1.0, 0.0], (2, 3, 2))), [[[1.0, 2.0, 0.0], [4.0, 5.0, 0.0]]])


def formats():
    mirror = stnkit.transforms.affine_from_parameters(np.array([-1.0, 0.0, 0.0, 0.0, 1.0, 0.0]), xp=np)
    for dtype in (np.uint8, np.float16):
        out = stnkit.affine_sample(IMAGE.astype(dtype), mirror.astype(np.float32))
        assert out.dtype == dtype
        equal(out, IMAGE[..., ::-1], atol=0)


def threads():
    """Many items at once, on all threads, and one by one, on one thread: the same bits."""
    images = np.random.default_rng(0).standard_normal((16, 3, 64, 64))
    together = stnkit.affine_sample(images, HALF, align_corners=True)
    alone = [stnkit.affine_sample(image, HALF, align_corners=True)[:, :8] for image in images[:, :1]]
    np.testing.assert_array_equal(together[:, :1, :8], alone)


def jax():
    if util.find_spec("jax") is None:
        return
    import jax
    import jax.numpy as jnp

    def total(theta):
        return stnkit.affine_sample(jnp.asarray(IMAGE), theta, align_corners=True).sum()

    equal(stnkit.transforms.invert(HALF), np.eye(2, 3) * 2)  # as array-api-compat is there too
    equal(jax.jit(jax.grad(total))(jnp.asarray(HALF)), [[0.0, 0.0, 6.0], [0.0, 0.0, 9.0]], atol=1e-5)


def archive(needed=False):
    """Kernels of the installation's archive start without Numba, and are what would be compiled."""
    from stnkit.kernels.objects import levels, shipped

    if shipped.place() is None:
        assert not (needed and levels.levels()), "the installation has no archive"
        return
    script = f"""
import sys
import numpy as np
import stnkit
image, half = np.{IMAGE[None].astype(np.float32)!r}, np.{HALF[None].astype(np.float32)!r}
out = stnkit.affine_sample(np.repeat(image, 3, 1), half)
stnkit.affine_sample_vjp(out, np.repeat(image, 3, 1), half)
print(out.tolist())
assert "numba" not in sys.modules
"""
    script = script.replace("dtype=", "dtype=np.")
    shown = [
        subprocess.run(
            [sys.executable, "-P", "-W", "error", "-c", text], env=os.environ | words, check=True, capture_output=True
        ).stdout
        for text, words in [(script, {}), (script.rpartition("assert")[0], {"STNKIT_ARCHIVE": "0"})]
    ]
    assert shown[0] == shown[1] != b""


def command_line():
    def run(*arguments):
        command = [Path(sys.executable).parent / "stnkit", *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    assert stnkit.__version__ in run("info")
    assert "learn" in run("demo", "--help")
    assert "--rotate" in run("warp", "--help")


if __name__ == "__main__":
    if sys.argv[1:] == ["archive"]:
        archive(needed=True)
    else:
        for check in (what_is_installed, grids, maps, formats, threads, archive, jax, command_line):
            print(f"smoke: {check.__name__}", flush=True)
            check()
