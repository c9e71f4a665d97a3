"""Errors of the kinds that SciPy has them of."""


class ArgumentError(ValueError, RuntimeError):
    """An argument that does not fit, or is unknown: SciPy raises RuntimeError where others raise ValueError."""


class DtypeError(TypeError, RuntimeError):
    """An array of a dtype that is not supported: SciPy raises RuntimeError where others raise TypeError."""
