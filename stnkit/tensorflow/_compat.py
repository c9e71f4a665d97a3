"""Which releases of TensorFlow will do."""

import tensorflow as tf

OLDEST = (2, 16)  # the first whose Keras is Keras 3


def check_release() -> None:
    """Refuse a TensorFlow that is too old."""
    if tuple(map(int, tf.__version__.split(".")[:2])) < OLDEST:
        wanted = ".".join(map(str, OLDEST))
        msg = f"stnkit needs tensorflow {wanted} or newer; got tensorflow {tf.__version__}; pip install -U tensorflow"
        raise ImportError(msg)


check_release()
