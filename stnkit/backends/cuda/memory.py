"""Whole arrays on a GPU, without sampling: allocate, convert, copy, multiply, sum, join, measure, and constants.

What NumPy does in main memory, kernels of a line or two do here, on the stream of the caller's framework.
"""

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np

from stnkit.backends.cuda.array import ARITHMETIC, DeviceArray, DeviceContext, broadcast_to
from stnkit.kernels.compiler.digests import digest
from stnkit.kernels.cuda import elementwise, runtime
from stnkit.plans.layout import Shape
from stnkit.plans.memo import Memo
from stnkit.plans.strides import gapless
from stnkit.spec import DTYPES, Spec

BYTE = np.dtype(np.uint8)
LINE = 8 * elementwise.WORDS  # bytes that one launch carries


def run(
    context: DeviceContext, factory: Any, spec: Spec, items: int, addresses: tuple[int, ...], *numbers: Any
) -> None:
    """Launch a kernel on the stream of a context: it takes addresses, and then numbers and tuples of numbers."""
    runtime.launch(factory, spec, items, (*addresses, *numbers), context.stream, context.device)
    if context.trace is not None:
        context.trace.launched(factory, spec, items, addresses, numbers)


def zeros(context: DeviceContext, shape: Shape, dtype: np.dtype[Any]) -> DeviceArray:
    """Allocate an array of zeros."""
    return cleared(context.empty(shape, dtype))


def cleared(array: DeviceArray) -> DeviceArray:
    """Set an array without gaps to zero, and return it."""
    if array.size:
        context = array.context
        runtime.clear(array.address, array.nbytes, context.stream, context.device)
        if context.trace is not None:
            context.trace.cleared(array.address, array.nbytes)
    return array


def converted(array: DeviceArray, dtype: np.dtype[Any]) -> DeviceArray:
    """Return an array in a dtype; as it is, if it has that."""
    return array if array.dtype == dtype else product(aligned(array), dtype=dtype)


def contiguous(array: DeviceArray) -> DeviceArray:
    """Return an array without gaps; as it is, if it has none."""
    return array if array.flags.c_contiguous else product(array)


def aligned(array: DeviceArray) -> DeviceArray:
    """Return an array whose numbers lie where a GPU can read them; as it is, if they do."""
    if array.flags.aligned:
        return array
    byte = DeviceArray(
        array.address, (*array.shape, array.itemsize), (*array.strides, 1), BYTE, array.context, array.owner
    )
    copy = product(byte)
    steps = gapless(array.shape, array.itemsize)
    return DeviceArray(copy.address, array.shape, steps, array.dtype, array.context, copy.owner)


def scaled(array: DeviceArray, factors: np.ndarray | None) -> DeviceArray:
    """Return a new array: this one, times factors along its last axis; None is 1."""
    if factors is None:
        return product(array)
    return product(array, broadcast_to(constant(array.context, factors), array.shape))


def added(like: DeviceArray, terms: Sequence[DeviceArray]) -> DeviceArray:
    """Return the sum of arrays, or zeros, in the shape and dtype of one."""
    stack = like.context.empty((len(terms), *like.shape), like.dtype)
    for k, term in enumerate(terms):
        product(term, out=stack[k])
    return total(stack)[0]


def ones(like: DeviceArray, shape: Shape) -> DeviceArray:
    """Return ones of a shape, of which one is kept, where an array lies and in its dtype."""
    return broadcast_to(constant(like.context, np.ones(1, like.dtype))[0], shape)


def product(
    first: DeviceArray,
    second: DeviceArray | None = None,
    third: DeviceArray | None = None,
    dtype: np.dtype[Any] | None = None,
    out: DeviceArray | None = None,
) -> DeviceArray:
    """Return the product of arrays of one shape, without gaps; in the first one's dtype, unless another is given."""
    out = first.context.empty(first.shape, dtype or first.dtype) if out is None else out
    if out.size:
        factors = (first, second, third)
        spec = _spec(first.dtype, out.dtype, second)
        spec = spec._replace(image_dot=second is not None, source_dot=third is not None)
        run(
            *(first.context, elementwise.product, spec, out.size),
            (out.address, *(0 if array is None else array.address for array in factors)),
            _six(out.shape, 1),
            *(_steps(first if array is None else array) for array in factors),
        )
    return out


