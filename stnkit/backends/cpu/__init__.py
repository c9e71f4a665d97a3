"""The CPU backend: executes plans on NumPy arrays."""

from stnkit.backends.protocol import operations

__getattr__ = operations(__name__)
