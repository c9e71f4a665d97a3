"""What was likely meant: the ends of messages, where what was given looks like a known slip; else nothing."""

from typing import Any

Shape = tuple[int, ...]


def to_array(name: str, given: Any, framework: str = "numpy") -> str:
    """Say how to make an array of a framework of what is none, but can be one."""
    methods = ("to_numpy", "compute", "toarray", "numpy")  # xarray, pandas, Polars; Dask; SciPy; TensorFlow
    inner = next((f"{name}.{method}()" for method in methods if callable(getattr(given, method, None))), "")
    if not inner and (hasattr(given, "__array__") or hasattr(given, "__array_interface__")):
        inner = f"np.asarray({name})"
    outer = {
        "numpy": "np.asarray",
        "JAX": "jnp.asarray",
        "torch": "torch.as_tensor",
        "tensorflow": "tf.convert_to_tensor",
    }.get(framework)
    if isinstance(given, (list, tuple)) and outer:
        return f"; pass `{outer}({name})`"
    if not inner or not outer:
        return ""
    last = ", whose channels, if there are any, come last: `data_format='channels_last'`"
    is_picture = name == "image" and type(given).__module__.partition(".")[0] == "PIL"
    return f"; pass `{inner if framework == 'numpy' else f'{outer}({inner})'}`{last if is_picture else ''}"


def to_grid(name: str, shape: Shape) -> str:
    """Say how coordinates get the shape (N, *T, d)."""
    if name == "grid" and len(shape) > 1 and shape[-1] in (2, 3) and len(shape) <= shape[-1]:
        points, new = ("(P, {})", "None, ") if len(shape) == 2 else ("(N, P, {})", ":, ")
        index = new + ", ".join(["None"] * (shape[-1] - 1))
        channels = "(N, C, " + "1, " * (shape[-1] - 1) + "P)"
        return f". For a list of points {points.format(shape[-1])} pass `grid[{index}]`, which gives {channels}"
    for axis in (1, 0):  # with a batch axis, or without
        if len(shape) > axis and shape[axis] in (1, 2, 3) and len(shape) == shape[axis] + 1 + axis:
            letters = ", ".join("xyz"[: shape[axis]])
            return f". If axis {axis} holds {letters}, move it to the end: `np.moveaxis({name}, {axis}, -1)`"
    return ""


def to_affine(shape: Shape) -> str:
    """Say how affine maps get the shape (N, d, d + 1)."""
    if len(shape) > 1 and shape[-1] == shape[-2] and shape[-1] in (2, 3, 4):
        d = shape[-1] - 1
        row = ", ".join(["0"] * d)
        return (
            f". A homogeneous matrix is for the functions `projective_...`; if its last row is ({row}, 1), pass "
            f"`theta[..., :{d}, :]`"
        )
    if shape and shape[-1] in (6, 12):
        return ". `stnkit.transforms.affine_from_parameters` makes theta of rows of numbers"
    return ""


def to_projective(shape: Shape) -> str:
    """Say how projective maps get the shape (N, d + 1, d + 1)."""
    if len(shape) > 1 and shape[-1] == shape[-2] + 1 and shape[-2] in (1, 2, 3):
        row = ", ".join(["0"] * shape[-2])
        return f". An affine map is for the functions `affine_...`, or gets ({row}, 1) as its last row"
    if shape and shape[-1] in (8, 15):
        return ". `stnkit.transforms.projective_from_parameters` makes theta of rows of numbers"
    return ""


def to_image(name: str, shape: Shape, ndim: int, channels_last: bool) -> str:
    """Say how an image gets its channels."""
    if len(shape) == ndim:
        return f". An image of one channel is `{name}[{'..., None' if channels_last else 'None'}]`"
    return ""
