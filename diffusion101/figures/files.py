"""Tensors as picture files."""

import tempfile
from pathlib import Path

from PIL import Image
from torch import Tensor

from ..checkpoint import whole
from .tiling import tile

TYPES = {".png": 2**31 - 1, ".jpg": 65_500, ".jpeg": 65_500, ".webp": 16_383, ".gif": 65_535}  # and their longest side


def grid(x: Tensor, columns: int = 10, scale: int = 2) -> Image.Image:
    """Pictures x (N, C, H, W) in [-1, 1], C of 1 or 3, as one picture, each pixel scale x scale times."""
    tiled = tile(x.detach().float().cpu(), columns)
    array = ((tiled.clamp(-1, 1) + 1) * 127.5).round().byte().movedim(0, -1).numpy()  # (H, W, C)
    picture = Image.fromarray(array[:, :, 0] if array.shape[2] == 1 else array)
    return picture.resize((picture.width * scale, picture.height * scale), Image.Resampling.NEAREST)


def check_output(path: Path, shape: tuple[int, int, int] = (1, 1, 1), columns: int = 10, scale: int = 2) -> None:
    """ValueError unless N pictures of H x W, shape (N, H, W), can be written there as a grid; asked before any work."""
    most = TYPES.get(path.suffix.lower())
    if most is None:
        raise ValueError(f"cannot write {str(path)!r}: the type must be one of {', '.join(TYPES)}")
    count, height, width = shape
    sides = min(columns, count) * width * scale, -(-count // columns) * height * scale
    if max(sides) > most:
        raise ValueError(f"cannot write {str(path)!r}: {sides[0]} x {sides[1]} pixels are too many for {path.suffix}")
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


def save(frames: list[Tensor], path: Path, columns: int = 10, scale: int = 2) -> None:
    """The last of frames, each (N, C, H, W) in [-1, 1], as a grid; as .gif all of them, the last for two seconds."""
    if path.suffix.lower() != ".gif":
        picture = grid(frames[-1], columns, scale)
        form = {".jpg": "jpeg"}.get(path.suffix.lower(), path.suffix[1:].lower())
        return whole(path, lambda beside: picture.save(beside, format=form))
    grids = [grid(frame, columns, scale) for frame in frames]
    times = [80] * (len(grids) - 1) + [2000]
    whole(path, lambda f: grids[0].save(f, "gif", save_all=True, append_images=grids[1:], duration=times, loop=0))
