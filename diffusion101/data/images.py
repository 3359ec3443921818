"""Pictures as one uint8 tensor on the training device: no worker processes, no Python per picture."""

import contextlib
import os
import sys
import zipfile
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from ..writing import whole
from . import synthetic
from .sources import SOURCES, gathered

SHAPES = {name: source.shape for name, source in SOURCES.items()}  # (C, H, W), as published or by default
SHAPES |= {"synthetic": (1, 28, 28), "synthetic-colour": (3, 32, 32), "folder": (3, 64, 64)}
NAMES = tuple(SHAPES)
STAND_INS = {"mnist": ("synthetic",), "cifar10": ("cifar10-jpeg", "synthetic-colour")}  # the first that is at hand
DRAWN = {"synthetic": synthetic.dataset, "synthetic-colour": synthetic.coloured}
SYNTHETIC = {"train": (60_000, 1), "test": (10_000, 2)}  # how many, seed

# no network, or a file cut short
UNREADABLE = (OSError, RuntimeError, ValueError, AssertionError, KeyError, EOFError, zipfile.BadZipFile)


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

    def examples(self, labels: Tensor, generator: torch.Generator) -> Tensor:
        """Where to find a random picture of each of these labels: places of the same shape, on the data's device."""
        order, starts, counts = self._by_label
        labels = labels.to(order.device)
        which = torch.rand(labels.shape, generator=generator).to(order.device)
        return order[starts[labels] + (which * counts[labels]).long()]

    @cached_property
    def _by_label(self) -> tuple[Tensor, Tensor, Tensor]:
        """All places, sorted by label (N,); where each label starts there, and how many pictures it has."""
        counts = torch.bincount(self.labels, minlength=10)
        return self.labels.argsort(stable=True), counts.cumsum(0) - counts, counts

    def batch(self, step: int, size: int, seed: int = 0) -> tuple[Tensor, Tensor]:
        """Batch number `step` of an endless shuffled run: pictures (size, C, H, W) and labels (size,).

        Each epoch is a fresh permutation made from (seed, epoch), so any step can be had without the ones before.
        """
        n = len(self)
        places = torch.arange(step * size, (step + 1) * size)
        orders = {e: _order(n, seed, e) for e in range(int(places[0]) // n, int(places[-1]) // n + 1)}
        index = torch.cat([orders[e][places[places // n == e] % n] for e in orders]).to(self.images.device)
        return self.pictures(index), self.labels[index]


@dataclass(frozen=True)
class Flipped:
    """Images shown as they are or mirrored, left to right, at equal odds; any step without the ones before."""

    images: Images

    def batch(self, step: int, size: int, seed: int = 0) -> tuple[Tensor, Tensor]:
        x0, labels = self.images.batch(step, size, seed)
        generator = torch.Generator().manual_seed(1_000_003 * seed + step)
        mirrored = torch.rand(size, 1, 1, 1, generator=generator) < 0.5
        return torch.where(mirrored.to(x0.device), x0.flip(3), x0), labels


@lru_cache(maxsize=8)
def _order(n: int, seed: int, epoch: int) -> Tensor:
    return torch.randperm(n, generator=torch.Generator().manual_seed(1_000_003 * seed + epoch))


def folder() -> Path:
    """DIFFUSION101_DATA, or the user's cache folder."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(os.environ.get("DIFFUSION101_DATA") or cache / "diffusion101").expanduser()


def load(
    name: str = "mnist", split: str = "train", size: int | None = None, stand_in: bool = True, path: str | None = None
) -> Images:
    """A data set of NAMES; split "train" or "test"; size of the pictures' sides, None: as published.

    Looks in the cache, then in DIFFUSION101_DATA, then downloads. Where MNIST cannot be had, synthetic digits stand in,
    and for CIFAR-10 the same pictures as JPEG if they are in DIFFUSION101_DATA, else synthetic digits in colour
    (Images.name tells); with stand_in=False, and always for FashionMNIST, a ValueError says so. path of "folder": where
    it is, seen from DIFFUSION101_DATA.
    """
    if name not in NAMES:
        raise ValueError(f"unknown data {name!r}; there are {', '.join(NAMES)}")
    if split not in ("train", "test"):
        raise ValueError(f"unknown split {split!r}; there are train and test")
    if folder().exists() and not folder().is_dir():
        raise ValueError(f"the data folder {str(folder())!r} is a file; set DIFFUSION101_DATA to a folder")
    size = SHAPES[name][1] if size is None else size
    if name == "folder":
        if not path:
            raise ValueError("the data set folder needs data.path: where the pictures are")
        images, labels = gathered(folder() / Path(path).expanduser(), split, size)
        return Images(name, images, labels, f"This notebook uses {len(images):,} pictures from a folder.")
    cached = folder() / "cache" / f"{name}-{split}.safetensors"
    if name in DRAWN and size != SHAPES[name][1]:
        images, labels = DRAWN[name](SYNTHETIC[split][0], size=size, seed=SYNTHETIC[split][1])
    elif (found := _cached(cached, SHAPES[name])) is not None:
        images, labels = found
    else:
        others = STAND_INS.get(name, ()) if stand_in else ()
        other = next((o for o in others if o in DRAWN or SOURCES[o].there(folder(), split)), None)
        try:
            images, labels = _make(name, split, download=other not in SOURCES)  # what is at hand spares a download
        except UNREADABLE:
            title = SOURCES[name].title
            if cached.exists():
                raise ValueError(f"{cached} is damaged, and {title} cannot be had to make it again") from None
            if other is None:
                raise ValueError(f"{title} is neither in {folder()} nor can it be downloaded") from None
            found = load(other, split, size)
            return replace(found, sentence=f"{found.sentence[:-1]} ({title} could not be had).")
        _keep(cached, images, labels)
    what = SOURCES[name].what if name in SOURCES else "digits drawn on the spot"
    return Images(name, _resize(images, size), labels, f"This notebook uses {len(images):,} {what}.")


def _cached(path: Path, shape: tuple[int, int, int]) -> tuple[Tensor, Tensor] | None:
    """The cache's pictures and labels; None if there is none, or if it is damaged and has to be made again."""
    try:
        found = load_file(path)
        images, labels = found["images"], found["labels"]
    except (OSError, SafetensorError, KeyError):
        return None
    types = (images.dtype, labels.dtype) == (torch.uint8, torch.int64)
    shapes = images.shape[1:] == shape and labels.shape == images.shape[:1] and len(labels) > 0
    return (images, labels) if types and shapes and 0 <= labels.min() and labels.max() <= 9 else None


def _make(name: str, split: str, download: bool) -> tuple[Tensor, Tensor]:
    if name not in DRAWN:
        return SOURCES[name].make(folder(), split, download)
    count, seed = SYNTHETIC[split]
    print(f"Drawing {count:,} digits, once; about {count / 4000:.0f} seconds.", file=sys.stderr)
    return DRAWN[name](count, seed=seed)


def _keep(path: Path, images: Tensor, labels: Tensor) -> None:
    """Write the cache, whole or not at all; a read-only folder simply gets none."""
    root = folder()
    if root.exists() and not root.stat().st_mode & 0o222:  # asked of the mode: root may write anywhere
        return
    with contextlib.suppress(ValueError):  # a full disk
        whole(path, lambda beside: save_file({"images": images.contiguous(), "labels": labels}, beside))


def _resize(images: Tensor, size: int) -> Tensor:
    if images.shape[-1] == size:
        return images
    resize = torch.nn.functional.interpolate
    chunks = [resize(c.float(), size=(size, size), mode="bilinear", antialias=True) for c in images.split(4096)]
    return torch.cat([c.round().clamp(0, 255).byte() for c in chunks])
