"""Image files as arrays and back: what Pillow reads, in channels that can be sampled, and safe writing."""

import errno
import os
import secrets
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

# File name endings, with the format that each names and the kinds of picture which that format can hold.
FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".tif": "TIFF", ".tiff": "TIFF"}
HOLDS = {
    "PNG": ("L", "LA", "RGB", "RGBA", "I;16"),
    "JPEG": ("L", "RGB"),
    "TIFF": ("L", "LA", "RGB", "RGBA", "I;16", "F"),
}
JPEG_QUALITY = 95

# What a file's pixels are turned into, by Pillow's name of their kind. Where a palette or a plain picture
# names a transparent colour, an alpha channel takes its place.
KINDS = {
    "1": "L", "L": "L", "LA": "LA", "La": "LA", "P": "RGB", "PA": "RGBA", "RGB": "RGB", "RGBA": "RGBA",
    "RGBX": "RGB", "RGBa": "RGBA", "CMYK": "RGB", "YCbCr": "RGB", "HSV": "RGB", "F": "F",
    "I": "I;16", "I;16": "I;16", "I;16L": "I;16", "I;16B": "I;16", "I;16N": "I;16",
}  # fmt: skip


class Picture(NamedTuple):
    """The pixels of an image file, (H, W, C) in the file's own value range, and what else is kept of it."""

    pixels: NDArray[Any]
    kind: str  # one of those in HOLDS
    profile: bytes | None = None  # ICC colour profile
    notes: tuple[str, ...] = ()  # what was lost in reading

    @property
    def peak(self) -> float:
        """The value of full intensity."""
        dtype = self.pixels.dtype
        return float(np.iinfo(dtype).max) if dtype.kind == "u" else 1.0


def read(path: Path) -> Picture:
    """Read an image file: a PNG, a JPEG or a TIFF, its first page, upright as its EXIF orientation says.

    Palettes, bilevel and other colour spaces become gray or RGB, with alpha where there is transparency. OSError if
    there is no such file, or it may not be read; ValueError if it is no such image, is damaged, or is too large to be
    trusted.
    """
    with path.open("rb") as file, warnings.catch_warnings():
        # Pillow warns of damaged EXIF blocks, which do no harm here, and of pictures above half of the size
        # that it refuses: a file that the user names may be that large.
        warnings.simplefilter("ignore")
        try:
            with Image.open(file, formats=tuple(HOLDS)) as image:
                deep = ";16" in str(image.tile)  # the raw mode, "RGB;16B" say
                image.load()
                upright = ImageOps.exif_transpose(image)
                pages = _pages(image)
        except Image.DecompressionBombError as error:
            hint = "; a TIFF is warped in blocks with --memory" if path.suffix.lower() in (".tif", ".tiff") else ""
            message = f"{path}: {error}{hint}"
            raise ValueError(message) from None
        except UnidentifiedImageError:
            message = f"{path}: not a {' or '.join(HOLDS)} image"
            raise ValueError(message) from None
        except MemoryError:
            raise
        except Exception as error:  # a decoder may fail in any way on a damaged file
            message = f"{path}: damaged image ({error})"
            raise ValueError(message) from None
        picture = _picture(upright, deep, path)
        more = (f"{path}: the first of {pages} pages was read",) if pages > 1 else ()
        return picture._replace(notes=picture.notes + more)


def _pages(image: Image.Image) -> int:
    """Return how many pictures a file has; those beyond the first may be damaged, which does no harm here."""
    with suppress(Exception):
        return int(getattr(image, "n_frames", 1))
    return 1


def _picture(image: Image.Image, deep: bool, path: Path) -> Picture:
    if image.mode not in KINDS:
        message = f"{path}: pictures of kind {image.mode} are not supported; convert it to RGB first"
        raise ValueError(message)
    kind = KINDS[image.mode]
    profile = image.info.get("icc_profile") if image.mode not in ("CMYK", "YCbCr", "HSV") else None
    if kind in ("I;16", "F"):
        pixels = np.asarray(image)
        if pixels.dtype.kind in "iu" and not (pixels.min() >= 0 and pixels.max() <= 65535):
            message = f"{path}: integers beyond 16 bits are not supported; convert it to floating point first"
            raise ValueError(message)
        dtype = np.float32 if kind == "F" else np.uint16
        return Picture(pixels.astype(dtype)[..., None], kind, profile)
    if "transparency" in image.info:
        kind = "RGBA"
    pixels = np.asarray(image.convert(kind))
    notes = (f"{path}: 16-bit colour was read as 8-bit",) if deep else ()
    return Picture(pixels.reshape(*pixels.shape[:2], -1), kind, profile, notes)


def file_format(path: Path, kind: str | None = None) -> str:
    """Return the format that a file's name asks for, of those in `HOLDS`.

    ValueError if the ending is not one of `FORMATS`, or the format cannot hold a picture of this kind.
    """
    name = FORMATS.get(path.suffix.lower())
    if name is None:
        message = f"{path}: the name of the output must end in {', '.join(FORMATS)}"
        raise ValueError(message)
    if kind is not None and kind not in HOLDS[name]:
        others = " or ".join(other for other, kinds in HOLDS.items() if kind in kinds)
        words = {"I;16": "16-bit values", "F": "floating point values"}.get(kind, "transparency")
        message = f"{path}: {name} files hold no {words}; write a {others} file"
        raise ValueError(message)
    return name


def write(picture: Picture, path: Path) -> None:
    """Write an image file in the format of its name; the file appears whole or not at all, and replaces another.

    OSError if the file may not be written; ValueError if the format is unknown or cannot hold the picture.
    """
    name = file_format(path, picture.kind)
    pixels = picture.pixels[..., 0] if picture.pixels.shape[-1] == 1 else picture.pixels
    options: dict[str, Any] = {"icc_profile": picture.profile} if picture.profile else {}
    if name == "JPEG":
        options["quality"] = JPEG_QUALITY
    with replacing(path) as file:
        Image.fromarray(np.ascontiguousarray(pixels)).save(file, name, **options)


@contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """Open a new file that takes the place of `path` once all is written, and is removed if anything fails.

    It is beside the target, a link being followed, so that it can be renamed to it in one step. OSError if a file
    cannot be made there, or `path` is a folder.
    """
    target = Path(os.path.realpath(path))
    partial = target.with_name(f".stnkit-{secrets.token_hex(4)}.part")
    try:
        if target.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        with partial.open("xb") as file:
            yield file
        partial.replace(target)
    except OSError as error:
        message = f"{path}: cannot be written ({error.strerror or error})"
        raise OSError(message) from error
    finally:
        with suppress(OSError):
            partial.unlink()
