"""What every public function does with arrays of any framework: view them, call what is below, and export results."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from stnkit import validation
from stnkit.antialias.compose import antialiased_here
from stnkit.backends import interop
from stnkit.calls.arguments import Array, Choices
from stnkit.calls.derivatives import SAMPLE, Derivative, array_names, optional
from stnkit.calls.sampling import run, sources_for_tiles
from stnkit.prefilter.compose import prefiltered_here
from stnkit.spec import MAPS

R = TypeVar("R")


def sampled(
    derivative: Derivative[R],
    kind: int,
    given: Sequence[Array],
    choices: Choices,
    antialias: bool | int = False,
    written: Array | None = None,
) -> R:
    """Do a call of a sampler or of a derivative of one; `written` is the array that its first result is to be in."""
    arrays = dict(zip(array_names(derivative, kind), given, strict=True))
    if derivative.written:
        arrays[derivative.written] = written
    filtered = validation.prefiltered(choices.mode, choices.prefilter)
    plain = derivative is SAMPLE and antialias is False
    later = "image" if plain and not filtered else ""
    views, export = interop.import_arrays(*optional(derivative, kind), later=later, **arrays)
    into = views.pop() if derivative.written else None
    if kind in MAPS or not plain:  # else the kernel widens the numbers of a flow or a grid as it reads them
        views = sources_for_tiles(derivative, views, choices.place)
    if filtered:
        found = prefiltered_here(derivative, kind, views, choices, antialias, into)
    elif antialias is False:
        found = run(derivative, kind, views, choices, into)
    else:
        found = antialiased_here(derivative, kind, views, choices, antialias, into)
    results: Any
    if derivative is SAMPLE:
        results = export(found[0]) if written is None else written
    else:
        results = tuple([None if one is None else written if one is into else export(one) for one in found])
    return results  # type: ignore[no-any-return]  # of the type that `derivative` says


def on_views(function: Callable[..., R], *before: Any, **arrays: Array) -> R:
    """Call a function on views of arrays, after its other arguments; export what it returns."""
    views, export = interop.import_arrays(**arrays)
    results: Any = function(*before, *views)
    if isinstance(results, tuple):
        results = tuple([None if one is None else export(one) for one in results])
    else:
        results = export(results)
    exported: R = results
    return exported
