"""Kernels on NVIDIA GPUs: a factory for each operation returns what one thread does with addresses and numbers.

Each captures its `Spec` and zeros that carry types, and calls one leaf of `thread`. Arrays are those of `kernels.cpu`.
"""

import functools
from typing import Any

import numpy as np

from stnkit.kernels.compiler.jit import View, int64, leaf, pointer
from stnkit.kernels.cuda import grids, thread
from stnkit.kernels.cuda.maps import theta_sums as sums_of_parts
from stnkit.kernels.leaves.formats import widen, zero
from stnkit.kernels.leaves.reproducible_sum import bin_value, bits_of, exponent_of, is_finite, open_bins, whole_max
from stnkit.spec import Spec


def example_values(spec: Spec) -> Any:
    like = zero(spec.arithmetic_dtype)
    index_like = np.int64(0) if spec.wide else np.int32(0)
    return zero(spec.image_dtype), zero(spec.dot_dtype), zero(spec.source_dtype), like, index_like


def sums(spec: Spec) -> Any:
    """Return a zero of the type in which an image's cotangent is summed: the image's; for halves, the arithmetic's."""
    return zero(spec.image_bar_dtype)


@functools.cache
def sample(spec: Spec) -> Any:
    image_like, _, source_like, like, index_like = example_values(spec)

    def body(i, out_at, image_at, source_at, fill_at, channels, group, groups, size, extent, out, image, source):
        thread.sample(
            i, View(pointer(out_at, image_like), out), View(pointer(image_at, image_like), image),
            View(pointer(source_at, source_like), source), pointer(fill_at, like), pointer(fill_at, image_like),
            channels, group, groups, size, extent, like, index_like, spec,
        )  # fmt: skip

    return body


@functools.cache
def sample_order(spec: Spec) -> Any:
    image_like, _, source_like, like, index_like = example_values(spec)

    def body(i, out_at, image_at, source_at, fill_at, channels, group, groups, size, extent, out, image, source, order):
        thread.sample_order(
            i, View(pointer(out_at, image_like), out), View(pointer(image_at, image_like), image),
            View(pointer(source_at, source_like), source), pointer(fill_at, like), pointer(fill_at, image_like),
            channels, group, groups, size, extent, order, like, index_like, spec,
        )  # fmt: skip

    return body


@functools.cache
def sample_jvp(spec: Spec) -> Any:
    image_like, dot_like, source_like, like, index_like = example_values(spec)

    def body(
        i, out_at, out_dot_at, image_at, image_dot_at, source_at, source_dot_at, fill_at,
        channels, group, groups, size, extent, out, image, source,
    ):  # fmt: skip
        thread.sample_jvp(
            i, View(pointer(out_at, image_like), out), pointer(out_dot_at, dot_like),
            View(pointer(image_at, image_like), image), View(pointer(image_dot_at, dot_like), image),
            View(pointer(source_at, source_like), source), View(pointer(source_dot_at, source_like), source),
            pointer(fill_at, like), pointer(fill_at, image_like),
            channels, group, groups, size, extent, like, index_like, spec,
        )  # fmt: skip

    return body


@functools.cache
def scatter(spec: Spec) -> Any:
    return scattering(spec, sums(spec))


@functools.cache
def scatter_binned(spec: Spec) -> Any:
    """Be `scatter` into bins, which give the same sums in any order."""
    return scattering(spec, np.int64(0))


def scattering(spec: Spec, bar_like: Any) -> Any:
    """Build `thread.scatter`, to memory of the type of a zero."""
    _, dot_like, source_like, like, index_like = example_values(spec)

    def body(
        i, image_bar_at, out_bar_at, source_at, source_dot_at, batch, channels, group, groups, size, extent,
        out_bar, image, source, order,
    ):  # fmt: skip
        thread.scatter(
            i, View(pointer(image_bar_at, bar_like), image), View(pointer(out_bar_at, dot_like), out_bar),
            View(pointer(source_at, source_like), source), View(pointer(source_dot_at, source_like), source),
            channels, group, groups, size, extent, order, like, index_like, spec,
        )  # fmt: skip

    return body


@functools.cache
def largest(spec: Spec) -> Any:
    """Raise peak[0] to the representation of the largest finite number of an array without gaps.

    Each thread goes through the array in steps of as many numbers as there are threads.
    """
    given, word = zero(spec.image_dtype), np.int64(0)
    like = zero(spec.arithmetic_dtype)

    def body(i, peak_at, array_at, count, threads):
        largest_one(i, pointer(peak_at, word), pointer(array_at, given), count, threads, like, spec)

    return body


