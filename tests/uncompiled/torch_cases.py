"""Small calls of every torch operation: few pixels, coordinates away from knots, in float64."""

import zlib

import torch

from stnkit.torch.operations import OPERATIONS

EXTENT, SIZE = (3, 4, 3), (1, 1, 2)


def draw(name, d, batch=2, channels=1, mode="bilinear", **options):
    """Return the tensors, the arguments after them, and the options of an operation on d axes."""
    operation = OPERATIONS[name]
    generator = torch.Generator().manual_seed(zlib.crc32(f"{name} {d} {mode}".encode()))
    extent, size = EXTENT[-d:], SIZE[-d:]

    def uniform(shape, low=-1.0, high=1.0):
        return low + (high - low) * torch.rand(shape, generator=generator, dtype=torch.float64)

    # Pixels 0.1 to 0.4 right of a half-integer multiple, from one pixel outside the image to the other side.
    n = torch.tensor(extent[::-1], dtype=torch.float64)
    pixels = torch.floor(uniform((batch, *size, d), 0, 1) * 2 * (n + 1)) / 2 - 1 + uniform((batch, *size, d), 0.1, 0.4)
    theta = torch.eye(d, d + 1, dtype=torch.float64) + uniform((batch, d, d + 1), -0.3, 0.3)
    shapes = {
        "image": lambda: uniform((batch, channels, *extent)),
        "out": lambda: uniform((batch, channels, *size)),
        "grid": lambda: (2 * pixels + 1) / n - 1,
        "flow": lambda: uniform((batch, *size, d), 0.1, 0.4),
        "theta": lambda: theta,
    }
    moved = ("d_", "dd_", "cotangent")
    tensors = [
        uniform(shapes[shape]().shape) if array.startswith(moved) else shapes[shape]()
        for array, shape in zip(operation.arrays, operation.shapes, strict=True)
    ]
    rest = [list(extent if name.startswith("grid_splat") else size)] * operation.sized
    if operation.picture is not None:
        options["mode"] = mode
        options |= {"prefilter": False} if mode.startswith("spline") else {}
    return tensors, rest, options
