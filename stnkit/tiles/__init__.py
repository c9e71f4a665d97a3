"""Images that do not fit in memory: which part of an image a tile of the output reads, and warping block by block."""

from stnkit.spec import Place
from stnkit.tiles.boxes import read, source_box
from stnkit.tiles.warping import warp_blocks

__all__ = ["Place", "read", "source_box", "warp_blocks"]
