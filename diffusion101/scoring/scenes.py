"""Judging scenes: where the things are, their colours and sizes by arithmetic, which digits by the classifier."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations

import torch
import torch.nn.functional as F
from torch import Tensor

from ..data.captions import PLACES, Scene, Thing
from ..data.scenes import COLOURS, INK, SIZES, box, window
from .classifier import Classifier
from .judge import judge

ASIDE = 3.0  # pixels of 32: from here a thing is no longer in the middle
ASKED = ("digit", "colour", "place")  # what counts as drawing what was said; the size is told apart


@dataclass(frozen=True)
class Found:
    """What was found of N things: digits (N,) int64, and the names of their colours, places and sizes."""

    digit: Tensor
    colour: list[str]
    place: list[str]
    size: list[str]

    def thing(self, i: int) -> Thing:
        return Thing(int(self.digit[i]), self.colour[i], self.size[i], self.place[i])


def look(classifier: Classifier, x: Tensor) -> Found:
    """What the thing in each picture x (N, 3, side, side) in [-1, 1] is; whatever is bright belongs to it."""
    side, light = x.shape[-1], (x + 1) / 2
    ink = light.amax(1)  # (N, side, side)
    low, high = box(ink)
    hue = (light * (ink > INK)[:, None]).sum((2, 3))  # (N, 3)
    table = torch.tensor([*COLOURS.values()]).to(x)
    colour = (F.normalize(hue, dim=1) @ F.normalize(table, dim=1).T).argmax(1)  # the smallest angle
    aside = ((low + high) / 2 - side / 2) * 32 / side
    step = (aside > ASIDE).long() - (aside < -ASIDE).long()  # (N, 2), -1, 0 or 1
    places = {where: name for name, where in PLACES.items()}
    length = (high - low).amax(1)
    between = (SIZES["small"][0] + SIZES["big"][0]) / 2 * side / 32
    return Found(
        judge(classifier, crop(ink, length))[0].argmax(1),
        [[*COLOURS][i] for i in colour.tolist()],
        [places[tuple(where)] for where in step.tolist()],
        ["big" if big else "small" for big in (length > between).tolist()],
    )


def crop(ink: Tensor, length: Tensor) -> Tensor:
    """Strokes ink (N, side, side), their longer sides (N,) -> (N, 1, 28, 28) in [-1, 1], framed as MNIST's digits are.

    20 pixels for the longer side, the centre of mass in the middle (LeCun et al. 1998, section III A).
    """
    n, side = ink.shape[:2]
    mass = ink * (ink > INK)
    along = torch.arange(side, device=ink.device) + 0.5
    middle = torch.stack([(mass.sum(1) * along).sum(1), (mass.sum(2) * along).sum(1)], 1)  # (N, 2), x and y
    middle = middle / mass.sum((1, 2)).clamp(min=1e-6)[:, None]
    digit = window(ink[:, None], middle, torch.full_like(middle, 14.0), length / 20, 28, 28)
    return (digit / digit.amax((1, 2, 3), keepdim=True).clamp(min=INK)).clamp(0, 1) * 2 - 1


def parted(x: Tensor, rounds: int = 10) -> tuple[Tensor, Tensor]:
    """Pictures (N, 3, side, side) of two things as two pictures of one thing: each pixel goes to the nearer centre.

    2-means of the bright pixels' places (Lloyd 1982), begun on both sides of the middle along the longest spread.
    """
    side = x.shape[-1]
    light = (x + 1) / 2
    weight = (light.amax(1) * (light.amax(1) > INK)).flatten(1)  # (N, P)
    y, x_ = torch.meshgrid(*[torch.arange(side, device=x.device).to(x) + 0.5] * 2, indexing="ij")
    places = torch.stack([x_, y], -1).view(1, -1, 2)  # (1, P, 2)

    def mean(weight: Tensor) -> Tensor:
        return (weight[..., None] * places).sum(1) / weight.sum(1).clamp(min=1e-6)[:, None]

    middle = mean(weight)
    apart = places - middle[:, None]
    spread = (weight[:, None] * apart.mT) @ apart / weight.sum(1).clamp(min=1e-6)[:, None, None]  # (N, 2, 2)
    values, vectors = torch.linalg.eigh(spread)
    step = vectors[:, :, 1] * values[:, 1:].clamp(min=1e-6).sqrt()
    one, two = middle - step, middle + step
    for _ in range(rounds):
        first = (places - one[:, None]).square().sum(-1) < (places - two[:, None]).square().sum(-1)  # (N, P)
        one, two = mean(weight * first), mean(weight * ~first)
    mine = first.view(-1, 1, side, side)
    return torch.where(mine, x, -1), torch.where(mine, -1, x)