@leaf
def largest_one(i, peak, array, count, threads, like, spec):
    most: Any = int64(0)
    at = int64(i)
    while at < count:
        x = widen(array[at], like, spec.image_dtype)
        x = x if x > type(x)(0) else -x
        bits = bits_of(x) if is_finite(x) else int64(0)
        most = bits if bits > most else most
        at += threads
    if most > peak[0]:  # which is never more than what it will be
        whole_max(peak, int64(0), most)


@functools.cache
def opened(spec: Spec) -> Any:
    """Write the head of bins for products of the largest numbers of two arrays, each as often as 2**adds."""
    word, like = np.int64(0), zero(spec.arithmetic_dtype)

    def body(i, bins_at, peak_at, other_at, adds):
        _opened(pointer(bins_at, word), pointer(peak_at, word), pointer(other_at, word), adds, like, spec)

    return body


@leaf
def _opened(bins, peak, other, adds, like, spec):
    more = adds
    if spec.source_dot:
        more += exponent_of(other[0], like) + int64(1)
    open_bins(bins, peak[0], more, like)


@functools.cache
def from_bins(spec: Spec) -> Any:
    """Build image_bar[i] += sum number i of the bins."""
    word, like = np.int64(0), sums(spec)

    def body(i, image_bar_at, bins_at):
        image_bar = pointer(image_bar_at, like)
        image_bar[i] += bin_value(pointer(bins_at, word), int64(i), like)

    return body


@functools.cache
def sample_vjp(spec: Spec) -> Any:
    image_like, dot_like, source_like, like, index_like = example_values(spec)
    bar_like, source_bar_like = sums(spec), like if spec.mapped else source_like

    def body(
        i, image_bar_at, source_bar_at, out_bar_at, image_at, source_at, fill_at, channels, repeat, rows, size, extent,
        out_bar, image, source, source_bar,
    ):  # fmt: skip
        thread.sample_vjp(
            i, View(pointer(image_bar_at, bar_like), image), View(pointer(source_bar_at, source_bar_like), source_bar),
            View(pointer(out_bar_at, dot_like), out_bar), View(pointer(image_at, image_like), image),
            View(pointer(source_at, source_like), source), pointer(fill_at, like),
            channels, repeat, rows, size, extent, like, index_like, spec,
        )  # fmt: skip

    return body


@functools.cache
def sample_double_vjp(spec: Spec) -> Any:
    image_like, dot_like, source_like, like, index_like = example_values(spec)
    bar_like, source_bar_like = sums(spec), like if spec.mapped else source_like

    def body(
        i, out_bar_bar_at, image_bar_at, source_bar_at, out_bar_at, image_at, image_dot_at, source_at, source_dot_at,
        fill_at, channels, repeat, rows, size, extent, out_bar_bar, out_bar, image, source, source_bar,
    ):  # fmt: skip
        thread.sample_double_vjp(
            i, View(pointer(out_bar_bar_at, dot_like), out_bar_bar), View(pointer(image_bar_at, bar_like), image),
            View(pointer(source_bar_at, source_bar_like), source_bar), View(pointer(out_bar_at, dot_like), out_bar),
            View(pointer(image_at, image_like), image), View(pointer(image_dot_at, dot_like), image),
            View(pointer(source_at, source_like), source), View(pointer(source_dot_at, source_like), source),
            pointer(fill_at, like), channels, repeat, rows, size, extent, like, index_like, spec,
        )  # fmt: skip

    return body


@functools.cache
def theta_sums(spec: Spec) -> Any:
    like = zero(spec.image_dtype)

    def body(i, sums_at, parts_at, rows, part, entries):
        sums_of_parts(i, pointer(sums_at, like), pointer(parts_at, like), rows, part, entries, like)

    return body


@functools.cache
def grid(spec: Spec) -> Any:
    like = zero(spec.source_dtype)

    def body(i, out_at, source_at, size, source):
        grids.grid(i, pointer(out_at, like), View(pointer(source_at, like), source), size, like, spec)

    return body


@functools.cache
def grid_vjp(spec: Spec) -> Any:
    like = zero(spec.source_dtype)

    def body(i, parts_at, grid_bar_at, source_at, rows, size, source):
        grids.grid_vjp(
            i, pointer(parts_at, like), pointer(grid_bar_at, like), View(pointer(source_at, like), source),
            rows, size, like, spec,
        )  # fmt: skip

    return body


@functools.cache
def grid_jvp(spec: Spec) -> Any:
    like = zero(spec.source_dtype)

    def body(i, out_at, source_at, source_dot_at, size, source):
        grids.grid_jvp(
            i, pointer(out_at, like), View(pointer(source_at, like), source),
            View(pointer(source_dot_at, like), source), size, like, spec,
        )  # fmt: skip

    return body
