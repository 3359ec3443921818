"""Lesson 02: the embedding, scale and shift, turning an embedding, noise read off a picture, the price of knowing t."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from ..core import process, schedules
from ..networks.embeddings import sinusoidal
from .exercise import exercise, normal

__all__ = ["embed", "later", "modulate", "new_parameters", "noise_level"]


POWERS = {  # of the base, for hand i of h
    "": lambda i, h: -i / h,
    "grows": lambda i, h: i / h,
    "width": lambda i, h: -i / (2 * h),
    "h - 1": lambda i, h: -i / (h - 1),
    "//": lambda i, h: -(i // h),
    "-//": lambda i, h: -i // h,
    "i": lambda i, h: -i,
    "64": lambda i, h: -i / 64,
}


@exercise(
    cases=lambda: [(torch.tensor([0, 1, 3]), width) for width in (8, 16)],
    done="Correct: a hand for each omega, its cosine and its sine.",
    within=0.01,  # large angles in float32 are not exact
    mistakes={
        "Your hands stand at t, not at omega t: you left the frequencies out.": dict(power="//"),
        "Your frequencies are 1 and then 1/10000 at once: // is whole-number division, you want /.": dict(power="-//"),
        "Your frequencies grow: omega is 10000 to a negative power.": dict(power="grows"),
        "Your frequencies fall only half as far as they should: i is divided by half the width, h.": dict(
            power="width"
        ),
        "Your frequencies reach 1/10000 at the last hand: i is divided by h, not by h - 1.": dict(power="h - 1"),
        "Each hand of yours is 10000 times slower than the one before: i is to be divided by h.": dict(power="i"),
        "Your frequencies are those of a width of 128: take h from the width you are given.": dict(power="64"),
        "Your frequencies fall from 1 to 1/e, not to 1/10000: the base is 10000.": dict(base=math.e),
        "Your angles are in degrees: torch.cos and torch.sin take radians.": dict(unit=math.pi / 180),
        "A full turn is in your angles: hand i stands at omega t, without 2 pi.": dict(unit=2 * math.pi),
        "t is not divided by 1000 here: hand 0 is to move by one radian in a step.": dict(unit=1 / 1000),
        "Your hands turn backwards: the angle is omega t, with plus.": dict(unit=-1),
        "The two halves are swapped: cosines first, then sines.": dict(order="sin"),
        "The values are right, their order is not: all cosines come first, then all sines.": dict(order="||"),
        "The order is that of Vaswani et al., sine and cosine in turn: here all cosines come first.": dict(
            order="sin||"
        ),
        "Both halves are cosines: the second one is to be sines.": dict(order="cos cos"),
        "Both halves are sines: the first one is to be cosines.": dict(order="sin sin"),
    },
)
def embed(t: Tensor, width: int, power="", base=10000.0, unit=1.0, order="") -> Tensor:
    """embed(t, width): whole times t (B,) to their embedding (B, width), all cosines and then all sines."""
    h = width // 2
    angle = unit * t[:, None] * base ** POWERS[power](torch.arange(h, dtype=torch.float64), h)  # (B, h)
    halves = [angle.cos(), angle.sin()]
    halves = halves[::-1] if order in ("sin", "sin||") else halves
    halves = {"cos cos": halves[:1] * 2, "sin sin": halves[1:] * 2}.get(order, halves)
    return torch.stack(halves, 2).flatten(1) if order.endswith("||") else torch.cat(halves, 1)


@exercise(
    cases=lambda: [tuple(normal(*shape, seed=i) for i, shape in enumerate(((3, 4, 5, 6), (3, 7), (8, 7), (8,))))],
    done="Correct: two numbers for each channel, the same at every pixel.",
    mistakes={
        "You forgot the 1: h is stretched by 1 + scale, so that a scale of 0 changes nothing.": dict(born=0),
        "You forgot the SiLU of emb.": dict(act=lambda a: a),
        "You took a ReLU of emb: the formula has a SiLU.": dict(act=F.relu),
        "You took a sigmoid of emb: SiLU is a times its sigmoid.": dict(act=torch.sigmoid),
        "The SiLU belongs to emb, before the linear layer and not after it.": dict(act=lambda a: a, after=F.silu),
        "You forgot the bias b.": dict(bias=0),
        "Scale and shift are exchanged: the first C numbers are the scales.": dict(order="swapped"),
        "You took every second number: the first C are the scales, the last C the shifts.": dict(order="every second"),
        "You forgot the shift.": dict(moved=0),
        "You forgot the scale.": dict(stretched=0),
        "The shift has the wrong sign: it is added.": dict(moved=-1),
        "The scale has the wrong sign: h is stretched by 1 + scale.": dict(stretched=-1),
        "First stretch, then shift: in yours the shift is stretched, too.": dict(first="shift"),
    },
)
def modulate(
    h: Tensor,
    emb: Tensor,
    W: Tensor,
    b: Tensor,
    born=1,
    act=F.silu,
    after=None,
    bias=1,
    order="",
    moved=1,
    stretched=1,
    first="",
) -> Tensor:
    """modulate(h, emb, W, b): h (B, C, H, W) stretched by 1 + scale and moved by shift, which are W silu(emb) + b."""
    both = act(emb) @ W.T + bias * b  # (B, 2C)
    both = (after(both) if after else both)[:, :, None, None]
    scale, shift = (both[:, 0::2], both[:, 1::2]) if order == "every second" else both.chunk(2, dim=1)  # (B, C, 1, 1)
    scale, shift = (shift, scale) if order == "swapped" else (scale, shift)
    if first == "shift":
        return (h + moved * shift) * (born + stretched * scale)
    return h * (born + stretched * scale) + moved * shift


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
def later(e: Tensor, k: int, turn=lambda k: k, omega="", first=1, second=1, order="") -> Tensor:
    """later(e, k): from e (B, width) = sinusoidal(t, width) of an unknown t to sinusoidal(t + k, width)."""
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
