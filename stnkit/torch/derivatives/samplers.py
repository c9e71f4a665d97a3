"""How samplers are differentiated: in terms of one another, so that derivatives have derivatives.

With < c, sample(x, u) > = L(c, x, u), the vjp of a sampler gives the derivatives (L_x, L_u). Its double vjp gives
the derivatives of < v, L_x > + < w, L_u > in c, x and u: the first is the output's tangent along (v, w), and the
others are the Hessian of L in (x, u), which is symmetric, applied to (v, w). Every rule follows from that.
"""

from collections.abc import Callable, Sequence
from typing import Any, NoReturn, TypeAlias

import torch

from stnkit.torch.autograd import Bars, Rule, call

Maybe: TypeAlias = "torch.Tensor | None"
Options = dict[str, Any]
Turn = Callable[[Any, Sequence[Any], Any, Options], tuple[Any, list[Any], Options]]


def sampler(name: str, turn: Turn) -> dict[str, Rule]:
    """Return the rules of a sampler and of its derivatives.

    `turn` brings a source, its tangents and the options to those of `grid_sample`.
    """

    def pull(needed: Any, cotangents: Any, saved: Any, rest: Any, options: Options) -> Bars:
        return asked(needed, call(f"{name}_vjp", cotangents[0], *saved, needed, **options))

    def push(tangents: Any, saved: Any, rest: Any, options: Options) -> Any:
        return call(f"{name}_jvp", *saved, *tangents, *rest, **options)[1]

    def pull_vjp(needed: Any, cotangents: Any, saved: Any, rest: Any, options: Options) -> Bars:
        return asked(needed, call(f"{name}_double_vjp", *cotangents, *saved, **options))

    def push_vjp(tangents: Any, saved: Any, rest: Any, options: Options) -> Bars:
        (cotangent_dot, *dots), (wrt,) = tangents, rest
        first: Bars = (None, None)
        second: Bars = (None, None)
        if cotangent_dot is not None:
            first = asked(wrt, call(f"{name}_vjp", cotangent_dot, *saved[1:], wrt, **options))
        if some(dots):
            second = asked(wrt, call(f"{name}_double_vjp", *dots, *saved, **options)[1:])
        return sums(first, second)

    def pull_jvp(needed: Any, cotangents: Any, saved: Any, rest: Any, options: Options) -> Bars:
        (out_bar, out_dot_bar), (image, source, *dots) = cotangents, saved
        first: Bars = (None, None)
        second: Bars = (None, None)
        dot_bars: Bars = (None, None)
        if out_bar is not None and any(needed[:2]):
            first = asked(needed[:2], call(f"{name}_vjp", out_bar, image, source, needed[:2], **options))
        if out_dot_bar is not None and any(needed[:2]) and some(dots):
            second = asked(needed[:2], call(f"{name}_double_vjp", *dots, out_dot_bar, image, source, **options)[1:])
        if out_dot_bar is not None and any(needed[2:]):
            dot_bars = asked(needed[2:], call(f"{name}_vjp", out_dot_bar, image, source, needed[2:], **options))
        return *sums(first, second), *dot_bars

    def push_jvp(tangents: Any, saved: Any, rest: Any, options: Options) -> Bars:
        image, source, *dots = saved
        out_dot = second = None
        if some(tangents[:2]):
            out_dot = push(tangents[:2], (image, source), rest, options)
            grid, grid_dots, options_ = turn(source, (tangents[1], dots[1]), rest, options)
            second = curvature(image, grid, (tangents[0], dots[0]), grid_dots, options_)
        if some(tangents[2:]):
            (second,) = sums((second,), (push(tangents[2:], (image, source), rest, options),))
        return out_dot, second

    return {
        name: Rule(pull, push),
        f"{name}_vjp": Rule(pull_vjp, push_vjp),
        f"{name}_jvp": Rule(pull_jvp, push_jvp),
        f"{name}_double_vjp": Rule(no_third, no_third),
    }


def no_third(*_: Any) -> NoReturn:
    """Refuse what would be a third derivative."""
    msg = "third derivatives of sampling are not implemented; differentiate at most twice, or detach what comes before"
    raise NotImplementedError(msg)


def asked(wrt: Sequence[bool], results: Sequence[torch.Tensor]) -> Bars:
    """Return results, with None for those that are not asked for."""
    return tuple(result if wanted else None for result, wanted in zip(results, wrt, strict=True))


def some(tangents: Sequence[Maybe]) -> bool:
    """Tell whether any tangent is not zero."""
    return any(tangent is not None for tangent in tangents)


def sums(first: Sequence[Maybe], second: Sequence[Maybe]) -> Bars:
    """Add results one by one, where None is zero."""
    return tuple(b if a is None else a if b is None else a + b for a, b in zip(first, second, strict=True))


def curvature(
    image: torch.Tensor,
    grid: torch.Tensor,
    image_dots: Sequence[Maybe],
    grid_dots: Sequence[Maybe],
    options: Options,
) -> Maybe:
    """Return how the tangent of `grid_sample` along the second pair changes along the first; None for zero.

    Sampling is linear in the image, so one part is the tangent of the first image's sampling along the second grid.
    What is left is the change along the first grid. A location has coordinates of its own, so that is a scalar
    product, at every location, with the gradient that the double vjp gives for one channel and a cotangent of ones.
    """
    total = None
    if image_dots[0] is not None and grid_dots[1] is not None:
        without_fill = {**options, "fill_value": 0.0}
        total = call("grid_sample_jvp", image_dots[0], grid, None, grid_dots[1], **without_fill)[1]
    if grid_dots[0] is not None and (image_dots[1] is not None or grid_dots[1] is not None):
        along = _along(image, grid, image_dots[1], grid_dots[1], grid_dots[0], options)
        total = along if total is None else total + along
    return total


def _along(
    image: torch.Tensor,
    grid: torch.Tensor,
    image_dot: Maybe,
    grid_dot: Maybe,
    direction: torch.Tensor,
    options: Options,
) -> torch.Tensor:
    """Return the change of a tangent along a direction of the grid, channel by channel."""
    ndim = grid.shape[-1]
    axis = -1 if options.get("data_format") == "channels_last" else -1 - ndim
    if image.dim() == ndim + 2:  # a grid that is shared would sum over the items
        grid, grid_dot, direction = (_unshared(array, len(image), ndim) for array in (grid, grid_dot, direction))
    ones = (*grid.shape[:-1], 1) if axis == -1 else (*grid.shape[: -1 - ndim], 1, *grid.shape[-1 - ndim : -1])
    dtype = image.dtype if image.is_floating_point() else grid.dtype
    cotangent = torch.ones(ones, dtype=dtype, device=image.device)
    fills = options.get("fill_value", 0.0)
    changes = []
    for c in range(image.shape[axis]):
        here, dot = (None if array is None else array.narrow(axis, c, 1) for array in (image, image_dot))
        fill = fills[c] if isinstance(fills, Sequence) else fills
        _, _, slope = call(
            "grid_sample_double_vjp", dot, grid_dot, cotangent, here, grid, **{**options, "fill_value": fill}
        )
        changes.append((slope * direction).sum(-1).to(dtype))
    return torch.stack(changes, dim=axis)


def _unshared(coordinates: Maybe, batch: int, ndim: int) -> Maybe:
    if coordinates is None or (coordinates.dim() == ndim + 2 and len(coordinates) > 1):
        return coordinates
    return coordinates.expand(batch, *coordinates.shape[-1 - ndim :])
