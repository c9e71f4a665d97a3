"""Registers two volumes that lie on disk, chunk by chunk: `python docs/examples/volumes.py [--side 512]`.

Both are zarr arrays, of which a task holds no more than a few chunks: memory does not grow with the volumes. Twenty
steps of gradient descent lay the moving volume over the fixed one. Each is one graph: the warped volume, its difference
from the fixed one, and the cotangent of theta, a sum over all chunks. Writes `volumes.png`: a slice before and after,
and the loss.
"""

import argparse
import tempfile
from pathlib import Path

import dask
import dask.array as da
import numpy as np
import zarr

import stnkit.dask

STEPS, RATE = 20, 0.5
CHUNK = 64
TRUE = np.array([[0.98, -0.09, 0.0, 0.05], [0.09, 0.98, 0.0, -0.04], [0.0, 0.0, 1.0, 0.03]])  # fixed to moving


def blobs(block: np.ndarray, side: int, block_info=None) -> np.ndarray:
    """Draw a few soft balls: what a chunk shows of a scan."""
    (_, _), *ends = block_info[None]["array-location"]
    z, y, x = np.meshgrid(*[2 * (np.arange(a, b) + 0.5) / side - 1 for a, b in ends], indexing="ij", sparse=True)
    random, made = np.random.default_rng(0), np.zeros(block.shape, np.float32)
    for _ in range(12):
        (cx, cy, cz), width = random.uniform(-0.6, 0.6, 3), random.uniform(0.15, 0.35)
        made[0] += np.exp(-((x - cx) ** 2 + (y - cy) ** 2 + (z - cz) ** 2) / width**2)
    return made


def written(folder: Path, side: int) -> tuple[zarr.Array, zarr.Array]:
    """Write two volumes: one, and the same seen from elsewhere."""
    shape, chunks = (1, side, side, side), (1, *(CHUNK,) * 3)
    arrays = [
        zarr.create_array(folder / name, shape=shape, chunks=chunks, dtype="float32", overwrite=True)
        for name in ("moving", "fixed")
    ]
    moving = da.zeros(shape, chunks=chunks, dtype=np.float32).map_blocks(blobs, side, dtype=np.float32)
    da.store(moving, arrays[0], lock=False)
    da.store(stnkit.dask.affine_sample(arrays[0], TRUE, chunks=CHUNK), arrays[1], lock=False)
    return arrays[1], arrays[0]


def registered(fixed: zarr.Array, moving: zarr.Array) -> tuple[np.ndarray, list[float]]:
    """Return theta after some steps, and the mean squared difference before each."""
    theta, losses, there = np.eye(3, 4), [], da.from_zarr(fixed)
    momentum, count = np.zeros_like(theta), fixed.size
    for _ in range(STEPS):
        warped = stnkit.dask.affine_sample(moving, theta, chunks=CHUNK)
        difference = warped - there
        _, slope = stnkit.dask.affine_sample_vjp(difference, moving, theta, wrt="theta")
        loss, slope = dask.compute((difference**2).sum(), slope)
        momentum = 0.6 * momentum + slope / count
        theta = theta - RATE * momentum
        losses.append(float(loss) / count)
    return theta, losses


def drawn(path: Path, fixed: zarr.Array, moving: zarr.Array, theta: np.ndarray, losses: list[float]) -> None:
    """Draw the middle slices of both volumes, their differences before and after, and the losses."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    middle = fixed.shape[1] // 2
    after = stnkit.dask.affine_sample(moving, theta, chunks=CHUNK)[0, middle].compute()
    one, other = np.asarray(fixed[0, middle]), np.asarray(moving[0, middle])
    figure, axes = pyplot.subplots(1, 4, figsize=(13, 3), layout="constrained")
    span = abs(one - other).max()
    axes[0].imshow(one, cmap="gray")
    axes[0].set_title("fixed, middle slice")
    for axis, image, title in zip(axes[1:], (other, after), ("before", "after"), strict=False):
        axis.imshow(image - one, cmap="RdBu", vmin=-span, vmax=span)
        axis.set_title(f"difference {title}")
    for axis in axes[:3]:
        axis.set_axis_off()
    axes[3].semilogy(losses)
    axes[3].set(xlabel="step", title="mean squared difference")
    figure.savefig(path, dpi=120)


def main() -> None:
    """Run one command line."""
    parser = argparse.ArgumentParser(description="Register two volumes on disk, chunk by chunk.")
    parser.add_argument("--side", type=int, default=512)
    parser.add_argument("--folder", type=Path, default=None)
    asked = parser.parse_args()
    folder = asked.folder or Path(tempfile.mkdtemp())
    folder.mkdir(parents=True, exist_ok=True)
    fixed, moving = written(folder, asked.side)
    theta, losses = registered(fixed, moving)
    corners = np.array(np.meshgrid(*[[-1, 1]] * 3)).reshape(3, -1)
    corners = np.concatenate([corners, np.ones((1, corners.shape[1]))])
    for name, one in (("at the start", np.eye(3, 4)), ("at the end", theta)):
        miss = np.linalg.norm((one - TRUE) @ corners, axis=0).max() * asked.side / 2
        print(f"corners miss by {miss:.2f} voxels {name}")
    print(f"mean squared difference: {losses[0]:.2e} to {losses[-1]:.2e} in {STEPS} steps")
    drawn(folder / "volumes.png", fixed, moving, theta, losses)
    print(folder / "volumes.png")


if __name__ == "__main__":
    main()