def combined(
    first: DeviceArray,
    second: DeviceArray | None = None,
    *,
    factors: tuple[float, float] = (1.0, 1.0),
    shift: float = 0.0,
    divisor: float = 1.0,
    out: DeviceArray | None = None,
) -> DeviceArray:
    """Return an array times a factor, plus another of its shape times another, plus a number, over a number.

    The result has the first one's dtype; `out` may have any strides and be one of the two.
    """
    out = first.context.empty(first.shape, first.dtype) if out is None else out
    if out.size:
        spec = _spec(first.dtype, out.dtype, second)._replace(image_dot=second is not None)
        other = first if second is None else second
        like = elementwise.arithmetic(spec.dot_dtype, spec.image_dtype, spec.source_dtype)
        numbers = constant(first.context, np.array([*factors, shift, divisor], type(like)))
        run(
            *(first.context, elementwise.combination, spec, out.size),
            (out.address, first.address, other.address, numbers.address),
            *(_six(out.shape, 1), _steps(out), _steps(first), _steps(other)),
        )
    return out


def _sum(first: DeviceArray, other: DeviceArray | float, out: DeviceArray | None = None) -> DeviceArray:
    if isinstance(other, DeviceArray):
        return combined(first, other, out=out)
    return first if other == 0 else combined(first, shift=float(other))


def joined(arrays: Sequence[DeviceArray], axis: int) -> DeviceArray:
    """Return arrays of one dtype one after another along an axis."""
    first, axis = arrays[0], axis % arrays[0].ndim
    ends = np.cumsum([array.shape[axis] for array in arrays]).tolist()
    out = first.context.empty((*first.shape[:axis], ends[-1], *first.shape[axis + 1 :]), first.dtype)
    for array, end in zip(arrays, ends, strict=True):
        whole = [slice(None)] * axis
        combined(array, out=out[(*whole, slice(end - array.shape[axis], end), ...)])
    return out


ARITHMETIC.update(
    {
        np.add: _sum,
        np.subtract: lambda first, second: combined(first, second, factors=(1.0, -1.0)),
        np.multiply: lambda array, factor: combined(array, factors=(float(factor), 0.0)),
        np.divide: lambda array, divisor: combined(array, divisor=float(divisor)),
        np.concatenate: joined,
        np.copyto: lambda to, array: combined(array, out=to),
    }
)


