"""Lesson 04: the cosine schedule with its clipped betas, and v there and back."""

import math
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from .verdict import compare

__all__ = ["cosine_alpha_bar", "v_from_x0", "x0_from_v"]


def cosine_alpha_bar(yours: Callable) -> bool | None:
    """cosine_alpha_bar(T, s, max_beta) -> alpha_bar (T+1,), made of clipped betas; alpha_bar[0] = 1."""

    def curve(T: int, s: float, power=2, turn=math.pi / 2, whole=True) -> Tensor:
        t = torch.arange(T + 1, dtype=torch.float64)
        return torch.cos((t / T + s) / (1 + s if whole else 1) * turn) ** power

    def betas(T: int, s: float, max_beta: float, **wrong) -> Tensor:
        f = curve(T, s, **wrong)
        return (1 - f[1:] / f[:-1]).clamp(max=max_beta)

    def right(T: int, s: float, max_beta: float, **wrong) -> Tensor:
        return torch.cat([torch.ones(1), torch.cumprod(1 - betas(T, s, max_beta, **wrong), 0)])

    def raw(T: int, s: float, max_beta: float, **wrong) -> Tensor:
        return curve(T, s, **wrong)

    def scaled(T: int, s: float, max_beta: float, **wrong) -> Tensor:
        f = curve(T, s, **wrong)
        return f / f[0]

    square = "You forgot the square: alpha_bar is a share of power, the cosine itself is signal."
    turn = "Half a turn is too much, the signal comes back: the angle ends at π/2, not at π."
    whole = "You forgot to divide by 1 + s: the angle must end at π/2, so at T it is (1 + s) / (1 + s)."
    mistakes = {
        square: partial(right, power=1),
        turn: partial(right, turn=math.pi),
        whole: partial(right, whole=False),
        "You forgot to clip: where 1 - f(t) / f(t-1) is above max_beta, the step must add less.": scaled,
        "alpha_bar[0] must be 1: divide by f(0). And the betas are not clipped yet.": raw,
        square + " And clip the betas.": partial(scaled, power=1),
        square + " And divide by f(0), and clip the betas.": partial(raw, power=1),
        turn + " And clip the betas.": partial(scaled, turn=math.pi),
        whole + " And clip the betas.": partial(scaled, whole=False),
        "You clipped alpha_bar; the betas are to be clipped, before they are multiplied up.": (
            lambda T, s, max_beta: scaled(T, s, max_beta).clamp(min=1 - max_beta)
        ),
        "Those are the betas, right and clipped: alpha_bar is the running product of 1 - beta.": betas,
        "You multiplied up the betas; alpha_bar is what is left: the running product of 1 - beta.": (
            lambda *inputs: torch.cat([torch.ones(1), torch.cumprod(betas(*inputs), 0)])
        ),
        "A running product, not a sum: every step keeps the share 1 - beta of what was left.": (
            lambda *inputs: torch.cat([torch.ones(1), 1 - torch.cumsum(betas(*inputs), 0)])
        ),
        "Those are the roots, the signal: alpha_bar is its square.": lambda *inputs: right(*inputs).sqrt(),
        "You left s out: it is added to t / T, and 1 + s divides.": lambda T, s, max_beta: right(T, 0.0, max_beta),
        "You wrote 0.008 for s: take the one that is given.": lambda T, s, max_beta: right(T, 0.008, max_beta),
        "You wrote 0.999 for max_beta: take the one that is given.": lambda T, s, max_beta: right(T, s, 0.999),
        "One entry is missing: alpha_bar[0] = 1 is the clean data, so there are T + 1.": (
            lambda *inputs: right(*inputs)[1:]
        ),
    }
    inputs = (1000, 0.008, 0.999), (10, 0.008, 0.999), (50, 0.1, 0.2)
    return compare(yours, right, mistakes, *inputs, done="Correct. Lesson 04's schedule, to the last clipped beta.")


