"""How samplers are differentiated: in terms of one another, so that derivatives have derivatives.

With < c, sample(x, u) > = L(c, x, u), the vjp of a sampler gives the derivatives (L_x, L_u). Its double vjp gives
the derivatives of < v, L_x > + < w, L_u > in c, x and u: the first is the output's tangent along (v, w), and the
others are the Hessian of L in (x, u), which is symmetric, applied to (v, w). Every rule follows from that.
"""

from collections.abc import Callable, Sequence
from typing import Any, NoReturn, TypeAlias

import torch

from stnkit.torch.autograd import Bars, Rule, call
from stnkit.torch.derivatives.second_order import curvature

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
