"""Errors that a program written for SciPy can catch."""


class ArgumentError(ValueError, RuntimeError):
    """An argument that does not fit, or is unknown: SciPy raises RuntimeError where others raise ValueError."""


class DtypeError(TypeError, RuntimeError):
    """An array of a dtype that is not supported: SciPy raises RuntimeError where others raise TypeError."""
