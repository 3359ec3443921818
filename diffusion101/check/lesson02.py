"""Lesson 02: turning an embedding, reading the noise off a picture, counting what knowing the time costs."""

import math

import torch
from torch import Tensor

from ..core import process, schedules
from ..networks.embeddings import sinusoidal
from .exercise import exercise, normal

__all__ = ["new_parameters", "noise_level", "shift"]


@exercise(
    cases=lambda: [(sinusoidal(torch.tensor([3, 40, 700]), width), k) for width, k in ((16, 5), (32, -2))],
    done="Correct: t + k is a rotation of t, the same one for every t, so a linear layer can learn it.",
    mistakes={
        "You turned the hands the wrong way: that is the embedding of t - k.": dict(turn=lambda k: -k),
        "Your angles are in degrees: torch.cos and torch.sin take radians.": dict(turn=math.radians),
        "Every hand turns by k times its own omega: you left k out.": dict(turn=lambda k: 1),
        "Adding k to e does not add k to t: each pair (cos, sin) turns by its own angle.": lambda e, k: e + k,
        "Angles add up, their cosines and sines do not.": lambda e, k: e + sinusoidal(torch.tensor([k]), e.shape[1]),
        "Your frequencies fall from 1 to 1/e, not to 1/10000: the base is 10000.": dict(omega="e"),
        "Your frequencies grow: omega is 10000 to a negative power.": dict(omega="grows"),
        "Your frequencies fall only half as far as they should: i is divided by half the width, h.": dict(omega="half"),
        "All your frequencies are 1: // is whole-number division, you want /.": dict(omega="ones"),
        "Your frequencies are 1 and then 1/10000 at once: // is whole-number division, you want /.": dict(omega="two"),
        "Your frequencies reach 1/10000 at the last hand: i is divided by h, not by h - 1.": dict(omega="h - 1"),
        "Your frequencies are those of a width of 128: take the width from e.": dict(omega="128"),
        "A sign is wrong: cos(a + b) = cos a cos b - sin a sin b.": dict(first=-1),
        "A sign is wrong: sin(a + b) = sin a cos b + cos a sin b.": dict(second=-1),
        "You took neighbouring columns for (cos, sin): all cosines come first, then all sines.": dict(order="||"),
        "The values are right, their order is not: all cosines come first, then all sines.": dict(order="-|"),
        "The two halves are swapped: cosines first, then sines.": dict(order="sin"),
    },
)
def shift(e: Tensor, k: int, turn=lambda k: k, omega="", first=1, second=1, order="") -> Tensor:
    """shift(e, k): from e (B, width) = sinusoidal(t, width) of an unknown t to sinusoidal(t + k, width)."""
    h = e.shape[1] // 2
    i = torch.arange(h)
    powers = {"e": -i / h / math.log(10000), "grows": i / h, "half": -i / (2 * h), "ones": 0 * i}
    powers |= {"two": -(i > 0).int(), "h - 1": -i / (h - 1), "128": -i / 64}
    angle = turn(k) * 10000.0 ** powers.get(omega, -i / h)  # (h,)
    cos, sin = (e[:, 0::2], e[:, 1::2]) if order == "||" else e.chunk(2, dim=1)  # (B, h) each
    cos, sin = cos * angle.cos() - first * sin * angle.sin(), sin * angle.cos() + second * cos * angle.sin()
    return torch.stack([cos, sin], 2).flatten(1) if "|" in order else torch.cat([cos, sin][:: -1 if order else 1], 1)


def _photographs() -> Tensor:
    """(4, 1, 192, 192) at four times: a bright corner, so that two rims are picture and edges are few."""
    x0 = torch.full((4, 1, 192, 192), -1.0)
    x0[..., :64, :64] = 1
    return process.q_sample(x0, torch.tensor([20, 100, 300, 700]), normal(*x0.shape, seed=2), schedules.linear())


SPREADS = {  # of differences d (B, N), times 0.6745
    "median": lambda d: d.abs().median(1).values,
    "signed": lambda d: d.median(1).values,
    "mean": lambda d: d.abs().mean(1),
    "std": lambda d: 0.6745 * d.std(1),
    "all": lambda d: d.abs().median().expand(len(d)),
}


def _rim(x: Tensor) -> Tensor:
    return torch.cat([x[..., 0], x[..., -1], x[..., 0, :], x[..., -1, :]], -1).flatten(1)


@exercise(
    cases=lambda: [(_photographs(),)],
    done="Correct: within 2.5 % in every picture, without being told t.",
    within=0.025,  # a median of so many differences is sure to 1 %
    mistakes={
        "That is the spread of the whole picture, of what it shows, too.": lambda x: x.flatten(1).std(1),
        "You read it off the rim, but photographs have no black one.": lambda x: _rim(x).std(1),
        "A standard deviation hears the few large differences at edges: a median does not.": dict(of="std"),
        "A mean hears the few large differences at edges: a median does not.": dict(of="mean"),
        "The pictures of a batch differ in t: each needs its own median, not one for all.": dict(of="all"),
        "That is the median of d, near 0: you want that of |d|.": dict(of="signed"),
        "Too much by √2: a difference of two pixels carries the noise of both.": dict(root=1),
        "Too little by √2: the noise of two pixels is √2 times that of one, not 2 times.": dict(root=2),
        "Too little: the median of |d| is 0.6745 of its spread, so divide by that, too.": dict(middle=1),
        "Near by luck: 0.6745 and √2 nearly cancel, to 0.954, so divide the median by both.": dict(middle=1, root=1),
        "You multiplied by 0.6745: the spread is larger than the median of |d|, so divide.": dict(middle=1 / 0.6745),
        "You multiplied by √2: the noise of one pixel is less than that of two, so divide.": dict(root=0.5**0.5),
        "That is the variance, noise²: take the root.": dict(power=2),
    },
)
def noise_level(x: Tensor, middle=0.6745, root=2**0.5, power=1, of="median") -> Tensor:
    """noise_level(x): from x (B, 1, H, W) of unknown t to the noise in each picture (B,)."""
    return (SPREADS[of]((x[..., 1:] - x[..., :-1]).flatten(1)) / middle / root) ** power


@exercise(
    cases=lambda: [(16, 128, 1), (48, 64, 3)],
    done="Correct: most of it sits in the MLP, which runs once per picture and not once per pixel.",
    within=0,
    mistakes={
        "You left out the biases of the blocks' projections.": dict(said=0),
        "You left out the biases of the MLP: a linear layer from a to b has a·b + b parameters.": dict(own=0),
        "Half is missing: blocks stand on the way up too, and each says a scale and a shift.": dict(blocks_each=2),
        "A quarter is there: blocks stand on the way up too, and each says a scale and a shift.": dict(blocks_each=1),
        "One projection is not enough: every residual block has its own, 2 · blocks of them.": dict(shared=True),
        "The blocks have parts in it too: each has a projection to 2 · width.": dict(blocks_each=0),
        "You forgot the MLP: two linear layers from time to time.": dict(layers=0),
        "The MLP has two linear layers, not one.": dict(layers=1),
        "The frequencies are fixed, not learned: they are no parameters.": dict(fixed=1),
        "The blocks share one MLP: not each of them has its own.": lambda w, t, b: 4 * b * (t + 1) * (t + w),
    },
)
def new_parameters(width: int, time: int, blocks: int, layers=2, own=1, said=1, blocks_each=4, shared=False, fixed=0):
    """new_parameters(width, time, blocks): what a time embedding of `time` columns adds to a UNet."""
    hearing = 2 if shared else blocks_each * blocks
    return layers * time * (time + own) + hearing * width * (time + said) + fixed * time // 2
