"""Lesson 01: signal against noise, a jump that starts halfway, one step of the way back."""

from collections.abc import Callable

import torch
from torch import Tensor

from ..core import process, schedules
from ..core.schedules import Schedule
from .verdict import compare

__all__ = ["jump", "reverse_step", "snr"]


def snr(yours: Callable[[Tensor, Schedule], Tensor]) -> bool | None:
    """yours(t, s): from times t (B,) to the signal-to-noise ratio of x_t (B,)."""
    mistakes = {
        "That is the ratio of amplitudes; signal-to-noise is a ratio of powers: square it.": (
            lambda t, s: s.signal[t] / s.noise[t]
        ),
        "That is noise to signal: turn the fraction over.": lambda t, s: 1 / s.snr[t],
        "That is noise to signal, and of amplitudes: turn the fraction over and square it.": (
            lambda t, s: s.noise[t] / s.signal[t]
        ),
        "That is the signal's power alone: divide by the noise's.": lambda t, s: s.alpha_bar[t],
        "You divided the signal's power by the noise's amplitude: both belong squared.": (
            lambda t, s: s.alpha_bar[t] / s.noise[t]
        ),
        "You divided the signal's amplitude by the noise's power: both belong squared.": (
            lambda t, s: s.signal[t] / (1 - s.alpha_bar[t])
        ),
        "That is its logarithm: useful later, but here the ratio itself is asked for.": lambda t, s: s.snr[t].log(),
        "That is its logarithm to base 10: here the ratio itself is asked for.": lambda t, s: s.snr[t].log10(),
        "That is in decibels: here the ratio itself is asked for.": lambda t, s: 10 * s.snr[t].log10(),
        "That is off by one: t = 0 is clean data, so x_t belongs to index t, not t - 1.": lambda t, s: s.snr[t - 1],
    }
    t = torch.tensor([1, 250, 500, 1000])
    done = "Correct: that is schedule.snr, and all that distinguishes one t from another."
    return compare(yours, lambda t, s: s.snr[t], mistakes, (t, schedules.linear()), (t, schedules.cosine()), done=done)


def jump(yours: Callable[[Tensor, int, int, Tensor, Schedule], Tensor]) -> bool | None:
    """yours(x, r, t, eps, s): from x = x_r to x_t with r < t, with fresh noise eps; both (B, ...)."""

    def right(x: Tensor, r: int, t: int, eps: Tensor, s: Schedule) -> Tensor:
        share = (s.exact[t] / s.exact[r]).item()  # of x_r's variance that x_t keeps
        return share**0.5 * x + (1 - share) ** 0.5 * eps

    def share(s: Schedule, r: int, t: int) -> float:
        return (s.exact[t] / s.exact[r]).item()

    mistakes = {
        "Your variance is noise², did you mean noise? Multiply eps by the square root.": (
            lambda x, r, t, eps, s: share(s, r, t) ** 0.5 * x + (1 - share(s, r, t)) * eps
        ),
        "You kept alpha_bar_t / alpha_bar_r of the picture: that is its share of the variance, x needs the root.": (
            lambda x, r, t, eps, s: share(s, r, t) * x + (1 - share(s, r, t)) ** 0.5 * eps
        ),
        "Neither has its root: alpha_bar_t / alpha_bar_r and its rest are variances.": (
            lambda x, r, t, eps, s: share(s, r, t) * x + (1 - share(s, r, t)) * eps
        ),
        "That is the jump from x_0. But x is x_r: part of the way lies behind it.": (
            lambda x, r, t, eps, s: s.signal[t] * x + s.noise[t] * eps
        ),
        "The picture is right, the noise is too much: x_r has some already.": (
            lambda x, r, t, eps, s: share(s, r, t) ** 0.5 * x + s.noise[t] * eps
        ),
        "Noise amplitudes do not subtract, variances do; and x_r's own noise fades on the way, too.": (
            lambda x, r, t, eps, s: share(s, r, t) ** 0.5 * x + (s.noise[t] - s.noise[r]) * eps
        ),
        "Nearly: you subtracted the variances, but x_r's own noise fades by the same factor as its picture.": (
            lambda x, r, t, eps, s: share(s, r, t) ** 0.5 * x + (s.exact[r] - s.exact[t]).sqrt().item() * eps
        ),
        "Plus, not minus: fresh noise is added (its sign does not matter to the picture, but here it is checked).": (
            lambda x, r, t, eps, s: 2 * share(s, r, t) ** 0.5 * x - right(x, r, t, eps, s)
        ),
        "Noise does not depend on t - r alone: beta grows, so where the jump starts matters, too.": (
            lambda x, r, t, eps, s: s.signal[t - r] * x + s.noise[t - r] * eps
        ),
        "That is one step, r to r + 1. The jump goes on to t.": lambda x, r, t, eps, s: right(x, r, r + 1, eps, s),
        "That is one step, t - 1 to t. The jump starts at r.": lambda x, r, t, eps, s: right(x, t - 1, t, eps, s),
        "That goes from t to r: turn the fraction over.": (
            lambda x, r, t, eps, s: share(s, t, r) ** 0.5 * x + abs(1 - share(s, t, r)) ** 0.5 * eps
        ),
    }
    generator = torch.Generator().manual_seed(0)
    x, eps = torch.randn(2, 3, 1, 4, 4, generator=generator)
    done = "Correct, and with r = 0 it is q_sample. The samplers use it to skip steps."
    s = schedules.linear()
    return compare(yours, right, mistakes, (x, 200, 500, eps, s), (x, 0, 300, eps, s), (x, 700, 950, eps, s), done=done)


