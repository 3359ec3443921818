"""Wrappers around a denoise function: steering it by a condition, and keeping its guesses inside the data's range."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from .process import Denoised, from_x0
from .schedules import Schedule

Denoise = Callable[[Tensor, Tensor], Denoised]


def guide(model: Callable[..., Denoised], cond: Tensor, scale: float) -> Denoise:
    """Classifier-free guidance (Ho & Salimans 2022): u + w (c - u), one network call on a batch of twice the size.

    w = scale: 0 unconditional, 1 conditional, above 1 guided. (The paper's w is ours minus one.)
    cond: labels (B,) or tokens (B, L); model.condition.empty(B) is the condition that says nothing.
    """
    if not math.isfinite(scale):
        raise ValueError(f"the guidance scale is {scale}; it must be a finite number")
    cond = model.condition.fit(cond)
    null = model.condition.empty(len(cond)).to(cond)
    if scale in (0, 1):  # one of the two answers has no weight
        only = cond if scale == 1 else null
        return lambda x, t: model(x, t, only.to(x.device))

    both = torch.cat([null, cond])

    def denoise(x: Tensor, t: Tensor) -> Denoised:
        x0, eps = answer = model(torch.cat([x, x]), torch.cat([t, t]), both.to(x.device))
        (u0, c0), (u, c) = x0.chunk(2), eps.chunk(2)
        share = None if answer.share is None else answer.share.chunk(2)[1]  # the condition's: guidance moves means only
        return Denoised(u0 + scale * (c0 - u0), u + scale * (c - u)).sharing(share)

    return denoise


def interval(guided: Denoise, plain: Denoise, low: int, high: int) -> Denoise:
    """guided where low < t <= high, plain elsewhere: guidance for a part of the way (Kynkäänniemi et al. 2024).

    All pictures of a call are at the same t, as in every sampler here, so only one of the two is asked.
    """
    check_interval((low, high))

    def denoise(x: Tensor, t: Tensor) -> Denoised:
        return guided(x, t) if low < t[0] <= high else plain(x, t)

    return denoise


def check_interval(ends: tuple[int, int] | None) -> None:
    """ValueError unless 0 <= low < high, or there is no interval."""
    if ends is not None and not 0 <= ends[0] < ends[1]:
        raise ValueError(f"the interval is {ends[0]} to {ends[1]}; it must be 0 <= low < high")


def clip(denoise: Denoise, s: Schedule, low: float = -1.0, high: float = 1.0) -> Denoise:
    """Clamp x0 into [low, high] and derive eps from it again, so that x = signal x0 + noise eps still holds."""

    def clipped(x: Tensor, t: Tensor) -> Denoised:
        guess = denoise(x, t)
        return from_x0(guess.x0.clamp(low, high), x, t, s).sharing(guess.share)

    return clipped