def _drawn(seed: int, drowned: bool = False) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """x0 and eps (4, 1, 3, 3), signal and noise (4, 1, 1, 1); drowned: signal 0, noise 1."""
    generator = torch.Generator().manual_seed(seed)
    x0, eps = torch.randn(2, 4, 1, 3, 3, generator=generator).unbind()
    angle = 0.2 + 1.2 * torch.rand(4, 1, 1, 1, generator=generator)
    if drowned:
        return x0, eps, torch.zeros_like(angle), torch.ones_like(angle)
    return x0, eps, angle.cos(), angle.sin()


def v_from_x0(yours: Callable) -> bool | None:
    """v_from_x0(x0, x, signal, noise) -> v, all (B, C, H, W) or (B, 1, 1, 1)."""

    def eps(x0: Tensor, x: Tensor, signal: Tensor, noise: Tensor) -> Tensor:
        return (x - signal * x0) / noise

    def right(x0: Tensor, x: Tensor, signal: Tensor, noise: Tensor) -> Tensor:
        return signal * eps(x0, x, signal, noise) - noise * x0

    mistakes = {
        "The sign is swapped: v is signal eps - noise x0, at t = 0 it is +eps.": lambda *a: -right(*a),
        "That is eps, half of the way: v is signal eps - noise x0.": eps,
        "You put x where eps belongs: x is a mixture, take signal x0 out of it first.": (
            lambda x0, x, signal, noise: signal * x - noise * x0
        ),
        "A plus should be a minus: v is at a right angle to x, signal eps - noise x0.": (
            lambda x0, x, signal, noise: signal * eps(x0, x, signal, noise) + noise * x0
        ),
        "signal and noise are swapped: the larger the noise, the more of v is x0.": (
            lambda x0, x, signal, noise: noise * eps(x0, x, signal, noise) - signal * x0
        ),
        "x - signal x0 is noise times eps: divide by noise before you use it as eps.": (
            lambda x0, x, signal, noise: signal * (x - signal * x0) - noise * x0
        ),
        "Nearly: signal x - x0 is noise times v. Divide by noise.": lambda x0, x, signal, noise: signal * x - x0,
        "eps is (x - signal x0) / noise: you divided by signal.": (
            lambda x0, x, signal, noise: signal * (x - signal * x0) / signal - noise * x0
        ),
    }
    inputs = []
    for seed in range(3):
        x0, e, signal, noise = _drawn(seed)
        inputs.append((x0, signal * x0 + noise * e, signal, noise))
    done = "Correct. In short (signal x - x0) / noise: an x0-model can stand in for a v-model, except at t = 0."
    return compare(yours, right, mistakes, *inputs, done=done)


def x0_from_v(yours: Callable) -> bool | None:
    """x0_from_v(v, x, signal, noise) -> x0, all (B, C, H, W) or (B, 1, 1, 1)."""

    def right(v: Tensor, x: Tensor, signal: Tensor, noise: Tensor) -> Tensor:
        return signal * x - noise * v

    mistakes = {
        "You turned on instead of back: the sine changes its sign.": (
            lambda v, x, signal, noise: signal * x + noise * v
        ),
        "That is eps, the other half of the answer: x0 is signal x - noise v.": (
            lambda v, x, signal, noise: noise * x + signal * v
        ),
        "That is the formula for an eps-model, with v in the place of eps.": (
            lambda v, x, signal, noise: (x - noise * v) / signal
        ),
        "signal and noise are swapped: at t = 0, where x is x0, signal is 1.": (
            lambda v, x, signal, noise: noise * x - signal * v
        ),
        "The sign is swapped: at t = 0, where noise is 0, your answer is -x.": lambda *a: -right(*a),
        "Right while signal is not 0, but you divide by it, and the last pictures have none: use signal x - noise v.": (
            lambda v, x, signal, noise: (x - noise * (noise * x + signal * v)) / signal
        ),
        "Divide by nothing: that is what v is for.": lambda v, x, signal, noise: right(v, x, signal, noise) / signal,
    }
    inputs = []
    for seed in range(4):
        x0, eps, signal, noise = _drawn(seed, drowned=seed == 3)
        inputs.append((signal * eps - noise * x0, signal * x0 + noise * eps, signal, noise))
    done = "Correct. An error of v reaches x0 times noise, which is at most 1: nothing blows up."
    return compare(yours, right, mistakes, *inputs, done=done)
