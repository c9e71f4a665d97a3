"""What a kernel of a CPU takes: one block of 64-bit words, which begins with the addresses of arrays.

A kernel is a function of C, `status = kernel(words, first, last)`, that does chunks `first` to `last` of a call's work.
`words` is the address of the block. What carries a type is in the kernel's `Spec`, so one form serves every kernel, one
thread and many, and every caller: NumPy, torch, and XLA. A status of 0 says that all went well.
"""

from typing import Any, NamedTuple

# The addresses, by their number; 0 is for an array that a kernel does not take.
OUT, OUT_DOT, COTANGENT, IMAGE, IMAGE_DOT, IMAGE_BAR, SOURCE, SOURCE_DOT, SOURCE_BAR, FILL = range(10)
SLOTS = 10
CHUNKS = SLOTS + 5  # which word tells them
PLACE = SLOTS + 37  # which words tell where tiles lie
SHORT_OF_MEMORY = 1  # a status
MISSING, NEIGHBOURS, SINGLE = range(3)  # what a run of pixels is that are copied by tables

Shape = tuple[int, ...]


class Arguments(NamedTuple):
    """What follows the addresses. Sizes and strides are brought to three axes and count elements.

    In a kernel of tiles, `size` and `extent` have nine numbers each; see `leaves.places`.
    """

    batch: Any = 0
    channels: Any = 0
    parts: Any = (1, 1, 1)  # in how many the batch, the channels and the tiles are split
    chunks: Any = 1
    size: Any = (1, 1, 1)  # of the output, of the whole one: z y x
    extent: Any = (1, 1, 1)  # of the image, of the whole one: z y x
    image: Any = (0, 0, 0, 0, 0)  # strides: batch, channel, z, y, x
    source: Any = (0, 0, 0, 0, 0)  # strides: batch, z, y, x, axis
    out: Any = (0, 0, 0)  # strides of an output: batch, channel, location
    cotangent: Any = (0, 0, 0)  # strides of an output's cotangent
    source_bar: Any = (0, 0)  # strides of what a source's cotangent is added to: batch, and location or tile
    order: Any = (0, 0, 0)  # of differentiation, in the order x, y, z
    fresh: Any = (0, 0)  # whether the cotangents of image and source hold nothing yet, and are cleared before sums
    prefetch: Any = (0, 0)  # whether the image and the source are prefetched, as they are too large for a cache
    place: Any = (0,) * 12  # where the output's tile starts, its size, where the image's tile starts, and its size
    status: Any = 0  # of pieces of the work on threads: 0, unless one fails

    @property
    def words(self) -> Shape:
        """The words of a block, addresses among them, which are 0."""
        flat: list[int] = [0] * SLOTS
        for field in self:
            flat += field if isinstance(field, tuple) else (field,)
        return tuple(flat)


WORDS = len(Arguments().words)
STATUS = WORDS - 1  # which word tells it
