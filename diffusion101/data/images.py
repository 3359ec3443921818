"""Pictures as one uint8 tensor on the training device: no worker processes, no Python per picture."""

import contextlib
import os
import socket
import sys
from dataclasses import dataclass
from pathlib import Path
from urllib.error import URLError

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from . import synthetic

SOURCES = {"mnist": "MNIST", "fashion": "FashionMNIST"}  # our name: torchvision's class
NAMES = (*SOURCES, "synthetic")
SYNTHETIC = {"train": (60_000, 1), "test": (10_000, 2)}  # how many, seed


@dataclass(frozen=True)
class Images:
    """A data set. images (N, C, H, W) uint8, labels (N,) int64; name says what it really is, e.g. "synthetic"."""

    name: str
    images: Tensor
    labels: Tensor
    sentence: str  # what a notebook says about it

    def __len__(self) -> int:
        return len(self.images)

    def to(self, device: str | torch.device) -> "Images":
        return Images(self.name, self.images.to(device), self.labels.to(device), self.sentence)

    def pictures(self, index: Tensor | slice = slice(None)) -> Tensor:
        """The pictures at these places as the models see them: (B, C, H, W) float32 in [-1, 1]."""
        return self.images[index].float() / 127.5 - 1

    def batch(self, step: int, size: int, seed: int = 0) -> tuple[Tensor, Tensor]:
        """Batch number `step` of an endless shuffled run: pictures (size, C, H, W) and labels (size,).

        Each epoch is a fresh permutation made from (seed, epoch), so any step can be had without the ones before.
        """
        n = len(self)
        places = torch.arange(step * size, (step + 1) * size)
        orders = {e: self._order(seed, e) for e in range(int(places[0]) // n, int(places[-1]) // n + 1)}
        index = torch.cat([orders[e][places[places // n == e] % n] for e in orders]).to(self.images.device)
        return self.pictures(index), self.labels[index]

    def _order(self, seed: int, epoch: int) -> Tensor:
        if _orders.get("key") != (len(self), seed, epoch):
            g = torch.Generator().manual_seed(1_000_003 * seed + epoch)
            _orders.update(key=(len(self), seed, epoch), order=torch.randperm(len(self), generator=g))
        return _orders["order"]


_orders: dict = {}  # the permutation of the current epoch


def folder() -> Path:
    """DIFFUSION101_DATA, or the user's cache folder."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(os.environ.get("DIFFUSION101_DATA") or cache / "diffusion101").expanduser()


def load(name: str = "mnist", split: str = "train", size: int = 28, stand_in: bool = True) -> Images:
    """ "mnist", "fashion" or "synthetic"; split "train" or "test"; size of the pictures' sides.

    Looks in the cache, then in DIFFUSION101_DATA, then downloads. Where MNIST cannot be had, synthetic digits stand in
    (Images.name tells), or with stand_in=False, and always for FashionMNIST, a ValueError says so.
    """
    if name not in NAMES:
        raise ValueError(f"unknown data {name!r}; there are {', '.join(NAMES)}")
    if split not in ("train", "test"):
        raise ValueError(f"unknown split {split!r}; there are train and test")
    if folder().exists() and not folder().is_dir():
        raise ValueError(f"the data folder {str(folder())!r} is a file; set DIFFUSION101_DATA to a folder")
    cached = folder() / "cache" / f"{name}-{split}.safetensors"
    if name == "synthetic" and size != 28:
        images, labels = synthetic.dataset(SYNTHETIC[split][0], size=size, seed=SYNTHETIC[split][1])
    elif (found := _cached(cached)) is not None:
        images, labels = found
    else:
        try:
            images, labels = _make(name, split)
        except (OSError, RuntimeError, URLError):
            if name != "mnist" or not stand_in:
                raise ValueError(f"{SOURCES[name]} is neither in {folder()} nor can it be downloaded") from None
            return load("synthetic", split, size)
        _keep(cached, images, labels)
    kind = f"real {SOURCES[name]} pictures" if name in SOURCES else "digits drawn on the spot (MNIST could not be had)"
    sentence = f"This notebook uses {len(images):,} {kind}."
    return Images(name, _resize(images, size), labels, sentence)


def _cached(path: Path) -> tuple[Tensor, Tensor] | None:
    """The cache's pictures and labels; None if there is none, or if it was cut short and has to be made again."""
    try:
        found = load_file(path)
        images, labels = found["images"], found["labels"]
    except (OSError, SafetensorError, KeyError):
        return None
    whole = images.ndim == 4 and images.dtype == torch.uint8 and len(images) == len(labels) > 0
    return (images, labels) if whole else None


def _make(name: str, split: str) -> tuple[Tensor, Tensor]:
    if name == "synthetic":
        count, seed = SYNTHETIC[split]
        print(f"Drawing {count:,} digits, once; about {count / 4000:.0f} seconds.", file=sys.stderr)
        return synthetic.dataset(count, seed=seed)
    from torchvision import datasets  # slow to import, and not needed once there is a cache

    waited = socket.getdefaulttimeout()
    socket.setdefaulttimeout(10)  # torchvision waits for ever
    try:
        with open(os.devnull, "w") as quiet, contextlib.redirect_stderr(quiet), contextlib.redirect_stdout(quiet):
            found = getattr(datasets, SOURCES[name])(folder(), train=split == "train", download=True)
    finally:
        socket.setdefaulttimeout(waited)
    return found.data[:, None], found.targets.long()


def _keep(path: Path, images: Tensor, labels: Tensor) -> None:
    """Write the cache, whole or not at all; a read-only folder simply gets none."""
    root = folder()
    if root.exists() and not root.stat().st_mode & 0o222:  # asked of the mode: root may write anywhere
        return
    beside = path.with_suffix(f".{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file({"images": images.contiguous(), "labels": labels}, beside)
        beside.replace(path)
    except OSError:
        beside.unlink(missing_ok=True)


def _resize(images: Tensor, size: int) -> Tensor:
    if images.shape[-1] == size:
        return images
    resize = torch.nn.functional.interpolate
    chunks = [resize(c.float(), size=(size, size), mode="bilinear", antialias=True) for c in images.split(4096)]
    return torch.cat([c.round().clamp(0, 255).byte() for c in chunks])
