"""The libraries that stnkit is measured against, as data: what each calls for a case, and how near it must come.

A side is prepared before the clock runs: arrays stand in the library's own type and layout, coordinates in its own
units. What is timed is the call that a user of the library writes.
"""

import importlib
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from bench.agreement import ROUNDING, Tolerance
from bench.calls import Side
from bench.cases import Case, Inputs


class Peer(NamedTuple):
    """A library; `prepare` returns None for a case that it does not have."""

    name: str
    module: str
    prepare: Callable[[Case, Inputs], Side | None]
    tolerances: dict[str, Tolerance]  # by the dtype of the image; a case of another dtype is left out
    compiles: bool = False  # for seconds, at the first call of every case
    paddings: tuple[str, ...] = ("zeros",)

    def side(self, case: Case, inputs: Inputs) -> Side | None:
        """Return the peer's way to compute a case, or None."""
        plain = case.padding_mode in self.paddings and not case.align_corners and case.coords == "normalized"
        return self.prepare(case, inputs) if plain and case.dtype in self.tolerances else None


_TORCH = {
    "grid_sample": ("forward", "vjp", "double_vjp", "step"),
    "affine_sample": ("forward", "step"),
    "affine_grid": ("forward", "vjp"),
}


def _torch(case: Case, inputs: Inputs, compiled: bool = False) -> Side | None:
    d = len(case.extent)
    if case.derivative not in _TORCH.get(case.op, ()) or d == 1 or (d == 3 and case.mode == "bicubic"):
        return None
    if compiled and case.derivative not in ("forward", "step"):
        return None
    import torch

    function, names = _torch_function(case)
    if compiled:
        torch.compiler.reset()
        function = torch.compile(function, dynamic=False)

    def tensor(name: str) -> torch.Tensor:
        found = torch.from_numpy(inputs[name])
        return found.movedim(-1, 1) if case.last and name in ("image", "cotangent") else found

    def arrays(answer: Any) -> list[np.ndarray]:
        tensors = [one.detach() for one in (answer if isinstance(answer, tuple) else (answer,))]
        return [(one.movedim(1, -1) if case.last and one.ndim == d + 2 else one).numpy() for one in tensors]

    leaves = [tensor(name) for name in names]
    if case.derivative == "forward":
        return Side(lambda: function(*leaves), arrays)
    cotangent = tensor("grid_bar" if case.op == "affine_grid" else "cotangent")
    for leaf in leaves:
        leaf.requires_grad_()
    if case.derivative == "step":

        def step() -> tuple[torch.Tensor, ...]:
            out = function(*leaves)
            return out, *torch.autograd.grad(out, leaves, cotangent)

        return Side(step, arrays)
    out = function(*leaves)
    if case.derivative == "vjp":
        return Side(lambda: torch.autograd.grad(out, leaves, cotangent, retain_graph=True), arrays)
    cotangent.requires_grad_()
    first = torch.autograd.grad(out, leaves, cotangent, create_graph=True)
    dots = [tensor(f"d_{name}") for name in names]
    return Side(lambda: torch.autograd.grad(first, [cotangent, *leaves], dots, retain_graph=True), arrays)


def _torch_function(case: Case) -> tuple[Callable[..., Any], tuple[str, ...]]:
    """Return what a user of torch writes for an operation, and the names of its arguments."""
    from torch.nn import functional

    finer, align = max(case.antialias, 1), case.align_corners  # a finer output, of which blocks are averaged
    size = [case.batch, case.channels, *(n * finer for n in case.size)]

    def affine_grid(theta: Any) -> Any:
        return functional.affine_grid(theta, size, align_corners=align)

    def grid_sample(image: Any, grid: Any) -> Any:
        return functional.grid_sample(image, grid, case.mode, case.padding_mode, align)

    def affine_sample(image: Any, theta: Any) -> Any:
        out = grid_sample(image, affine_grid(theta))
        return functional.avg_pool2d(out, finer) if case.antialias else out

    return {
        "affine_grid": (affine_grid, ("theta",)),
        "grid_sample": (grid_sample, ("image", "grid")),
        "affine_sample": (affine_sample, ("image", "theta")),
    }[case.op]


def _linear(case: Case, *ops: str) -> bool:
    """Tell whether a case is the forward pass of one of some operations, bilinear."""
    return case.op in ops and case.derivative == "forward" and case.mode == "bilinear" and not case.antialias


def _opencv(case: Case, inputs: Inputs) -> Side | None:
    interleaved = case.last or case.channels == 1
    flat = len(case.extent) == 2 and case.channels <= 4 and interleaved
    if not (_linear(case, "grid_sample", "affine_sample", "projective_sample") and flat):
        return None
    import cv2

    images = list(inputs["image"].reshape(case.batch, *case.extent, case.channels))
    linear, border = cv2.INTER_LINEAR, cv2.BORDER_CONSTANT
    if case.op == "grid_sample":
        maps = list(inputs["pixels"].astype(np.float32))
        pairs = list(zip(images, maps, strict=True))
        calls = Side(lambda: [cv2.remap(image, px, None, linear, borderMode=border) for image, px in pairs], list)
    else:
        flags, canvas = linear | cv2.WARP_INVERSE_MAP, case.size[::-1]
        affine = case.op == "affine_sample"
        warp, matrices = (cv2.warpAffine, "matrices") if affine else (cv2.warpPerspective, "homographies")
        pairs = list(zip(images, inputs[matrices], strict=True))
        calls = Side(lambda: [warp(image, m, canvas, flags=flags, borderMode=border) for image, m in pairs], list)
    return calls._replace(arrays=lambda answer: [np.stack(answer).reshape(case.planes(case.size))])


