"""Where pictures come from: torchvision's data sets, CIFAR-10 packed as JPEG files, and a folder of anybody's pictures.

What comes out is always the same: pictures (N, C, H, W) uint8 and labels (N,) int64.
"""

import contextlib
import os
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")  # of files that count as pictures
TESTED = 10  # every such picture of a folder belongs to its test set


@dataclass(frozen=True)
class Source:
    """A published data set of ten classes.

    title  what people call it; what: what its pictures are, in a sentence
    shape  of a picture (C, H, W)
    make   (data folder, split, whether it may be downloaded) -> pictures and labels
    kinds  what each label is called, in one word; empty where the number says it all
    files  where it lies in the data folder if it cannot be downloaded, "{}" for the split
    """

    title: str
    what: str
    shape: tuple[int, int, int]
    make: Callable[[Path, str, bool], tuple[Tensor, Tensor]]
    kinds: tuple[str, ...] = ()
    files: str = ""

    def there(self, root: Path, split: str) -> bool:
        return bool(self.files) and (root / self.files.format(split)).is_file()


def published(kind: str, root: Path, split: str, download: bool) -> tuple[Tensor, Tensor]:
    """A data set of torchvision's; not even the progress bar of its download is seen."""
    from torchvision import datasets  # slow to import, and not needed once there is a cache

    waited = socket.getdefaulttimeout()
    socket.setdefaulttimeout(10)  # torchvision waits for ever
    try:
        with open(os.devnull, "w") as quiet, contextlib.redirect_stderr(quiet), contextlib.redirect_stdout(quiet):
            found = getattr(datasets, kind)(root, train=split == "train", download=download)
    finally:
        socket.setdefaulttimeout(waited)
    images = torch.as_tensor(found.data)
    images = images[:, None] if images.ndim == 3 else images.movedim(-1, 1)  # grey, or (N, H, W, 3)
    return images.contiguous(), torch.as_tensor(found.targets).long()


def unpacked(files: str, root: Path, split: str, download: bool) -> tuple[Tensor, Tensor]:
    """An .npz of JPEG files end to end: jpeg (bytes), offsets (N + 1) and labels (N)."""
    with np.load(root / files.format(split)) as packed:
        jpeg, offsets, labels = packed["jpeg"].tobytes(), packed["offsets"].tolist(), packed["labels"]
    images = np.stack([np.asarray(Image.open(BytesIO(jpeg[a:b])).convert("RGB")) for a, b in zip(offsets, offsets[1:])])
    return torch.from_numpy(images).movedim(-1, 1).contiguous(), torch.from_numpy(labels).long()


PACKED = "cifar10_jpeg/{}.npz"
PHOTOGRAPHED = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
SOURCES = {
    "mnist": Source("MNIST", "real MNIST pictures", (1, 28, 28), partial(published, "MNIST")),
    "fashion": Source("FashionMNIST", "real FashionMNIST pictures", (1, 28, 28), partial(published, "FashionMNIST")),
    "cifar10": Source("CIFAR-10", "real CIFAR-10 pictures", (3, 32, 32), partial(published, "CIFAR10"), PHOTOGRAPHED),
    "cifar10-jpeg": Source(
        "CIFAR-10 as JPEG",
        "CIFAR-10 pictures that went through JPEG compression once",
        (3, 32, 32),
        partial(unpacked, PACKED),
        PHOTOGRAPHED,
        PACKED,
    ),
}


def kinds(name: Any) -> tuple[str, ...]:
    """What the labels of the data set of this name are called; () where they are numbers, or the name is not known."""
    return SOURCES[name].kinds if isinstance(name, str) and name in SOURCES else ()


def gathered(root: Path, split: str, size: int) -> tuple[Tensor, Tensor]:
    """The pictures in a folder and the folders in it: their central squares, resized, in colour.

    The label is the number of the folder that a picture lies in, by name. Every tenth picture is for the test.
    """
    if not root.is_dir():
        raise ValueError(f"data.path: there is no folder {str(root)!r}")
    paths = sorted(path for path in root.rglob("*") if path.suffix.lower() in SUFFIXES)
    mine = [path for i, path in enumerate(paths) if (i % TESTED == 0) == (split == "test")]
    if not mine:
        raise ValueError(f"data.path: {str(root)!r} holds {len(paths)} pictures ({', '.join(SUFFIXES)}): too few")
    kinds = {folder: i for i, folder in enumerate(sorted({path.parent for path in paths}))}
    with ThreadPoolExecutor() as pool:
        images = torch.stack([*pool.map(partial(_squared, size=size), mine)])
    return images, torch.tensor([kinds[path.parent] for path in mine])


def _squared(path: Path, size: int) -> Tensor:
    """(3, size, size) uint8: what is left of a picture when its longer side is cut on both ends."""
    try:
        with Image.open(path) as picture:
            upright = ImageOps.exif_transpose(picture).convert("RGB")
            array = np.asarray(ImageOps.fit(upright, (size, size), Image.Resampling.LANCZOS))
    except Exception as error:  # somebody's bytes can raise anything
        raise ValueError(f"{str(path)!r} is damaged or no picture ({type(error).__name__})") from None
    return torch.from_numpy(array.copy()).movedim(-1, 0)
