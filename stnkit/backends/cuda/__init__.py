"""The CUDA backend: launches kernels on arrays in the memory of an NVIDIA GPU."""

from stnkit.backends.protocol import operations

__getattr__ = operations(__name__)
