"""Which releases of Keras will do, and which of its backends."""

import keras

OLDEST = (3, 10)
BACKENDS = ("torch", "jax", "tensorflow", "numpy")


def check_release() -> None:
    """Refuse a Keras that is too old."""
    if tuple(map(int, keras.__version__.split(".")[:2])) < OLDEST:
        wanted = ".".join(map(str, OLDEST))
        msg = f"stnkit needs keras {wanted} or newer; got keras {keras.__version__}; pip install -U keras"
        raise ImportError(msg)


def backend() -> str:
    """Return the name of the backend; refuse one whose arrays stnkit does not know."""
    name: str = keras.backend.backend()
    if name not in BACKENDS:
        accepted = ", ".join(map(repr, BACKENDS))
        msg = f"Keras' backend must be one of {accepted} for stnkit; got {name!r}; set KERAS_BACKEND"
        raise ImportError(msg)
    return name


def is_compiling() -> bool:
    """Tell whether torch's compiler traces a call: it looks into no cache of Python's, and warns of one."""
    if keras.backend.backend() != "torch":
        return False
    import torch

    return bool(torch.compiler.is_compiling())


check_release()
backend()
