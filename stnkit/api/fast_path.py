"""The fast path: a repeated call of a sampler, or of its vjp, goes from one look-up to the kernels.

What a call allocates and runs follows from the shapes, strides and dtypes of its arrays, and from its options. So it is
worked out once, and remembered by these. Every other call is checked and planned in full, which also says what is
wrong.
"""

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from stnkit import validation
from stnkit.api import affine, flow, grid, projective
from stnkit.backends.cpu.execute import address, allocated, readable, source_sums, walkable
from stnkit.backends.cpu.memory import allocator
from stnkit.calls.arguments import Choices, Maybe
from stnkit.calls.derivatives import NAMES
from stnkit.calls.sampling import Call, fits_output, prepare
from stnkit.dtypes import FLOAT32, FLOAT64
from stnkit.kernels.compiler import monitor
from stnkit.kernels.cpu import threads
from stnkit.plans import launch as plans
from stnkit.plans.launch import Launch
from stnkit.plans.layout import Shape, contiguous, layout
from stnkit.spec import AFFINE, CHOOSING, FLOW, GRID, MAPS, PROJECTIVE

Options = dict[str, Any]
FastCall = Callable[..., Any]  # does a call on arrays of one kind; a result that is not asked for is None


class Memory(NamedTuple):
    """How a framework's arrays are allocated, and where they lie."""

    empty: Callable[[Shape, np.dtype[Any]], Callable[[], Any]]  # returns what allocates
    zeros: Callable[[Shape, np.dtype[Any]], Callable[[], Any]]
    address: Callable[[Any], int]
    own: Callable[[np.ndarray], Any]
    threads: Callable[[], int] | None = None  # on how many a call may run, if not on as many as Numba says


NUMPY = Memory(
    allocator,
    lambda shape, dtype: functools.partial(np.zeros, shape, dtype),
    address,
    lambda array: array,
)


class Signature(NamedTuple):
    """A sampler: where its coordinates come from, and which options it has."""

    kind: int
    options: Options


def _sampler(function: Callable[..., Any], kind: int) -> Signature:
    parameters = inspect.signature(function).parameters
    options = {
        option: parameters[option].default for option in Choices._fields if option in parameters and option != "size"
    }
    return Signature(kind, options)


SAMPLERS = {
    "grid_sample": _sampler(grid.grid_sample, GRID),
    "affine_sample": _sampler(affine.affine_sample, AFFINE),
    "flow_sample": _sampler(flow.flow_sample, FLOW),
    "projective_sample": _sampler(projective.projective_sample, PROJECTIVE),
}


def fast_call(
    memory: Memory, name: str, views: Sequence[np.ndarray], rest: Sequence[Any], options: Options
) -> FastCall | None:
    """Return what does calls like this one, on a framework's arrays; None if there is no fast path for them.

    `views` show the arrays, and `rest` are the arguments after them.
    """
    sampler = SAMPLERS[name.removesuffix("_vjp")]
    if not all(view.flags.aligned and view.dtype.isnative and view.size for view in views):
        return None
    try:
        if name.endswith("_vjp"):
            return _backward(memory, sampler, views, rest, options)
        return _forward(memory, sampler, views, rest, options)
    except (TypeError, ValueError):
        return None


def _call(sampler: Signature, image: np.ndarray, source: np.ndarray, options: Options, cotangent: Maybe) -> Call | None:
    """Check a call; None if it has other arguments than options, or if the source would have to be copied."""
    choices = {**sampler.options, **options}
    if "deterministic" in choices:  # which a CPU always is
        validation.flag("deterministic", choices.pop("deterministic"))
    if len(choices) > len(sampler.options) + ("size" in choices):
        return None
    if validation.prefiltered(choices["mode"], choices["prefilter"]):
        return None
    call = prepare(sampler.kind, image, source, Choices(**choices), cotangent)
    read = readable(call.source, call.form.kind, image.dtype)
    return call if (read.dtype, read.strides) == (source.dtype, call.source.strides) else None


