"""What SciPy does by calling a function of the user for each element, and kernels cannot."""

from collections.abc import Callable
from typing import Any, NoReturn


def geometric_transform(input: Any, mapping: Callable[..., Any], *args: Any, **options: Any) -> NoReturn:
    """Refuse what `scipy.ndimage.geometric_transform` does: its mapping is a Python function of one output's location.

    Parameters
    ----------
    input : array
        The image.
    mapping : callable
        What takes an output's location to that in the image.
    *args, **options
        The other arguments of SciPy's function.

    Raises
    ------
    NotImplementedError
        Always. `map_coordinates` reads the coordinates that a mapping of whole arrays returns.

    Examples
    --------
    >>> import numpy as np
    >>> from stnkit import ndimage
    >>> image = np.arange(12.0).reshape(3, 4)
    >>> rows, columns = np.indices((2, 2))
    >>> ndimage.map_coordinates(image, (rows + 0.5, columns + 1), order=1)
    array([[3., 4.],
           [7., 8.]])
    """
    msg = (
        "stnkit calls no Python function for each element: use scipy.ndimage.geometric_transform, or map_coordinates "
        "of the coordinates that `mapping` gives for np.indices(output_shape)"
    )
    raise NotImplementedError(msg)
