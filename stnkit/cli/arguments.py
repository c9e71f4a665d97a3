"""What may be written after an option: each function returns the value or says in a line what is accepted."""

import math
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from PIL import Image


def one_of(option: str, name: str, table: Collection[str]) -> None:
    """Refuse a name that is not in a table of `stnkit.spec`, by ValueError."""
    if name not in table:
        message = f"{option} must be one of {', '.join(table)}; got {name}"
        raise ValueError(message)


def several(option: str, text: str, table: Mapping[str, Any]) -> list[str]:
    """Read names of a table that are separated by commas, or "all"; refuse others by ValueError.

    Return the first name of each meaning that was given, in the order of the table.
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
    """Return numbers that are all finite; ValueError if one is not."""
    if not all(math.isfinite(value) for value in values):
        message = f"{option} takes finite numbers; got {' '.join(format(value, 'g') for value in values)}"
        raise ValueError(message)
    return values


def numbers(option: str, text: str, most: int) -> tuple[float, ...]:
    """Read 1 to `most` finite numbers that are separated by commas; ValueError if there are more, or others."""
    try:
        values = [float(part) for part in text.split(",")]
    except ValueError:
        values = []
    if not 1 <= len(values) <= most:
        message = f"{option} takes 1 to {most} numbers, separated by commas only; got {text}"
        raise ValueError(message)
    return finite(option, *values)


def canvas(option: str, text: str, *, is_picture: bool = True) -> tuple[int, int]:
    """Read a size, WIDTHxHEIGHT, as (height, width); ValueError if no file of a picture may have it here."""
    match = re.fullmatch(r"([1-9][0-9]{0,8})[xX]([1-9][0-9]{0,8})", text)
    if match is None:
        message = f"{option} must be WIDTHxHEIGHT in pixels, as in 640x480; got {text}"
        raise ValueError(message)
    width, height = int(match[1]), int(match[2])
    most = 2 * (Image.MAX_IMAGE_PIXELS or 0)  # what Pillow agrees to read back
    if is_picture and most and width * height > most:
        message = f"{option} {text} is {width * height} pixels; at most {most} are accepted"
        raise ValueError(message)
    return height, width


def within(option: str, value: int, least: int, most: float = math.inf) -> int:
    """Return an integer that lies in a range, both ends included; ValueError if it does not."""
    if not least <= value <= most:
        accepted = f"at least {least}" if most == math.inf else f"from {least} to {most}"
        message = f"{option} must be {accepted}; got {value}"
        raise ValueError(message)
    return value


def beside(reason: str, is_given: bool, others: Collection[str]) -> None:
    """Refuse options that would not be read beside one that is given, for a reason; ValueError if there are some."""
    if is_given and others:
        message = f"{reason}: leave out {', '.join(sorted(others))}"
        raise ValueError(message)


def png(path: Path, what: str) -> Path:
    """Return the name of a PNG file, which will hold `what`; ValueError if it ends otherwise."""
    if path.suffix.lower() != ".png":
        message = f"{path}: {what} is a .png file"
        raise ValueError(message)
    return path
