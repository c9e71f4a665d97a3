"""Kernels on NVIDIA GPUs for the gather adjoint, and for what it leaves over: a factory for each, as in `kernels`.

Whether a batch item is gathered follows from its theta, which the host does not know and does not wait for. So both
ways are launched, and each thread looks whether its item is its own. `missed` counts the items that are not gathered;
where there are none, the threads of everything else return at once.
"""

import functools
from typing import Any

import numpy as np

from stnkit.kernels.compiler.jit import View, int64, leaf, pointer
from stnkit.kernels.cuda import adjoint as leaves
from stnkit.kernels.cuda import affine_bounds as before
from stnkit.kernels.cuda.kernels import example_values, largest_one, sums
from stnkit.kernels.cuda.numbering import task
from stnkit.kernels.cuda.thread import scatter
from stnkit.kernels.leaves.formats import zero
from stnkit.kernels.leaves.reproducible_sum import bin_value
from stnkit.spec import Spec

WORD = np.int64(0)


@functools.cache
def affine_bounds(spec: Spec) -> Any:
    _, _, source_like, like, _ = example_values(spec)

    def body(i, maps_at, missed_at, source_at, size, extent, source):
        before.bound(
            i, pointer(maps_at, like), pointer(missed_at, WORD), View(pointer(source_at, source_like), source),
            size, extent, like, spec,
        )  # fmt: skip

    return body


@functools.cache
def gather(spec: Spec) -> Any:
    _, dot_like, source_like, like, index_like = example_values(spec)
    bar_like = sums(spec)

    def body(
        i, maps_at, image_bar_at, out_bar_at, source_at, channels, group, groups, shared, kept, size, extent,
        out_bar, image, source,
    ):  # fmt: skip
        leaves.gather(
            i, View(pointer(image_bar_at, bar_like), image), View(pointer(out_bar_at, dot_like), out_bar),
            View(pointer(source_at, source_like), source), pointer(maps_at, like),
            channels, group, groups, shared, kept, size, extent, like, index_like, spec,
        )  # fmt: skip

    return body


@functools.cache
def scatter_rest_binned(spec: Spec) -> Any:
    """Be `kernels.scatter_binned`, for the items that are not gathered."""
    _, dot_like, source_like, like, index_like = example_values(spec)

    def body(
        i, maps_at, sums_at, out_bar_at, source_at, source_dot_at, batch, channels, group, groups, size, extent,
        out_bar, image, source, order,
    ):  # fmt: skip
        scatter_unless(
            i, pointer(maps_at, like), View(pointer(sums_at, WORD), image),
            View(pointer(out_bar_at, dot_like), out_bar), View(pointer(source_at, source_like), source),
            channels, group, groups, size, extent, order, like, index_like, spec,
        )  # fmt: skip

    return body


@leaf
def scatter_unless(
    i, maps, image_bar, out_bar, source, channels, group, groups, size, extent, order, like, index_like, spec
):  # fmt: skip
    """Add one location's cotangent to the image's, unless its item is gathered."""
    n, _, _ = task(i, size[0] * size[1] * size[2], groups, spec)
    if not before.is_gathered(maps, n):
        scatter(
            i, image_bar, out_bar, source, source, channels, group, groups, size, extent, order, like, index_like, spec
        )  # fmt: skip


@functools.cache
def clear_rest(spec: Spec) -> Any:
    """Build words[i] = 0, if anything is left over."""

    def body(i, missed_at, words_at):
        if pointer(missed_at, WORD)[0] > 0:
            pointer(words_at, WORD)[i] = WORD

    return body


@functools.cache
def largest_rest(spec: Spec) -> Any:
    """Be `kernels.largest`, if anything is left over."""
    given, like = zero(spec.image_dtype), zero(spec.arithmetic_dtype)

    def body(i, missed_at, peak_at, array_at, count, threads):
        if pointer(missed_at, WORD)[0] > 0:
            largest_one(i, pointer(peak_at, WORD), pointer(array_at, given), count, threads, like, spec)

    return body


@functools.cache
def from_bins_rest(spec: Spec) -> Any:
    """Be `kernels.from_bins`, if anything is left over."""
    like = sums(spec)

    def body(i, missed_at, image_bar_at, bins_at):
        if pointer(missed_at, WORD)[0] > 0:
            image_bar = pointer(image_bar_at, like)
            image_bar[i] += bin_value(pointer(bins_at, WORD), int64(i), like)

    return body
