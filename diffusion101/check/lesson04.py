"""Lesson 04: the cosine schedule with its clipped betas, and v there and back."""

import math

import torch
from torch import Tensor

from .exercise import exercise, normal

__all__ = ["cosine_alpha_bar", "v_from_x0", "v_target", "x0_from_v"]


@exercise(
    cases=lambda: [(400, 0.008, 0.999), (10, 0.008, 0.999), (52, 0.1, 0.2)],
    done="Correct. Lesson 04's schedule, to the last clipped beta.",
    mistakes={
        "You forgot the square: alpha_bar is a share of power, the cosine itself is signal.": dict(power=1),
        "Half a turn is too much, the signal comes back: the angle ends at π/2, not at π.": dict(turn=math.pi),
        "You forgot to divide by 1 + s: at T the angle must be (1 + s) / (1 + s) times π/2.": dict(whole=0),
        "You forgot to clip: where 1 - f(t) / f(t-1) is above max_beta, the step must add less.": dict(clip="none"),
        "alpha_bar[0] must be 1: divide by f(0), and clip the betas.": dict(clip="raw"),
        "You clipped alpha_bar; the betas are to be clipped, before they are multiplied up.": dict(clip="late"),
        "Those are the betas, right and clipped: alpha_bar is the running product of 1 - beta.": dict(out="betas"),
        "You multiplied up the betas; alpha_bar is what is left: the product of 1 - beta.": dict(out="product"),
        "A running product, not a sum: every step keeps the share 1 - beta of what was left.": dict(out="sum"),
        "Those are the roots, the signal: alpha_bar is its square.": dict(out="roots"),
        "You left s out: it is added to t / T, and 1 + s divides.": dict(own_s=0),
        "You wrote 0.008 for s: take the one that is given.": dict(own_s=0.008),
        "You wrote 0.999 for max_beta: take the one that is given.": dict(largest=0.999),
        "One entry is missing: alpha_bar[0] = 1 is the clean data, so there are T + 1.": dict(out="late"),
    },
)
def cosine_alpha_bar(
    T: int, s: float, max_beta: float, power=2, turn=math.pi / 2, whole=1, clip="", out="", own_s=None, largest=None
) -> Tensor:
    """cosine_alpha_bar(T, s, max_beta): alpha_bar (T+1,), made of clipped betas; alpha_bar[0] = 1."""
    s, max_beta = s if own_s is None else own_s, largest or max_beta
    f = torch.cos((torch.arange(T + 1, dtype=torch.float64) / T + s) / (1 + whole * s) * turn) ** power
    beta = (1 - f[1:] / f[:-1]).clamp(max=math.inf if clip else max_beta)
    one = f.new_ones(1)
    right = torch.cat([one, torch.cumprod(1 - beta, 0)])
    right = {"raw": right * f[0], "late": right.clamp(min=1 - max_beta)}.get(clip, right)
    outs = {"betas": beta, "product": torch.cat([one, beta.cumprod(0)]), "sum": torch.cat([one, 1 - beta.cumsum(0)])}
    return (outs | {"roots": right.sqrt(), "late": right[1:]}).get(out, right)


def _mixed(seed: int, drowned: bool = False) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """x0, v and x (4, 1, 3, 3), signal and noise (4, 1, 1, 1); drowned: signal 0, noise 1."""
    x0, eps = normal(2, 4, 1, 3, 3, seed=seed)
    angle = torch.linspace(0.2, 1.4, 4).roll(seed).view(4, 1, 1, 1)
    signal, noise = (0 * angle, angle / angle) if drowned else (angle.cos(), angle.sin())
    return x0, signal * eps - noise * x0, signal * x0 + noise * eps, signal, noise


