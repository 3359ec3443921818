"""The diffusion process itself: noising, its exact reverse, and three ways to say the same thing (eps, x0, v).

Everywhere x = signal x0 + noise eps, so of x, x0, eps and v any two give the rest. Tensors are (B, ...), t is (B,)
int64 in 0..T, s a Schedule.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from .schedules import Schedule


class Denoised(NamedTuple):
    """What a denoise function (x, t) -> Denoised believes: the clean picture and the noise in x, both shaped as x."""

    x0: Tensor
    eps: Tensor


def at(table: Tensor, t: Tensor, x: Tensor) -> Tensor:
    """The entries table[t], shaped (B, 1, ..., 1) to multiply x, in x's dtype."""
    return table.to(x.device)[t].to(x.dtype).view(-1, *[1] * (x.ndim - 1))


def q_sample(x0: Tensor, t: Tensor, eps: Tensor, s: Schedule) -> Tensor:
    """x_t in one jump from x_0 (Ho et al. 2020, eq. 4)."""
    return at(s.signal, t, x0) * x0 + at(s.noise, t, x0) * eps


def q_posterior(x0: Tensor, x: Tensor, t: Tensor, r: Tensor, s: Schedule) -> tuple[Tensor, Tensor]:
    """Mean (B, ...) and variance (B, 1, ..., 1) of x_r given x_t = x and x_0, for r < t (Ho et al., eq. 6-7).

    r = t - 1 is the textbook's single step; any earlier r is the same formula with alpha_bar_t / alpha_bar_r
    in the place of 1 - beta_t.
    """
    if not (r < t).all():
        raise ValueError("q_posterior goes back in time: every r must be smaller than its t")
    a_t, a_r = s.exact[t.cpu()], s.exact[r.cpu()]
    beta = 1 - a_t / a_r  # variance added from r to t
    of_x0 = a_r.sqrt() * beta / (1 - a_t)
    of_x = (a_t / a_r).sqrt() * (1 - a_r) / (1 - a_t)
    variance = beta * (1 - a_r) / (1 - a_t)
    row = torch.arange(len(t), device=x.device)
    return at(of_x0, row, x) * x0 + at(of_x, row, x) * x, at(variance, row, x)


def from_eps(eps: Tensor, x: Tensor, t: Tensor, s: Schedule) -> Denoised:
    """Divides by signal: near T an error in eps becomes a huge error in x0."""
    return Denoised((x - at(s.noise, t, x) * eps) / at(s.signal, t, x), eps)


def from_x0(x0: Tensor, x: Tensor, t: Tensor, s: Schedule) -> Denoised:
    """Divides by noise: needs t >= 1."""
    return Denoised(x0, (x - at(s.signal, t, x) * x0) / at(s.noise, t, x))


def from_v(v: Tensor, x: Tensor, t: Tensor, s: Schedule) -> Denoised:
    """Divides by nothing: (x, v) is (x0, eps) turned by an angle (Salimans & Ho 2022, appendix D)."""
    signal, noise = at(s.signal, t, x), at(s.noise, t, x)
    return Denoised(signal * x - noise * v, noise * x + signal * v)


PREDICTIONS = {"eps": from_eps, "x0": from_x0, "v": from_v}


def target(predict: str, x0: Tensor, t: Tensor, eps: Tensor, s: Schedule) -> Tensor:
    """What a network that predicts "eps", "x0" or "v" = signal eps - noise x0 should answer."""
    if predict == "v":
        return at(s.signal, t, x0) * eps - at(s.noise, t, x0) * x0
    return {"eps": eps, "x0": x0}[predict]
