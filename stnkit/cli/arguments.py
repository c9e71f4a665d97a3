"""What may be written after an option: each function returns the value or says in a line what is accepted."""

import math
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from PIL import Image


def one_of(option: str, name: str, table: Collection[str]) -> None:
    """Refuse a name that is not in a table of `stnkit.spec`.

    Parameters
    ----------
    option : str
        As the user writes it.
    name : str
        What was given.
    table : collection of str
        What is accepted.

    Raises
    ------
    ValueError
        If the name is not in the table.

    """
    if name not in table:
        message = f"{option} must be one of {', '.join(table)}; got {name}"
        raise ValueError(message)


def several(option: str, text: str, table: Mapping[str, Any]) -> list[str]:
    """Read names that are separated by commas, or "all".

    Parameters
    ----------
    option : str
        As the user writes it.
    text : str
        What was given.
    table : mapping of str
        What is accepted, and what it means.

    Returns
    -------
    list of str
        The first name of each meaning that was given, in the order of the table.

    Raises
    ------
    ValueError
        If one of them is not in the table.

    """
    names = list(table) if text == "all" else text.split(",")
    if not set(names) <= set(table):
        message = f"{option} takes all, or some of {', '.join(table)}, separated by commas only; got {text}"
        raise ValueError(message)
    first: dict[Any, str] = {}
    for name, meaning in table.items():
        first.setdefault(meaning, name)
    meant = {table[name] for name in names}
    return [name for meaning, name in first.items() if meaning in meant]


def finite(option: str, *values: float) -> tuple[float, ...]:
    """Return numbers that are all finite.

    Parameters
    ----------
    option : str
        As the user writes it.
    *values : float
        What was given.

    Returns
    -------
    tuple of float
        `values`.

    Raises
    ------
    ValueError
        If one of them is infinite or no number.

    """
    if not all(math.isfinite(value) for value in values):
        message = f"{option} takes finite numbers; got {' '.join(format(value, 'g') for value in values)}"
        raise ValueError(message)
    return values


def numbers(option: str, text: str, most: int) -> tuple[float, ...]:
    """Read numbers that are separated by commas.

    Parameters
    ----------
    option : str
        As the user writes it.
    text : str
        What was given.
    most : int
        How many numbers there may be.

    Returns
    -------
    tuple of float
        1 to `most` finite numbers.

    Raises
    ------
    ValueError
        If there are more, or a part is not a finite number.

    """
    try:
        values = [float(part) for part in text.split(",")]
    except ValueError:
        values = []
    if not 1 <= len(values) <= most:
        message = f"{option} takes 1 to {most} numbers, separated by commas only; got {text}"
        raise ValueError(message)
    return finite(option, *values)


def canvas(option: str, text: str) -> tuple[int, int]:
    """Read the size of a picture.

    Parameters
    ----------
    option : str
        As the user writes it.
    text : str
        What was given, WIDTHxHEIGHT.

    Returns
    -------
    (int, int)
        Height and width, as arrays have them.

    Raises
    ------
    ValueError
        If it is no size, or one that no file may have here.

    """
    match = re.fullmatch(r"([1-9][0-9]{0,8})[xX]([1-9][0-9]{0,8})", text)
    if match is None:
        message = f"{option} must be WIDTHxHEIGHT in pixels, as in 640x480; got {text}"
        raise ValueError(message)
    width, height = int(match[1]), int(match[2])
    most = 2 * (Image.MAX_IMAGE_PIXELS or 0)  # what Pillow agrees to read back
    if most and width * height > most:
        message = f"{option} {text} is {width * height} pixels; at most {most} are accepted"
        raise ValueError(message)
    return height, width


def within(option: str, value: int, least: int, most: float = math.inf) -> int:
    """Return an integer that lies in a range.

    Parameters
    ----------
    option : str
        As the user writes it.
    value : int
        What was given.
    least, most : int
        The range, both ends included.

    Returns
    -------
    int
        `value`.

    Raises
    ------
    ValueError
        If it lies outside.

    """
    if not least <= value <= most:
        accepted = f"at least {least}" if most == math.inf else f"from {least} to {most}"
        message = f"{option} must be {accepted}; got {value}"
        raise ValueError(message)
    return value


def png(path: Path, what: str) -> Path:
    """Return the name of a PNG file.

    Parameters
    ----------
    path : Path
        What was given.
    what : str
        What the file will hold.

    Returns
    -------
    Path
        `path`.

    Raises
    ------
    ValueError
        If it ends otherwise.

    """
    if path.suffix.lower() != ".png":
        message = f"{path}: {what} is a .png file"
        raise ValueError(message)
    return path
