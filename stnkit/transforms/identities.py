"""Which parameters leave an image as it is, and how many a transform has."""

IDENTITIES: dict[str, dict[int, tuple[float, ...]]] = {  # by the name of the transform, then by the number of axes
    "affine": {1: (1, 0), 2: (1, 0, 0, 0, 1, 0), 3: (1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0)},
    "attention": {1: (1, 0), 2: (1, 0, 0), 3: (1, 0, 0, 0)},
    "similarity": {2: (1, 0, 0, 0), 3: (1, 0, 0, 0, 0, 0, 0)},
    "rotation": {2: (0,), 3: (0, 0, 0)},
}


def identity_parameters(transform: str, axes: int = 2) -> tuple[float, ...]:
    """Return the parameters under which a transform is the identity.

    Parameters
    ----------
    transform : {"affine", "attention", "similarity", "rotation"}
        Its name.
    axes : int
        The number of spatial axes, 1 to 3; a similarity and a rotation need 2 or 3.

    Returns
    -------
    tuple of float
        As many as the transform has parameters.

    Raises
    ------
    ValueError
        If the name is unknown, or the transform does not act on so many axes.

    Examples
    --------
    >>> from stnkit.transforms import identity_parameters
    >>> identity_parameters("attention")
    (1, 0, 0)
    """
    if transform not in IDENTITIES:
        msg = f"`transform` must be one of {', '.join(map(repr, IDENTITIES))}; got {transform!r}"
        raise ValueError(msg)
    known = IDENTITIES[transform]
    if axes not in known:
        msg = f"`axes` must be one of {', '.join(map(str, known))} for {transform!r}; got {axes!r}"
        raise ValueError(msg)
    return known[axes]


def axes_of(transform: str, shape: tuple[int, ...]) -> int:
    """Return on how many axes a transform of so many parameters acts, or refuse their number."""
    accepted = {len(numbers): axes for axes, numbers in IDENTITIES[transform].items()}
    if not shape or shape[-1] not in accepted:
        counts = " or ".join(f"{count} ({axes}-D)" for count, axes in accepted.items())
        msg = f"`parameters` of {transform!r} must have {counts} numbers along the last axis; got shape {tuple(shape)}"
        raise ValueError(msg)
    return accepted[shape[-1]]
