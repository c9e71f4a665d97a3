"""Strides of arrays without gaps. Nothing here needs a compiler, so that any module may ask."""

import functools

Shape = tuple[int, ...]


@functools.lru_cache(maxsize=1024)
def gapless(shape: Shape, itemsize: int) -> Shape:
    """Return the strides, in bytes, of an array without gaps."""
    steps = [itemsize]
    for n in reversed(shape[1:]):
        steps.append(steps[-1] * n)
    return tuple(reversed(steps)) if shape else ()


@functools.lru_cache(maxsize=1024)
def is_gapless(shape: Shape, strides: Shape, itemsize: int) -> bool:
    """Tell whether an array has no gaps; the strides of axes of one item do not matter."""
    if 0 in shape:
        return True
    pairs = zip(shape, strides, gapless(shape, itemsize), strict=True)
    return all(n == 1 or step == wanted for n, step, wanted in pairs)
