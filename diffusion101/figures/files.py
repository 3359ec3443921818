"""Tensors as picture files."""

import os
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from ..checkpoint import whole
from .tiling import tile

TYPES = (".png", ".jpg", ".jpeg", ".webp", ".gif")


def grid(x: Tensor, columns: int = 10, scale: int = 2) -> Image.Image:
    """Pictures x (N, C, H, W) in [-1, 1], C of 1 or 3, as one picture, each pixel scale x scale times."""
    tiled = tile(x.detach().float().cpu(), columns)
    array = ((tiled.clamp(-1, 1) + 1) * 127.5).round().byte().movedim(0, -1).numpy()  # (H, W, C)
    picture = Image.fromarray(array[:, :, 0] if array.shape[2] == 1 else array)
    return picture.resize((picture.width * scale, picture.height * scale), Image.Resampling.NEAREST)


def check_output(path: Path) -> None:
    """ValueError unless a picture can be written there; asked before the work that makes the picture."""
    if path.suffix.lower() not in TYPES:
        raise ValueError(f"cannot write {str(path)!r}: the type must be one of {', '.join(TYPES)}")
    check_writable(path)


def check_writable(path: Path) -> None:
    """ValueError unless a file can be put there, its missing folders included."""
    if path.is_dir():
        raise ValueError(f"cannot write {str(path)!r}: it is a folder")
    above = next(folder for folder in path.absolute().parents if folder.exists())
    if not above.is_dir() or not os.access(above, os.W_OK):
        raise ValueError(f"cannot write {str(path)!r}: {above} is not a folder that can be written to")


def save(frames: list[Tensor], path: Path, columns: int = 10, scale: int = 2) -> None:
    """The last of frames, each (N, C, H, W) in [-1, 1], as a grid; as .gif all of them, the last for two seconds."""
    if path.suffix.lower() != ".gif":
        picture = grid(frames[-1], columns, scale)
        form = {".jpg": "jpeg"}.get(path.suffix.lower(), path.suffix[1:].lower())
        return whole(path, lambda beside: picture.save(beside, format=form))
    grids = [grid(frame, columns, scale) for frame in frames]
    times = [80] * (len(grids) - 1) + [2000]
    whole(path, lambda f: grids[0].save(f, "gif", save_all=True, append_images=grids[1:], duration=times, loop=0))