def reverse_step(yours: Callable[[Tensor, Tensor, int, Tensor, Schedule], Tensor]) -> bool | None:
    """yours(x, eps, t, z, s): from x_t = x and a guess of eps to x_(t-1), with fresh noise z."""

    def step(x: Tensor, eps: Tensor, t: int, z: Tensor, s: Schedule, kind: str = "") -> Tensor:
        now = torch.full((len(x),), t)
        x0 = process.from_eps(eps, x, now, s).x0
        mean, variance = process.q_posterior(x0, x, now, now - 1, s)
        beta = s.beta[t]
        if kind == "variance":
            return mean + variance * z
        if kind == "beta":
            return mean + beta.sqrt() * z
        if kind == "mean":
            return mean
        if kind == "x0":
            return x0 + variance.sqrt() * z
        if kind == "flipped":
            variance = beta * (1 - s.alpha_bar[t]) / (1 - s.alpha_bar[t - 1])
        front = {"signal": s.signal[t], "no front": 1.0, "front": 1 - beta}.get(kind, (1 - beta).sqrt())
        parts = {"no root": beta / (1 - s.alpha_bar[t]) * eps, "all": s.noise[t] * eps, "bare": beta * eps}
        parts |= {"plus": -beta / s.noise[t] * eps, "x0 for eps": beta / s.noise[t] * x0}
        return (x - parts.get(kind, beta / s.noise[t] * eps)) / front + variance.sqrt() * z

    named = {
        "variance": "The mean is right. Your noise has the variance where its root belongs: z is multiplied by sigma.",
        "beta": "That is the paper's other choice, sigma² = beta_t (in the package: variance='beta').",
        "mean": "The mean is right; sigma z is missing.",
        "x0": "You returned the guess of x0 plus noise: the posterior's mean mixes that guess with x.",
        "signal": "The fraction in front is 1 / sqrt(1 - beta_t): you undo one step, not all t of them.",
        "no front": "You forgot the fraction in front: one step had also shrunk x by sqrt(1 - beta_t).",
        "front": "The fraction in front lacks its root: 1 / sqrt(1 - beta_t).",
        "plus": "Minus, not plus: the way back takes noise out.",
        "flipped": "Your sigma² has its fraction upside down: 1 - alpha_bar_(t-1) stands above.",
        "x0 for eps": "You took out a part of the guess of x0: it is eps that has to go.",
        "no root": "eps is divided by sqrt(1 - alpha_bar_t), not by 1 - alpha_bar_t.",
        "all": "You took out all of the noise: one step takes out beta_t / sqrt(1 - alpha_bar_t) of eps.",
        "bare": "beta_t eps is not enough: divide it by sqrt(1 - alpha_bar_t).",
    }
    mistakes = {text: lambda *args, kind=kind: step(*args, kind=kind) for kind, text in named.items()}
    generator = torch.Generator().manual_seed(0)
    x, eps, z = torch.randn(3, 2, 1, 4, 4, generator=generator)
    inputs = [(x, eps, t, z, schedules.linear()) for t in (1, 60, 500, 1000)]
    return compare(yours, step, mistakes, *inputs, done="Correct: 1000 of these and you have algorithm 2 of the paper.")
