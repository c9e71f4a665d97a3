"""How splatting is differentiated: it is the adjoint of sampling, so its derivatives are those of sampling.

With L of `samplers` and no fill value, < y, splat(v, u) > = L(v, y, u): values stand where the output's cotangent is,
and the splat's cotangent y where the image is.
"""

from typing import Any

import torch

from stnkit.torch.autograd import Bars, Rule, call
from stnkit.torch.derivatives.samplers import asked, no_third, some, sums

Options = dict[str, Any]


def pull(needed: Any, cotangents: Any, saved: Any, rest: Any, options: Options) -> Bars:
    """Return the cotangents of values and grid."""
    return asked(needed, call("grid_splat_vjp", cotangents[0], *saved, needed, **options))


def push(tangents: Any, saved: Any, rest: Any, options: Options) -> Any:
    """Return the tangent of a splat."""
    return call("grid_splat_jvp", *saved, *tangents, *rest, **options)[1]


def pull_jvp(needed: Any, cotangents: Any, saved: Any, rest: Any, options: Options) -> Bars:
    """Return the cotangents of values, grid, and of their tangents."""
    (out_bar, out_dot_bar), (values, grid, values_dot, grid_dot) = cotangents, saved
    bars: Bars = (None, None)
    dot_bars: Bars = (None, None)
    if out_bar is not None:
        bars = pull(needed[:2], (out_bar,), (values, grid), rest, options)
    if out_dot_bar is not None:
        dot_bars = pull(needed[2:], (out_dot_bar,), (values, grid), rest, options)
        wrt = (needed[0] and grid_dot is not None, needed[1])
        moved = push_vjp((None, values_dot, grid_dot), (out_dot_bar, values, grid), (wrt,), options)
        bars = sums(bars, moved)
    return *bars, *dot_bars


def push_jvp(tangents: Any, saved: Any, rest: Any, options: Options) -> Bars:
    """Return the tangents of a splat and of its tangent."""
    (values_dot, grid_dot, *moved), (values, grid, values_dot_2, grid_dot_2) = tangents, saved
    first = second = third = fourth = fifth = None
    if some((values_dot, grid_dot)):
        first = push((values_dot, grid_dot), (values, grid), rest, options)
    if some(moved):
        second = push(moved, (values, grid), rest, options)
    if values_dot is not None and grid_dot_2 is not None:
        third = push((None, grid_dot_2), (values_dot, grid), rest, options)
    if values_dot_2 is not None and grid_dot is not None:
        fourth = push((None, grid_dot), (values_dot_2, grid), rest, options)
    if grid_dot is not None and grid_dot_2 is not None:
        fifth = call("grid_splat_double_jvp", values, grid, grid_dot, grid_dot_2, *rest, **options)
    return first, sums(sums((second,), (third,)), sums((fourth,), (fifth,)))[0]


def pull_vjp(needed: Any, cotangents: Any, saved: Any, rest: Any, options: Options) -> Bars:
    """Return the cotangents of cotangent, values and grid from those of the vjp's results."""
    (values_bar_bar, grid_bar_bar), (cotangent, values, grid) = cotangents, saved
    first: Bars = (None, None, None)
    second: Bars = (None, None, None)
    if values_bar_bar is not None:
        there = spread(values_bar_bar, grid)
        wrt = (needed[0], needed[2])
        bars = asked(wrt, call("grid_sample_vjp", there, cotangent, grid, wrt, **options))
        first = bars[0], None, bars[1]
    if grid_bar_bar is not None:
        there = spread(values, grid)
        bars = call("grid_sample_double_vjp", None, grid_bar_bar, there, cotangent, grid, **options)
        second = bars[1], bars[0].sum_to_size(values.shape), bars[2]
    return sums(first, second)


def push_vjp(tangents: Any, saved: Any, rest: Any, options: Options) -> Bars:
    """Return the tangents of the vjp's results."""
    (cotangent_dot, values_dot, grid_dot), (cotangent, values, grid), (wrt,) = tangents, saved, rest
    values_bar_dot = first = second = None
    moved = cotangent_dot, grid_dot
    if wrt[0] and some(moved):
        values_bar_dot = call("grid_sample_jvp", cotangent, grid, *moved, **options)[1].sum_to_size(values.shape)
    if wrt[1] and values_dot is not None:
        first = call("grid_sample_vjp", spread(values_dot, grid), cotangent, grid, (False, True), **options)[1]
    if wrt[1] and some(moved):
        second = call("grid_sample_double_vjp", *moved, spread(values, grid), cotangent, grid, **options)[2]
    return values_bar_dot, *sums((first,), (second,))


def spread(values: torch.Tensor, grid: torch.Tensor) -> torch.Tensor:
    """Give every item of a grid's batch its values, where these are shared."""
    if grid.dim() != grid.shape[-1] + 2 or (values.dim() == grid.dim() and len(values) != 1):
        return values
    return values.expand(len(grid), *values.shape[-grid.dim() + 1 :])


SPLAT = {
    "grid_splat": Rule(pull, push),
    "grid_splat_vjp": Rule(pull_vjp, push_vjp),
    "grid_splat_jvp": Rule(pull_jvp, push_jvp),
    "grid_splat_double_jvp": Rule(no_third, no_third),
}
