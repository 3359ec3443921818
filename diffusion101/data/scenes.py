"""Pictures of scenes: real digits in colour on black, made on the spot, with captions that may say less than all."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from random import Random

import torch
import torch.nn.functional as F
from torch import Tensor

from .captions import PLACES, Scene, caption, draw, forget
from .handwriting import bold, slant, thin
from .images import Images

COLOURS = {  # red, green and blue, from 0 to 1
    "red": (1.0, 0.15, 0.15),
    "green": (0.1, 0.85, 0.2),
    "blue": (0.2, 0.35, 1.0),
    "yellow": (1.0, 0.9, 0.1),
    "purple": (0.75, 0.2, 1.0),
    "white": (1.0, 1.0, 1.0),
}
# Of a picture 32 pixels wide: the longer side of the digit, and how far from the middle it stands when left or right.
SIZES = {"small": (13.0, 8.5), "big": (20.0, 5.5)}
SHAKE = 0.5  # how far from there it may stray, in the same pixels
HANDS = {"thin": thin, "bold": bold, "slanted": partial(slant, amount=-0.4)}  # a negative slant leans to the right
INK = 0.25  # a pixel brighter than this belongs to a stroke


@dataclass(frozen=True)
class Scenes:
    """A stream of scenes made from single digits; `batch` as in Images, with captions in the labels' place.

    digits  where the digits come from
    read    turns captions into what the model is told: a condition's parse
    things  1: every scene has one digit; 2: every second one has two
    side    height and width of a picture
    """

    digits: Images
    read: Callable[[Sequence[str]], Tensor]
    things: int = 1
    side: int = 32

    def batch(self, step: int, size: int, seed: int = 0) -> tuple[Tensor, Tensor]:
        """Pictures (size, 3, side, side) in [-1, 1] and what their captions say, as `read` gives it.

        Nothing held out is among them. Any step can be had without the ones before.
        """
        random = Random(1_000_003 * seed + step)
        scenes = self.draw(random, size)
        told = self.read([self.say(scene, random) for scene in scenes])
        x0 = render(scenes, self.digits, torch.Generator().manual_seed(1_000_003 * seed + step), self.side)
        return x0, told.to(x0.device)

    def draw(self, random: Random, size: int) -> list[Scene]:
        """The scenes of a batch."""
        return [draw(random, 1 + i % self.things) for i in range(size)]

    def say(self, scene: Scene, random: Random) -> str:
        """What the model is told of a scene."""
        return caption(forget(scene, random), random)


def render(scenes: Sequence[Scene], digits: Images, generator: torch.Generator, side: int = 32) -> Tensor:
    """Pictures (N, 3, side, side) in [-1, 1] of scenes in which nothing is left unsaid, on the digits' device."""
    things = [thing for scene in scenes for thing in scene]
    owner = torch.tensor([i for i, scene in enumerate(scenes) for _ in scene])
    index = digits.examples(torch.tensor([thing.digit for thing in things]), generator)
    ink = digits.images[index].float() / 255  # (M, 1, h, w)
    for hand, write in HANDS.items():
        some = torch.tensor([thing.hand == hand for thing in things], device=ink.device)
        ink[some] = write(ink[some]) if some.any() else ink[some]
    size = torch.tensor([SIZES[thing.size] for thing in things]) * side / 32  # (M, 2)
    place = torch.tensor([PLACES[thing.place] for thing in things])  # (M, 2), x and y
    shake = (torch.rand(len(things), 2, generator=generator) * 2 - 1) * SHAKE * side / 32
    centre = side / 2 + place * size[:, 1:] + shake
    ink = put(ink, centre.to(ink), size[:, 0].to(ink), side)  # (M, 1, side, side)
    colour = torch.tensor([COLOURS[thing.colour] for thing in things]).to(ink)
    canvas = ink.new_zeros(len(scenes), 3, side, side)
    canvas.index_add_(0, owner.to(ink.device), colour[:, :, None, None] * ink)
    return canvas.clamp(max=1) * 2 - 1


def put(ink: Tensor, centre: Tensor, size: Tensor, side: int) -> Tensor:
    """Each digit of ink (M, 1, h, w) in [0, 1] on a field of its own (M, 1, side, side).

    centre (M, 2): where the middle of its box goes, x and y in pixels; size (M,): its box's longer side.
    """
    low, high = box(ink[:, 0])
    zoom = (high - low).amax(1) / size  # pixels of the digit per pixel of the field
    ink = window(ink, (low + high) / 2, centre, zoom, 2 * side, side)
    ink = F.avg_pool2d(ink, 2)
    return (ink / ink.amax((1, 2, 3), keepdim=True).clamp(min=INK)).clamp(0, 1)


def box(ink: Tensor) -> tuple[Tensor, Tensor]:
    """The box around the strokes of ink (M, h, w): its corners top left and bottom right, (M, 2) each, x then y.

    Edges, not centres, of pixels: a single stroke pixel has a box of 1 x 1. Without any stroke: all of the picture.
    """
    low, high = [], []
    for dim in (1, 2):  # over the rows for x, over the columns for y
        there = (ink > INK).any(dim).float()  # (M, w or h)
        low.append(there.argmax(1))
        high.append(there.shape[1] - there.flip(1).argmax(1))
    return torch.stack(low, 1).to(ink), torch.stack(high, 1).to(ink)


def window(x: Tensor, here: Tensor, there: Tensor, zoom: Tensor, points: int, side: float) -> Tensor:
    """x (M, C, h, w) seen through a window of points x points, `side` pixels wide; outside of x is 0.

    The place `here` (M, 2) of x, in pixels from its top left corner, comes to the place `there` of the window, and
    zoom (M,) pixels of x make one of the window's.
    """
    whole = x.new_tensor([x.shape[3], x.shape[2]])
    middle = 2 * (here + (side / 2 - there) * zoom[:, None]) / whole - 1  # (M, 2), as affine_grid counts
    theta = torch.cat([torch.diag_embed(zoom[:, None] * side / whole), middle[:, :, None]], dim=2)  # (M, 2, 3)
    grid = F.affine_grid(theta, [len(x), 1, points, points], align_corners=False)
    return F.grid_sample(x, grid, align_corners=False)
