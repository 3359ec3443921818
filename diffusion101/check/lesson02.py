"""Lesson 02: turning an embedding, reading the noise off a picture, counting what knowing the time costs."""

import math
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from ..core import process, schedules
from ..data import synthetic
from ..networks import Level, UNet, UNetConfig
from ..networks.embeddings import sinusoidal
from .verdict import UNTRIED, compare, say, tried

__all__ = ["new_parameters", "noise_level", "shift"]


def shift(yours: Callable[[Tensor, int], Tensor]) -> bool | None:
    """yours(e, k): from e (B, width) = sinusoidal(t, width) of an unknown t to sinusoidal(t + k, width)."""
    inputs = [(sinusoidal(torch.tensor([3, 40, 700]), width), k) for width, k in ((16, 5), (32, -2))]
    mistakes = {
        "You turned the hands the wrong way: that is the embedding of t - k.": lambda e, k: _turn(e, -k),
        "Adding k to the embedding does not add k to t: each pair (cos, sin) has to turn by its own angle.": (
            lambda e, k: e + k
        ),
        "The embedding of t plus that of k is not the embedding of t + k: angles add up, their cosines do not.": (
            lambda e, k: e + sinusoidal(torch.tensor([k]), e.shape[1])
        ),
        "Your angles are in degrees: torch.cos and torch.sin take radians.": lambda e, k: _turn(e, math.radians(k)),
        "Your frequencies fall from 1 to 1/e, not to 1/10000: the base is 10000.": (
            lambda e, k: _turn(e, k, base=math.e)
        ),
        "Your frequencies grow: omega is 10000 to a negative power.": lambda e, k: _turn(e, k, sign=1),
        "Your frequencies fall only half as far as they should: i is divided by half the width, h.": (
            lambda e, k: _turn(e, k, base=100.0)
        ),
        "All your frequencies are 1: // is whole-number division, you want /.": lambda e, k: _turn(e, k, base=1.0),
        "Your frequencies reach 1/10000 at the last hand: i is divided by h, not by h - 1.": (
            lambda e, k: _turn(e, k, base=10000 ** (e.shape[1] / (e.shape[1] - 2)))
        ),
        "Your frequencies are those of a width of 128: take the width from e.": (
            lambda e, k: _turn(e, k, base=10000 ** (e.shape[1] / 128))
        ),
        "A sign is wrong: cos(a + b) = cos a cos b - sin a sin b, and sin(a + b) has a plus.": (
            lambda e, k: _turn(e, k, slip=(-1, 1))
        ),
        "A sign is wrong: sin(a + b) = sin a cos b + cos a sin b.": lambda e, k: _turn(e, k, slip=(1, -1)),
        "You took (cos, sin) pairs from neighbouring columns: here all cosines come first, then all sines.": (
            lambda e, k: _interleave(_turn(_gather(e), k))
        ),
        "The values are right, their order is not: all cosines come first, then all sines.": (
            lambda e, k: _interleave(_turn(e, k))
        ),
        "The two halves are swapped: cosines first, then sines.": lambda e, k: _turn(e, k).roll(e.shape[1] // 2, 1),
    }
    done = "Correct: t + k is a rotation of t, the same one for every t, so a linear layer can learn it."
    return compare(yours, _turn, mistakes, *inputs, done=done)


def _turn(e: Tensor, k: float, base: float = 10000.0, sign: int = -1, slip: tuple[int, int] = (1, 1)) -> Tensor:
    h = e.shape[1] // 2
    angle = k * base ** (sign * torch.arange(h) / h)  # (h,)
    cos, sin = e.chunk(2, dim=1)  # (B, h) each
    first = cos * angle.cos() - slip[0] * sin * angle.sin()
    return torch.cat([first, sin * angle.cos() + slip[1] * cos * angle.sin()], dim=1)


def _gather(e: Tensor) -> Tensor:
    return torch.cat([e[:, 0::2], e[:, 1::2]], dim=1)


def _interleave(e: Tensor) -> Tensor:
    return torch.stack(e.chunk(2, dim=1), dim=2).flatten(1)


def noise_level(yours: Callable[[Tensor], Tensor]) -> bool | None:
    """yours(x): from x (B, 1, H, W) of unknown t to the noise in each picture (B,).

    Without a picture behind the noise it has to be within 3 %; a digit's edges may make it up to twice too large.
    """
    pictures, noise = _noisy_pictures()
    answers = []
    for x in pictures:
        answer, sentence = tried(yours, x)
        if sentence:
            return say(None if sentence == UNTRIED else False, sentence)
        if answer.shape != x.shape[:1]:
            told = f"the shape should be {tuple(x.shape[:1])}, yours is {tuple(answer.shape)}"
            return say(False, f"Not yet: one number per picture is wanted, so {told}.")
        answers.append(answer.float())
    each = torch.stack(answers) / noise  # (6, B), of the estimates to the truth
    mixed, (flat, *ratios) = each[0], each[1:].mean(1).tolist()
    if 0.97 < flat < 1.03 and min(ratios) > 0.8 and max(ratios) < 2:
        if mixed.max() > 3 * mixed.min():
            return say(False, "The pictures of a batch differ in t: each needs its own median, not one for all.")
        off = 100 * max(abs(ratio - 1) for ratio in ratios)
        return say(True, f"Correct: within {off:.0f} % at each t tried, without being told t.")
    mistakes = {
        "That is the spread of the whole picture: at small t it measures the digit, not the noise.": (
            lambda x: x.flatten(1).std(1)
        ),
        "A mean or a standard deviation listens to the few large differences at the digit's edge: a median does not.": (
            lambda x: _differences(x).std(1) / 2**0.5
        ),
        "You have a median's cure to find, and a √2: a difference carries the noise of two pixels.": (
            lambda x: _differences(x).std(1)
        ),
        "Too much by √2: a difference of two pixels carries the noise of both.": (
            lambda x: _differences(x).abs().median(1).values / 0.6745
        ),
        "Too little by a third: the median of |d| is 0.6745 of its spread, and that is √2 times (not 2) the noise.": (
            lambda x: _differences(x).abs().median(1).values / 2**0.5
        ),
        "That is the variance, noise²: take the root.": (
            lambda x: (_differences(x).abs().median(1).values / 0.6745).square() / 2
        ),
        "Near by luck: 0.6745 and √2 nearly cancel, to 0.954. Divide the median by both.": (
            lambda x: _differences(x).abs().median(1).values
        ),
    }
    for sentence, mistake in mistakes.items():
        wrong = torch.stack([mistake(x) for x in pictures[1:]]).mean(1) / noise[1:, 0]
        if ((torch.tensor([flat, *ratios]) / wrong - 1).abs() < 0.1).all():
            return say(False, sentence)
    times = ", ".join(f"{ratio:.2f}" for ratio in ratios)
    at = "at t = 20, 50, 200, 500"
    return say(False, f"Not yet: {at} your estimate is {times} times the noise, and of noise alone {flat:.2f} times.")


def _noisy_pictures(n: int = 50) -> tuple[list[Tensor], Tensor]:
    """Batches x (n, 1, 28, 28) and their noise (6, n): digits at mixed times, no digits, digits at four times."""
    s, generator = schedules.linear(), torch.Generator().manual_seed(2)
    x0 = synthetic.draw(torch.arange(n) % 10, generator=generator).float() / 127.5 - 1
    times = torch.stack([torch.linspace(50, 900, n).long(), *(torch.full((n,), t) for t in (500, 20, 50, 200, 500))])
    clean = [x0, torch.full_like(x0, -1), *[x0] * 4]
    x = [process.q_sample(c, t, torch.randn(x0.shape, generator=generator), s) for c, t in zip(clean, times)]
    return x, s.noise[times]


def _differences(x: Tensor) -> Tensor:
    return (x[..., 1:] - x[..., :-1]).flatten(1)


def new_parameters(yours: Callable[[int, int, int], int]) -> bool | None:
    """yours(width, time, blocks): what a UNet of one resolution gains when its time embedding gets `time` columns."""

    def right(width: int, time: int, blocks: int) -> int:
        without = UNetConfig(levels=(Level(width, blocks),))
        count = [sum(p.numel() for p in UNet(c).parameters()) for c in (replace(without, time=time), without)]
        return count[0] - count[1]

    mistakes = {
        "You left out the biases: a linear layer from a to b has a·b + b parameters.": (
            lambda w, t, b: 2 * t * t + 4 * b * t * w
        ),
        "You left out the biases of the blocks' projections.": lambda w, t, b: 2 * t * (t + 1) + 4 * b * t * w,
        "Half is missing: blocks stand on the way up too, and each says a scale and a shift, 2 · width numbers.": (
            lambda w, t, b: 2 * t * (t + 1) + 2 * b * (t + 1) * w
        ),
        "A quarter is there: blocks stand on the way up too, and each says a scale and a shift, 2 · width numbers.": (
            lambda w, t, b: 2 * t * (t + 1) + b * (t + 1) * w
        ),
        "One projection is not enough: every residual block has its own, 2 · blocks of them.": (
            lambda w, t, b: 2 * t * (t + 1) + 2 * (t + 1) * w
        ),
        "The blocks have parts in it too: each has a projection to 2 · width.": lambda w, t, b: 2 * t * (t + 1),
        "You forgot the MLP: two linear layers from time to time.": lambda w, t, b: 4 * b * (t + 1) * w,
        "The MLP has two linear layers, not one.": lambda w, t, b: t * (t + 1) + 4 * b * (t + 1) * w,
        "The frequencies are fixed, not learned: they are no parameters.": (
            lambda w, t, b: 2 * t * (t + 1) + 4 * b * (t + 1) * w + t // 2
        ),
    }
    done = "Correct: most of it sits in the MLP, which runs once per picture and not once per pixel."
    return compare(yours, right, mistakes, (16, 128, 1), (48, 64, 3), done=done)
