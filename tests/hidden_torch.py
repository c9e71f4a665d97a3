"""A torch that has lost a name: run as a program, which says what a call and its derivatives still are.

`python hidden_torch.py _C._dispatch_keys ...` hides one name after another from stnkit, each in a forked child.
"""

import importlib.util
import os
import sys
import traceback

import numba  # noqa: F401  (once, before there are children)
import numpy as np
import torch


class Hiding:
    """A module that lacks a name, or whose part does."""

    def __init__(self, module, name):
        self._module, self._name = module, name

    def __getattr__(self, name):
        first, _, rest = self._name.partition(".")
        if name == first and not rest:
            raise AttributeError(name)
        found = getattr(self._module, name)
        return Hiding(found, rest) if name == first else found


def hide(name):
    """Import stnkit's door for tensors under a torch that lacks a name."""
    room = "stnkit.torch._compat"
    spec = importlib.util.find_spec("stnkit")
    path = os.path.join(spec.submodule_search_locations[0], "torch", "_compat.py")
    spec = importlib.util.spec_from_file_location(room, path)
    sys.modules[room] = compat = importlib.util.module_from_spec(spec)
    sys.modules["torch"] = Hiding(torch, name)
    try:
        spec.loader.exec_module(compat)
    finally:
        sys.modules["torch"] = torch
    assert name in compat.MISSING


def check():
    """Compare results and both orders of derivatives with those of NumPy arrays, and by finite differences."""
    import stnkit

    image = torch.linspace(-1, 1, 24, dtype=torch.float64).sin().reshape(1, 2, 3, 4).requires_grad_()
    theta = torch.tensor([[[0.7, 0.1, 0.05], [-0.2, 0.6, 0.1]]], dtype=torch.float64, requires_grad=True)
    grid = stnkit.affine_grid(theta, (2, 3)).detach().requires_grad_()
    for name, source in (("affine_sample", theta), ("grid_sample", grid)):
        arrays = [tensor.detach().numpy() for tensor in (image, source)]
        size = ((2, 3),) if name == "affine_sample" else ()
        function = getattr(stnkit, name)
        expected = function(*arrays, *size)
        with torch.no_grad():
            np.testing.assert_array_equal(function(image, source, *size).numpy(), expected)
        out = function(image, source, *size)
        np.testing.assert_array_equal(out.detach().numpy(), expected)
        bars = torch.autograd.grad(out, (image, source), torch.ones_like(out))
        for bar, exact in zip(bars, getattr(stnkit, f"{name}_vjp")(np.ones(out.shape), *arrays), strict=True):
            np.testing.assert_allclose(bar.numpy(), exact, rtol=1e-13, atol=1e-13)
        dots = torch.ones_like(image), torch.ones_like(source)
        with torch.autograd.forward_ad.dual_level():
            duals = [torch.autograd.forward_ad.make_dual(*pair) for pair in zip((image, source), dots, strict=True)]
            found = torch.autograd.forward_ad.unpack_dual(function(*duals, *size)).tangent.detach()
        exact = getattr(stnkit, f"{name}_jvp")(*arrays, *(dot.numpy() for dot in dots), *size)[1]
        np.testing.assert_allclose(found.numpy(), exact, rtol=1e-13, atol=1e-13)
        torch.autograd.gradgradcheck(lambda *given: function(*given, *size), (image, source), fast_mode=True)  # noqa: B023
    one = torch.vmap(stnkit.grid_sample, in_dims=(None, 0))(image[0], grid.expand(3, -1, -1, -1))
    torch.testing.assert_close(one[2], stnkit.grid_sample(image, grid)[0])
    compiled = torch.compile(stnkit.grid_sample, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(image, grid), stnkit.grid_sample(image, grid))
    torch.testing.assert_close(
        *(torch.autograd.grad(f(image, grid).sum(), (image, grid)) for f in (compiled, stnkit.grid_sample))
    )
    try:
        slope = torch.func.grad(lambda grid: stnkit.grid_sample(image.detach(), grid).sum())(grid.detach())
    except RuntimeError as error:
        if "setup_context" not in str(error):  # torch's own, and loud
            raise
    else:
        torch.testing.assert_close(slope, torch.autograd.grad(stnkit.grid_sample(image, grid).sum(), grid)[0])


def _import_what_children_share():
    """Import most of torch, and what stnkit computes arrays of NumPy with, which does not know of torch."""
    import stnkit

    torch.compile(torch.sin, backend="aot_eager")(torch.ones(1, requires_grad=True)).backward()
    torch.func.jvp(torch.vmap(torch.sin), (torch.ones(1),), (torch.ones(1),))
    image, theta = np.ones((1, 1, 2, 2)), np.eye(2, 3)[None]
    stnkit.affine_sample_jvp(image, theta, image, theta, (2, 2))
    stnkit.grid_sample_vjp(image, image, stnkit.affine_grid(theta, (2, 2)))
    assert not any(name.startswith("stnkit.torch") for name in sys.modules)


def main(names):
    """Report each name with which something is wrong."""
    _import_what_children_share()
    for name in names:
        child = os.fork()
        if child == 0:
            try:
                hide(name)
                check()
            except BaseException:
                print(f"without {name}:\n{traceback.format_exc()}")
                sys.stdout.flush()
                os._exit(1)
            os._exit(0)
        os.waitpid(child, 0)


if __name__ == "__main__":
    main(sys.argv[1:])