def _parts(seed: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """x0 and eps (4, 1, 3, 3), signal and noise (4, 1, 1, 1)."""
    x0, v, x, signal, noise = _mixed(seed)
    return x0, noise * x + signal * v, signal, noise


@exercise(
    cases=lambda: [*map(_parts, range(3))],
    done="Correct. At t = 0, where noise is 0, v is eps; at T, where signal is 0, it is -x0.",
    mistakes={
        "That is x itself. v stands at a right angle to it: signal eps - noise x0.": lambda x0, e, a, b: a * x0 + b * e,
        "The sign is swapped: at t = 0 the way leads to +eps, and yours is -eps.": lambda x0, e, a, b: b * x0 - a * e,
        "A plus should be a minus: the cosine falls, so x0 comes with a minus.": lambda x0, e, a, b: a * e + b * x0,
        "signal and noise are swapped: at t = 0, where signal is 1, v is eps.": lambda x0, e, a, b: b * e - a * x0,
        "You left both as they are; weigh eps by signal, and x0 by noise.": lambda x0, e, a, b: e - x0,
        "x0 and eps are swapped: eps comes with signal, x0 with noise.": lambda x0, e, a, b: a * x0 - b * e,
    },
)
def v_target(x0: Tensor, eps: Tensor, signal: Tensor, noise: Tensor) -> Tensor:
    """v_target(x0, eps, signal, noise): v, all (B, C, H, W) or (B, 1, 1, 1)."""
    return signal * eps - noise * x0


@exercise(
    cases=lambda: [(x0, x, signal, noise) for x0, v, x, signal, noise in map(_mixed, range(3))],
    done="Correct. In short (signal x - x0) / noise: an x0-model can stand in for a v-model, except at t = 0.",
    mistakes={
        "The sign is swapped: v is signal eps - noise x0, at t = 0 it is +eps.": dict(v="minus"),
        "That is eps, half of the way: v is signal eps - noise x0.": dict(v="eps"),
        "A plus should be a minus: v is at a right angle to x, signal eps - noise x0.": dict(v="plus"),
        "signal and noise are swapped: the larger the noise, the more of v is x0.": dict(v="swapped"),
        "You put x where eps belongs: x is a mixture, take signal x0 out of it first.": dict(e="x"),
        "x - signal x0 is noise times eps: divide by noise before you use it as eps.": dict(e="undivided"),
        "eps is (x - signal x0) / noise: you divided by signal.": dict(e="by signal"),
        "eps is (x - signal x0) / noise: you took x0 out whole.": dict(e="whole"),
        "eps is (x - signal x0) / noise: you added signal x0.": dict(e="added"),
        "Nearly: signal x - x0 is noise times v. Divide by noise.": lambda x0, x, a, b: a * x - x0,
    },
)
def v_from_x0(x0: Tensor, x: Tensor, signal: Tensor, noise: Tensor, e="", v="") -> Tensor:
    """v_from_x0(x0, x, signal, noise): v, all (B, C, H, W) or (B, 1, 1, 1)."""
    rest = x - signal * x0
    guesses = {"x": x, "undivided": rest, "by signal": rest / signal, "whole": (x - x0) / noise}
    eps = (guesses | {"added": (x + signal * x0) / noise}).get(e, rest / noise)
    right = signal * eps - noise * x0
    wrong = {"minus": -right, "eps": eps, "plus": signal * eps + noise * x0, "swapped": noise * eps - signal * x0}
    return wrong.get(v, right)


@exercise(
    cases=lambda: [(v, x, signal, noise) for x0, v, x, signal, noise in (_mixed(0), _mixed(1), _mixed(2, True))],
    done="Correct. An error of v reaches x0 times noise, which is at most 1: nothing blows up.",
    mistakes={
        "You turned on instead of back: the sine changes its sign.": lambda v, x, a, b: a * x + b * v,
        "That is eps, the other half of the answer: x0 is signal x - noise v.": lambda v, x, a, b: b * x + a * v,
        "That is the formula for an eps-model, with v in the place of eps.": lambda v, x, a, b: (x - b * v) / a,
        "signal and noise are swapped: at t = 0, where x is x0, signal is 1.": lambda v, x, a, b: b * x - a * v,
        "The sign is swapped: at t = 0, where noise is 0, your answer is -x.": lambda v, x, a, b: b * v - a * x,
        "x is signal times too large: x0 is signal x - noise v.": lambda v, x, a, b: x - b * v,
        "Divide by nothing: the last pictures have no signal.": lambda v, x, a, b: (x - b * (b * x + a * v)) / a,
        "Divide by nothing: that is what v is for.": lambda v, x, a, b: (a * x - b * v) / a,
    },
)
def x0_from_v(v: Tensor, x: Tensor, signal: Tensor, noise: Tensor) -> Tensor:
    """x0_from_v(v, x, signal, noise): x0, all (B, C, H, W) or (B, 1, 1, 1)."""
    return signal * x - noise * v
