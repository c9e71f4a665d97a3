"""Backends: whole arrays in the memory of a CPU or of a GPU, and the operations that both have; see `protocol`."""

from typing import Any

from stnkit.backends import cpu, cuda
from stnkit.backends.cuda.array import DeviceArray


def backend(array: Any) -> Any:
    """Return the backend whose memory an array lies in."""
    return cuda if type(array) is DeviceArray else cpu
