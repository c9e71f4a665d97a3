"""Tensors that are split over two processes: run as a program, uncompiled, which says what differs from whole ones.

All numbers are small multiples of powers of two, so that sums are exact in any order, and results must be equal.
"""

import os
import socket
import sys

import torch
import torch.distributed as dist
import torch.multiprocessing as processes
from torch.distributed.tensor import Partial, Replicate, Shard, distribute_tensor, init_device_mesh
from torch.distributed.tensor.experimental import implicit_replication

import stnkit
from stnkit.torch.operations import OPERATIONS, registered
from stnkit.torch.sharding import shardings

BATCH, CHANNELS, SPATIAL, POINTS = 3, 2, (6, 4), (3, 2)  # three items on two devices: parts are uneven


def numbers(shape, lowest, highest, steps=1):
    return torch.randint(lowest * steps, highest * steps, shape).double() / steps


def array(shape, items=BATCH):
    """Draw an array of an operation, by the name of its shape; coordinates are in pixels."""
    if shape == "theta":
        return numbers((items, 2, 3), -2, 3, 4)
    if shape in ("grid", "flow"):
        return numbers((items, *POINTS, 2), -2, 6, 4)
    return numbers((items, CHANNELS, *(SPATIAL if shape == "image" else POINTS)), -8, 8)


def options_of(operation, layout):
    options = {"padding_mode": ["zeros"], "fill_value": [0.5], "data_format": layout, "coords": "pixel"}
    return {name: value for name, value in options.items() if name in operation.options}


def call_of(operation, items, layout):
    """Return the tensors, the other arguments and the options of a call."""
    tensors = [array(shape, items.get(shape, BATCH)) for shape in operation.shapes]
    if layout == "channels_last":
        tensors = [
            tensor.movedim(1, -1) if shape in ("image", "out") else tensor
            for tensor, shape in zip(tensors, operation.shapes, strict=True)
        ]
    size = SPATIAL if "image" in operation.results and operation.picture is not None else POINTS
    rest = [list(size)] * operation.sized + [[True, True]] * operation.chosen
    return tensors, rest, options_of(operation, layout)


def every(results):
    return results if isinstance(results, (tuple, list)) else (results,)


def check_operations(mesh):
    """Each operation, in each way that its rule knows, with and without arrays that a batch shares."""
    seen = 0
    for operation in OPERATIONS.values():
        picture = "out" if operation.arrays[0] == "values" or operation.name == "grid_splat_vjp" else "image"
        ways = [({}, "channels_first"), ({picture: 1}, "channels_last"), ({operation.source: 1}, "channels_first")]
        for items, layout in ways[: 1 if operation.picture is None else 3]:
            tensors, rest, options = call_of(operation, items, layout)
            run = registered(operation)
            expected = every(run(*tensors, *rest, **options))
            for results, operands in shardings(operation, *tensors, *rest, **options):
                split = [distribute_tensor(t, mesh, [p]) for t, p in zip(tensors, operands, strict=False)]
                for got, want, placement in zip(every(run(*split, *rest, **options)), expected, results, strict=True):
                    assert got.placements == (placement,), (operation.name, operands, got.placements, placement)
                    assert torch.equal(got.full_tensor(), want), (operation.name, items, layout, operands)
                    seen += 1
    assert seen > 200, seen


def check_gradients(mesh):
    """Forward and backward of public functions, which stay split."""
    image, grid = array("image"), array("grid")
    cotangent = numbers((BATCH, CHANNELS, *POINTS), -4, 4)
    for own, place, out, image_bar, grid_bar in (
        (Shard(0), Shard(0), Shard(0), Shard(0), Shard(0)),
        (Shard(1), Replicate(), Shard(1), Shard(1), Partial()),
        (Replicate(), Shard(1), Shard(2), Partial(), Shard(1)),
        (Replicate(), Replicate(), Replicate(), Replicate(), Replicate()),
    ):
        whole = [image.clone().requires_grad_(), grid.clone().requires_grad_()]
        expected = stnkit.grid_sample(*whole, coords="pixel")
        expected.backward(cotangent)
        parts = [distribute_tensor(t, mesh, [p]).requires_grad_() for t, p in ((image, own), (grid, place))]
        got = stnkit.grid_sample(*parts, coords="pixel")
        assert got.placements == (out,)
        got.backward(distribute_tensor(cotangent, mesh, [out]))
        assert [t.grad.placements[0] for t in parts] == [image_bar, grid_bar]
        assert torch.equal(got.full_tensor(), expected)
        for part, tensor in zip(parts, whole, strict=True):
            assert torch.equal(part.grad.full_tensor(), tensor.grad)


def check_that_arguments_count(mesh):
    """A rule that was found is not taken for another size, layout or number of fill values."""
    theta = array("theta")
    for size in ((3, 2), (2, 5)):
        for layout in ("channels_first", "channels_last"):
            for fill, split in ((0.5, True), ([0.5, 1.0], False)):
                image = array("image") if layout == "channels_first" else array("image").movedim(1, -1)
                channel = 1 if layout == "channels_first" else 3
                options = {"coords": "pixel", "data_format": layout, "fill_value": fill}
                got = stnkit.affine_sample(
                    distribute_tensor(image, mesh, [Shard(channel)]), distribute_tensor(theta, mesh, [Replicate()]),
                    size, **options,
                )  # fmt: skip
                assert got.placements == ((Shard(channel) if split else Replicate()),)
                assert torch.equal(got.full_tensor(), stnkit.affine_sample(image, theta, size, **options))


def check_composed_functions(mesh):
    """A spline with its filter, a projective map, and calls that record nothing at all."""
    image, theta = array("image"), torch.eye(3).double().expand(BATCH, 3, 3).contiguous()
    split = [distribute_tensor(tensor, mesh, [Shard(0)]) for tensor in (image, theta)]
    for function, sources in (
        (lambda x, u: stnkit.affine_sample(x, u[:, :2], POINTS, mode="spline3", padding_mode="reflection"), split),
        (lambda x, u: stnkit.projective_sample(x, u, POINTS), split),
    ):
        expected = function(image, theta)
        with implicit_replication():  # of what a function makes itself: a lattice
            got = function(*sources)
        assert got.placements == (Shard(0),)
        torch.testing.assert_close(got.full_tensor(), expected, rtol=1e-14, atol=1e-14)
    with torch.inference_mode():
        whole = stnkit.flow_sample(split[0], distribute_tensor(array("flow"), mesh, [Shard(0)]))
        assert whole.placements == (Shard(0),)


def main(rank, port):
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    dist.init_process_group("gloo", rank=rank, world_size=2)
    torch.manual_seed(0)  # the same numbers in both
    mesh = init_device_mesh("cpu", (2,))
    for check in (check_operations, check_gradients, check_that_arguments_count, check_composed_functions):
        check(mesh)
    dist.destroy_process_group()


if __name__ == "__main__":
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    processes.spawn(main, (port,), 2)
    sys.stdout.write("equal\n")