def longest(ahead: DeviceArray, back: DeviceArray, factors: Sequence[float], own: Sequence[float]) -> np.ndarray:
    """Return, in main memory, the largest finite length of vectors of each item; this waits for the GPU.

    The vectors are along the last axis: differences of two arrays, times factors, and with a vector of their own added.
    """
    context, dtype, count = ahead.context, ahead.dtype, len(ahead)
    peaks = zeros(context, (count,), np.dtype(np.int64))
    if ahead.size:
        code, shape = DTYPES[dtype.name], ahead.shape[:-1]
        spec = Spec(ahead.shape[-1], image_dtype=code, source_dtype=code, digest=digest())
        numbers = constant(context, np.array([*factors, *own], dtype))
        (*one, last), (*other, end) = ([s // dtype.itemsize for s in array.strides] for array in (ahead, back))
        run(
            *(context, elementwise.longest, spec, ahead.size // ahead.shape[-1]),
            (peaks.address, ahead.address, back.address, numbers.address),
            *(ahead.size // ahead.shape[-1] // count, _six(shape, 1), _six(tuple(one), 0), _six(tuple(other), 0)),
            (last, end),
        )
    found = fetched(peaks)
    return found.view(dtype) if dtype.itemsize == 8 else found.astype(np.int32).view(dtype)


def fetched(array: DeviceArray) -> np.ndarray:
    """Return an array's numbers in main memory; this waits for what its stream was given before.

    Raises
    ------
    TypeError
        If a graph is recorded, while which no number is known.
    """
    context = array.context
    if runtime.is_capturing(context.stream, context.device):
        msg = (
            "`antialias=True` takes the numbers of theta or the flow, which are not known while a graph is recorded; "
            "pass how many subsamples to take along each axis, as antialias=4"
        )
        raise TypeError(msg)
    array = contiguous(aligned(array))
    raw = runtime.read(array.address, array.nbytes, context.stream, context.device) if array.size else b""
    return np.frombuffer(raw, array.dtype).reshape(array.shape)


def contracted(first: DeviceArray, second: DeviceArray, out: DeviceArray) -> None:
    """Write out[n, i, j] = the sum of first[i, k] second[n, k, j] over k, in float64; arrays may have any strides."""
    if out.size:
        spec = _spec(first.dtype, out.dtype, second)
        addresses = out.address, first.address, second.address
        steps = [tuple(s // array.itemsize for s in array.strides) for array in (out, first, second)]
        run(out.context, elementwise.contraction, spec, out.size, addresses, *out.shape[1:], first.shape[1], *steps)


def total(array: DeviceArray, dtype: np.dtype[Any] | None = None) -> DeviceArray:
    """Return the sum over the first axis, which stays with one item, in the order of its items."""
    dtype = dtype or array.dtype
    out = array.context.empty((1, *array.shape[1:]), dtype)
    if out.size:
        count, step = len(array), array.strides[0] // array.itemsize
        item = array.view(out.shape, array.strides)
        spec = _spec(array.dtype, dtype)
        addresses = out.address, array.address
        run(array.context, elementwise.total, spec, out.size, addresses, count, step, _six(out.shape, 1), _steps(item))
    return out


def constant(context: DeviceContext, values: np.ndarray) -> DeviceArray:
    """Return a few numbers on a GPU: written once for each stream, and remembered.

    What is written while a graph is recorded belongs to that graph, and is written again each time it runs.
    """
    values = np.ascontiguousarray(values)
    if context.trace is not None:
        kept = constant(context._replace(trace=None), values)
        context.trace.used(kept.address, values)
        return DeviceArray(kept.address, kept.shape, kept.strides, kept.dtype, context, kept.owner)  # and is traced
    key = (context.framework, context.device, context.stream, values.tobytes(), values.shape, values.dtype)
    found: DeviceArray | None = _constants.find(key)
    if found is None:
        found = _written(context, values)
        if not runtime.is_capturing(context.stream, context.device):
            _constants.keep(key, found, 2 * values.nbytes + LINE)  # on the GPU, and in the key
    return found


_constants = Memo(2**28)


def _written(context: DeviceContext, values: np.ndarray) -> DeviceArray:
    """Write numbers by launches that carry them; a single number, again and again, by one."""
    raw = values.tobytes()
    lines = max(-(-len(raw) // LINE), 1)
    memory = context.empty((lines * LINE,), BYTE)
    raw += raw[: values.itemsize] * (-len(raw) % LINE // values.itemsize) if raw else bytes(LINE)
    words = [tuple(np.frombuffer(raw, np.int64, elementwise.WORDS, k * LINE).tolist()) for k in range(lines)]
    spec = _spec(BYTE, BYTE)
    if len(set(words)) == 1:
        run(context, elementwise.constant, spec, lines * elementwise.WORDS, (memory.address,), words[0])
    else:
        for k, line in enumerate(words):
            run(context, elementwise.constant, spec, elementwise.WORDS, (memory.address + k * LINE,), line)
    steps = gapless(values.shape, values.itemsize)
    return DeviceArray(memory.address, values.shape, steps, values.dtype, context, memory.owner)


def _spec(first: np.dtype[Any], out: np.dtype[Any], others: DeviceArray | None = None) -> Spec:
    code = DTYPES[out.name]
    other = code if others is None else DTYPES[others.dtype.name]
    return Spec(0, image_dtype=DTYPES[first.name], dot_dtype=code, source_dtype=other, digest=digest())


@functools.lru_cache(maxsize=4096)
def _six(axes: Shape, value: int) -> Shape:
    """Prepend axes, to make as many as kernels walk."""
    return (value,) * (elementwise.AXES - len(axes)) + axes


def _steps(array: DeviceArray) -> Shape:
    """Return strides in elements, as many as kernels walk."""
    return _six(tuple(s // array.itemsize for s in array.strides), 0)
