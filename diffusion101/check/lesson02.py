"""Lesson 02: turning an embedding, reading the noise off a picture, counting what knowing the time costs."""

import math
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from .. import process, schedules, strokes
from ..networks import UNet, UNetConfig
from ..networks.embeddings import sinusoidal
from .verdict import compare, say

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


def _turn(e: Tensor, k: float, base: float = 10000.0, sign: int = -1) -> Tensor:
    h = e.shape[1] // 2
    angle = k * base ** (sign * torch.arange(h) / h)  # (h,)
    cos, sin = e.chunk(2, dim=1)  # (B, h) each
    return torch.cat([cos * angle.cos() - sin * angle.sin(), sin * angle.cos() + cos * angle.sin()], dim=1)


def _gather(e: Tensor) -> Tensor:
    return torch.cat([e[:, 0::2], e[:, 1::2]], dim=1)


def _interleave(e: Tensor) -> Tensor:
    return torch.stack(e.chunk(2, dim=1), dim=2).flatten(1)


def noise_level(yours: Callable[[Tensor], Tensor]) -> bool | None:
    """yours(x): from x (B, 1, H, W) of unknown t to the noise in each picture (B,); 0.8 to 1.3 times it will do."""
    pictures, noise = _noisy_pictures()
    answers = []
    for x in pictures:
        try:
            answer = yours(x)
        except Exception as error:  # the learner's own: say it, whatever it is
            return say(False, f"Your function stopped with {type(error).__name__}: {error}")
        if answer is ... or answer is None:
            return say(None, "Not tried yet: replace the ... and run the cell again.")
        answer = torch.as_tensor(answer)
        if answer.shape != x.shape[:1]:
            told = f"the shape should be {tuple(x.shape[:1])}, yours is {tuple(answer.shape)}"
            return say(False, f"Not yet: one number per picture is wanted, so {told}.")
        answers.append(answer.mean())
    ratios = torch.stack(answers) / noise  # (4,), of the estimate to the truth
    if ratios.min() > 0.8 and ratios.max() < 1.3:  # edges make a fair estimate a little too large where noise is weak
        off = 100 * (ratios - 1).abs().max()
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
    }
    for sentence, mistake in mistakes.items():
        wrong = torch.stack([mistake(x).mean() for x in pictures]) / noise
        if ((ratios / wrong - 1).abs() < 0.1).all():
            return say(False, sentence)
    times = ", ".join(f"{ratio:.2f}" for ratio in ratios)
    return say(False, f"Not yet: at t = 20, 50, 200, 500 your estimate is {times} times the noise.")


def _noisy_pictures(n: int = 50) -> tuple[list[Tensor], Tensor]:
    """Batches x (n, 1, 28, 28) at four times, and the noise in each (4,)."""
    s, generator = schedules.linear(), torch.Generator().manual_seed(2)
    x0 = strokes.draw(torch.arange(n) % 10, generator=generator).float() / 127.5 - 1
    times = torch.tensor([20, 50, 200, 500])
    eps = [torch.randn(x0.shape, generator=generator) for _ in times]
    return [process.q_sample(x0, t.repeat(n), e, s) for t, e in zip(times, eps)], s.noise[times]


def _differences(x: Tensor) -> Tensor:
    return (x[..., 1:] - x[..., :-1]).flatten(1)


def new_parameters(yours: Callable[[int, int, int], int]) -> bool | None:
    """yours(width, time, blocks): what a UNet of one resolution gains when its time embedding gets `time` columns."""

    def right(width: int, time: int, blocks: int) -> int:
        without = UNetConfig(widths=(width,), blocks=blocks)
        count = [sum(p.numel() for p in UNet(c).parameters()) for c in (replace(without, time=time), without)]
        return count[0] - count[1]

    mistakes = {
        "You left out the biases: a linear layer from a to b has a·b + b parameters.": (
            lambda w, t, b: 2 * t * t + 2 * b * t * w
        ),
        "There are blocks on the way up too: 2 · blocks of them.": lambda w, t, b: 2 * t * (t + 1) + b * (t + 1) * w,
        "One projection is not enough: every residual block has its own, 2 · blocks of them.": (
            lambda w, t, b: 2 * t * (t + 1) + (t + 1) * w
        ),
        "The blocks have parts in it too: each has a projection from time to width.": lambda w, t, b: 2 * t * (t + 1),
        "You forgot the MLP: two linear layers from time to time.": lambda w, t, b: 2 * b * (t + 1) * w,
        "The MLP has two linear layers, not one.": lambda w, t, b: t * (t + 1) + 2 * b * (t + 1) * w,
        "The frequencies are fixed, not learned: they are no parameters.": (
            lambda w, t, b: 2 * t * (t + 1) + 2 * b * (t + 1) * w + t // 2
        ),
    }
    done = "Correct: most of it sits in the MLP, which runs once per picture and not once per pixel."
    return compare(yours, right, mistakes, (32, 128, 1), (48, 64, 3), done=done)