def _forward(
    memory: Memory, sampler: Signature, views: Sequence[np.ndarray], rest: Sequence[Any], options: Options
) -> FastCall | None:
    """Work out the fast path of a sampler."""
    sized = sampler.kind in MAPS
    if len(rest) > sized or len(views) != 2 or ("size" in options and not sized):
        return None
    call = _call(sampler, views[0], views[1], {**options, "size": rest[0]} if rest else options, None)
    if call is None:
        return None
    form, fill = call.form, call.fill
    plan = plans.forward(layout(call.image), layout(call.source), form.kind, form.size, form.options)
    if not plan.launches:
        return None
    (start, words, ask), fill_at = _starter(memory, plan.launches), address(fill)
    empty, where = memory.empty(form.out_shape, form.image_dtype), memory.address

    def sample(image: Any, source: Any, *_: Any, _kept: Any = (fill, words)) -> Any:  # which have to live as long
        out = empty()
        (ask if monitor.ahead else start)(where(out), 0, 0, where(image), 0, 0, where(source), 0, 0, fill_at)
        return out

    return sample


def _backward(
    memory: Memory, sampler: Signature, views: Sequence[np.ndarray], rest: Sequence[Any], options: Options
) -> FastCall | None:
    """Work out the fast path of a sampler's vjp. Partial sums of a map's cotangent are added up as NumPy does."""
    if len(views) != 3 or (rest and memory is NUMPY) or not {FLOAT32, FLOAT64}.issuperset(view.dtype for view in views):
        return None
    choices = {option: value for option, value in options.items() if option != "wrt"}
    names = "image", NAMES[sampler.kind]
    wrt = tuple(rest[0]) if rest else validation.names("wrt", options.get("wrt", names), names)
    call = None if "size" in choices else _call(sampler, views[1], views[2], choices, views[0])
    if call is None:
        return None
    form, fill = call.form, call.fill
    fits_output(views[0], form)
    given = call.batch(views[0])
    cotangent, strides = walkable(given, form.options, wrt[1] and form.options.interp not in CHOOSING, planar=True)
    if cotangent is not given:
        return None
    layouts = layout(call.image), contiguous(call.image), layout(call.source)
    plan = plans.backward(*layouts, form.kind, form.size, form.options, wrt, strides, False)
    if not any(wrt):
        return None
    where, own, shape = memory.address, memory.own, form.source_shape
    bars, like = plan.buffers[-1], np.empty(*layouts[2][::2])
    summed = wrt[1] and form.kind in MAPS
    new = memory.zeros if plan.buffers[0].cleared else memory.empty  # an image's cotangent comes first
    image_new = new(form.image_shape, form.image_dtype)
    source_new = (memory.zeros if bars.cleared else memory.empty)(shape, form.source_dtype)
    (start, words, ask), fill_at = _starter(memory, plan.launches), address(fill)

    def pull(g: Any, image: Any, source: Any, *_: Any, _kept: Any = (fill, words)) -> tuple[Any, Any]:
        image_bar, image_bar_at, source_bar, source_bar_at = None, 0, None, 0
        if wrt[0]:
            image_bar = image_new()
            image_bar_at = where(image_bar)
        if summed:
            partial_sums = allocated(bars)
            source_bar_at = address(partial_sums)
        elif wrt[1]:
            source_bar = source_new()
            source_bar_at = where(source_bar)
        run = ask if monitor.ahead else start
        run(0, 0, where(g), where(image), 0, image_bar_at, where(source), 0, source_bar_at, fill_at)
        if summed:
            source_bar = own(source_sums(partial_sums, like, form.kind).reshape(shape))
        return image_bar, source_bar

    return pull


def _starter(memory: Memory, launches: Sequence[Launch]) -> tuple[threads.Run, Any, threads.Run]:
    """Return what runs launches, one after another, on as many threads as a framework allows.

    Second comes what has to live as long, and third what does the same where kernels are asked for ahead.
    """

    def run(*addresses: int) -> None:
        for launch in launches:
            launch.start(*addresses)

    def run_on_threads(*addresses: int) -> None:
        with threads.at_most(memory.threads()):  # type: ignore[misc]  # as it is there
            run(*addresses)

    is_threaded = any(launch.threaded for launch in launches)
    if len(launches) == 1 and not is_threaded and not monitor.ahead:
        return *launches[0].serial, launches[0].start
    if is_threaded and memory.threads is not None:
        return run_on_threads, None, run_on_threads
    return run, None, run