_ORDERS = {"nearest": 0, "bilinear": 1, **{f"spline{order}": order for order in range(2, 6)}}  # of SciPy
_BOUNDARIES = {"zeros": "grid-constant", "wrap": "grid-wrap"}  # its sums of a reflection are wrong on short lines


def _scipy(case: Case, inputs: Inputs) -> Side | None:
    known = case.op in ("grid_sample", "affine_sample", "spline_filter") and case.mode in _ORDERS
    if not known or case.derivative != "forward" or case.antialias or case.last:
        return None
    from scipy import ndimage

    image, boundary = inputs["image"], _BOUNDARIES[case.padding_mode]
    out = np.empty(case.planes(case.size), case.dtype)
    items = [(n, c) for n in range(case.batch) for c in range(case.channels)]
    options = {"order": _ORDERS[case.mode], "mode": boundary, "prefilter": case.prefilter}
    if case.op == "spline_filter":

        def call() -> np.ndarray:
            for n, c in items:
                ndimage.spline_filter(image[n, c], 3, out[n, c], boundary)
            return out

    elif case.op == "grid_sample":
        points = [np.ascontiguousarray(np.moveaxis(one, -1, 0)[::-1]) for one in inputs["pixels"]]

        def call() -> np.ndarray:
            for n, c in items:
                ndimage.map_coordinates(image[n, c], points[n], output=out[n, c], **options)
            return out
    else:
        maps = [(m[::-1, -2::-1], m[::-1, -1]) for m in inputs["matrices"]]  # z, y, x

        def call() -> np.ndarray:
            for n, c in items:
                ndimage.affine_transform(image[n, c], *maps[n], output=out[n, c], **options)
            return out

    return Side(call, lambda answer: [answer])


def _jax(case: Case, inputs: Inputs) -> Side | None:
    if not _linear(case, "grid_sample") or case.last:
        return None
    import jax
    from jax.scipy.ndimage import map_coordinates

    def plane(image: jax.Array, points: jax.Array) -> jax.Array:
        return map_coordinates(image, list(points), order=1, mode="constant")

    sample = jax.jit(jax.vmap(jax.vmap(plane, (0, None)), (0, 0)))
    image = jax.device_put(inputs["image"])
    points = jax.device_put(np.moveaxis(inputs["pixels"], -1, 1)[:, ::-1].astype(np.float32))
    return Side(lambda: sample(image, points).block_until_ready(), lambda answer: [np.asarray(answer)])


def _kornia(case: Case, inputs: Inputs) -> Side | None:
    if not _linear(case, "affine_sample") or len(case.extent) != 2 or case.last:
        return None
    import torch
    from kornia.geometry.transform import warp_affine

    image = torch.from_numpy(inputs["image"])
    square = np.concatenate([inputs["matrices"], np.tile([[[0.0, 0.0, 1.0]]], (case.batch, 1, 1))], axis=1)
    forth = torch.from_numpy(np.linalg.inv(square)[:, :2].astype(np.float32))  # it takes input to output
    return Side(
        lambda: warp_affine(image, forth, case.size, padding_mode="zeros", align_corners=True),
        lambda answer: [answer.numpy()],
    )


_WIDE = ROUNDING._replace(reason="its coordinates are float64, ours not")
_FIXED = "its coordinates are rounded to 1/32 pixel before version 5"
PEERS = {
    peer.name: peer
    for peer in (
        Peer("torch", "torch", _torch, {"float32": ROUNDING}),
        Peer("torch.compile", "torch", partial(_torch, compiled=True), {"float32": ROUNDING}, compiles=True),
        Peer(
            "opencv",
            "cv2",
            _opencv,
            {
                "float32": Tolerance(2e-2, 16, _FIXED),
                "uint8": Tolerance(3e-2, 16, f"{_FIXED}, and its weights to 1/32; a few levels"),
                "uint16": Tolerance(2e-2, 16, _FIXED),
            },
        ),
        Peer(
            "scipy",
            "scipy",
            _scipy,
            {
                "float32": ROUNDING._replace(reason="its coordinates are float64, ours not"),
                "float64": Tolerance(1e-11, 0, "both round coordinates to float64, in a few steps"),
                "uint16": _WIDE,
            },
            paddings=("zeros", "wrap"),
        ),
        Peer("jax", "jax", _jax, {"float32": ROUNDING}),
        Peer("kornia", "kornia", _kornia, {"float32": Tolerance(1e-6, 256, "it inverts the map, in float32")}),
    )
}


def chosen(names: str | None) -> dict[str, Peer]:
    """Return the peers of a comma-separated list, or all; refuse a name that is not known."""
    if names is None:
        return PEERS
    asked = [name.strip() for name in names.split(",")]
    for name in asked:
        if name not in PEERS:
            message = f"--peers {name} is not known; known are {', '.join(PEERS)}"
            raise ValueError(message)
    return {name: PEERS[name] for name in asked}


def version(peer: Peer) -> str | None:
    """Return the version of a peer's library, or None where it is not installed."""
    try:
        return str(importlib.import_module(peer.module).__version__)
    except ImportError:
        return None
