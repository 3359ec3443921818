"""Tensors as picture files, which say how they were made."""

import math
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image
from PIL.PngImagePlugin import PngInfo
from torch import Tensor

from ..writing import whole
from .tiling import tile

KEY = "diffusion101"  # of a PNG's note


def grid(x: Tensor, columns: int = 10, scale: int = 2) -> Image.Image:
    """Pictures x (N, C, H, W) in [-1, 1], C of 1 or 3, as one picture, each pixel scale x scale times."""
    tiled = tile(x.detach().float().cpu(), columns)
    array = ((tiled.clamp(-1, 1) + 1) * 127.5).round().byte().movedim(0, -1).numpy()  # (H, W, C)
    picture = Image.fromarray(array[:, :, 0] if array.shape[2] == 1 else array)
    return picture.resize((picture.width * scale, picture.height * scale), Image.Resampling.NEAREST)


def _text(note: str) -> dict:
    info = PngInfo()
    info.add_text(KEY, note)
    return {"pnginfo": info}


def _comment(note: str) -> dict:
    return {"comment": note}


def _description(note: str) -> dict:
    exif = Image.Exif()
    exif[ExifTags.Base.ImageDescription] = note
    return {"exif": exif}


def _still(form: str, noted: Callable, frames: list[Tensor], path: Path, note: str, columns: int, scale: int) -> None:
    grid(frames[-1], columns, scale).save(path, form, **(noted(note) if note else {}))


def _film(frames: list[Tensor], path: Path, note: str, columns: int, scale: int) -> None:
    first, *others = [grid(frame, columns, scale) for frame in frames]
    times = [80] * len(others) + [2000]
    first.save(path, "gif", save_all=True, append_images=others, duration=times, loop=0, **_comment(note))


def _array(frames: list[Tensor], path: Path, note: str, columns: int, scale: int) -> None:
    with path.open("wb") as file:  # given a path, numpy would add a suffix to it
        np.save(file, frames[-1].detach().float().clamp(-1, 1).cpu().numpy())


@dataclass(frozen=True)
class Kind:
    """A kind of file: its suffix, who writes it, its longest side, and whether it shows every step, and a grid."""

    name: str
    write: Callable[[list[Tensor], Path, str, int, int], None]
    longest: float
    film: bool = False
    tiled: bool = True


KINDS = {
    kind.name: kind
    for kind in (
        Kind(".png", partial(_still, "png", _text), 2**31 - 1),
        Kind(".jpg", partial(_still, "jpeg", _comment), 65_500),
        Kind(".webp", partial(_still, "webp", _description), 16_383),
        Kind(".gif", _film, 65_535, film=True),
        Kind(".npy", _array, math.inf, tiled=False),
    )
}


def kind(path: Path, form: str | None = None) -> Kind:
    """What to write there: `form` ("png"), or what the name's suffix says."""
    known = ", ".join(KINDS)
    own, asked = (f".{word}".lower().replace(".jpeg", ".jpg") for word in (path.suffix[1:], form or path.suffix[1:]))
    if asked not in KINDS:
        raise ValueError(f"cannot write {str(path)!r}: the type must be one of {known}")
    if own in KINDS and own != asked:
        raise ValueError(f"cannot write {str(path)!r}: its name says {own}, and --format says {asked}")
    return KINDS[asked]


def check_output(
    path: Path, kind: Kind, shape: tuple[int, int, int] = (1, 1, 1), columns: int = 10, scale: int = 2
) -> None:
    """ValueError unless N pictures of H x W, shape (N, H, W), can be written there as a grid; asked before any work."""
    count, height, width = shape
    sides = min(columns, count) * width * scale, -(-count // columns) * height * scale
    if max(sides) > kind.longest:
        raise ValueError(f"cannot write {str(path)!r}: {sides[0]} x {sides[1]} pixels are too many for a {kind.name}")
    check_writable(path)


def check_writable(path: Path) -> None:
    """ValueError unless a file can be put there, its missing folders included."""
    try:
        if path.is_dir():
            raise ValueError(f"cannot write {str(path)!r}: it is a folder")
        above = next(folder for folder in path.absolute().parents if folder.exists())
    except OSError as error:  # a name that is too long
        raise ValueError(f"cannot write {str(path)!r}: {error.strerror}") from None
    try:
        tempfile.TemporaryFile(dir=above).close()
    except OSError as error:
        raise ValueError(f"cannot write {str(path)!r}: {above} cannot be written to ({error.strerror})") from None


def save(frames: list[Tensor], path: Path, kind: Kind, note: str = "", columns: int = 10, scale: int = 2) -> None:
    """Write frames, each (N, C, H, W) in [-1, 1]: the last as a grid; of a .gif all, the last for two seconds.

    .npy holds the last as it is, clipped: float32 (N, C, H, W), without a note.
    """
    whole(path, lambda beside: kind.write(frames, beside, note, columns, scale))


def note(path: Path) -> str:
    """What `save` noted in a picture, or ""; ValueError if it is no picture."""
    if not path.is_file():
        raise ValueError(f"no picture {str(path)!r}")
    try:
        with Image.open(path) as picture:
            info, exif = picture.info, picture.getexif()
    except Exception as error:  # somebody's bytes can raise anything
        raise ValueError(f"{str(path)!r} is damaged or no picture ({type(error).__name__})") from None
    found = info.get(KEY) or info.get("comment") or exif.get(ExifTags.Base.ImageDescription) or ""
    return found.decode("ascii", "replace") if isinstance(found, bytes) else str(found)
