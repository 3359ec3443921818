"""How likely a picture is under the model, in bits: the variational bound, with a variance that the network learned.

Nichol & Dhariwal 2021. A step from t to t - 1 draws from a normal distribution; the bound compares it with the true
posterior, which knows x0. Tensors are (B, ...), t is (B,) int64 in 1..T, s a Schedule.
"""

import math

import torch
from torch import Tensor

from .process import Denoised, at
from .schedules import Schedule

HYBRID = 0.001  # what a bound of T steps counts beside the plain loss (section 3.1)
LEVELS = 256  # values of a pixel, spread evenly over [-1, 1]


def normal_kl(mean1: Tensor, log_var1: Tensor, mean2: Tensor, log_var2: Tensor) -> Tensor:
    """KL(N1 || N2) of single normal distributions, in nats: (log v2 - log v1 + v1 / v2 + (m1 - m2)² / v2 - 1) / 2."""
    ratio = (log_var1 - log_var2).exp()
    return 0.5 * (log_var2 - log_var1 + ratio + (mean1 - mean2).square() * (-log_var2).exp() - 1)


def pixel_log_likelihood(x0: Tensor, mean: Tensor, log_var: Tensor) -> Tensor:
    """Log probability of pixels x0, each one of LEVELS values, when a normal draw is rounded to the nearest of them.

    Ho et al. 2020, eq. 13: the first and the last value take all that lies beyond them. In nats.
    """
    half, scale = 1 / (LEVELS - 1), (-0.5 * log_var).exp()
    low = torch.where(x0 < half - 1, -math.inf, (x0 - half - mean) * scale)
    high = torch.where(x0 > 1 - half, math.inf, (x0 + half - mean) * scale)
    beyond = low > 0  # there both areas are nearly 1: on the other side their difference keeps its digits
    low, high = torch.where(beyond, -high, low), torch.where(beyond, -low, high)
    areas = [0.5 * torch.special.erfc(-z / 2**0.5) for z in (high, low)]  # below z, of the standard normal
    return (areas[0] - areas[1]).clamp(min=1e-12).log()


def log_variances(t: Tensor, s: Schedule, like: Tensor) -> tuple[Tensor, Tensor]:
    """Of the step t -> t - 1: the logs of the posterior's variance and of beta, (B, 1, ..., 1).

    At t = 1 the posterior's variance is 0; the one of t = 2 stands there, as in the paper's own code.
    """
    if s.T < 2:
        raise ValueError("a learned variance lies between two others: that takes a schedule of at least T = 2 steps")
    s, later = s.on(like.device), t.clamp(min=2)
    smaller = at(s.beta, later, like).log() + 2 * (at(s.noise, later - 1, like) / at(s.noise, later, like)).log()
    return smaller, at(s.beta, t, like).log()


def bound(x0: Tensor, x: Tensor, t: Tensor, guess: Denoised, s: Schedule) -> Tensor:
    """The term of step t in the variational bound, in bits per pixel and channel: (B,).

    x is x0 noised to t; guess.share gives the variance (eq. 15): log v = share log beta + (1 - share) log beta-tilde.
    For t > 1 the KL between the true posterior and the model's step, for t = 1 minus the log likelihood of x0.
    """
    small, large = log_variances(t, s, x)
    log_var = guess.share * large + (1 - guess.share) * small
    s = s.on(x.device)
    # the posterior's mean is linear in x0 and x: only the part of x0 differs (Ho et al. 2020, eq. 7)
    of_x0 = at(s.signal, t - 1, x) * at(s.beta, t, x) / at(s.noise, t, x).square()
    kl = normal_kl(of_x0 * x0, small, of_x0 * guess.x0, log_var)
    last = -pixel_log_likelihood(x0, guess.x0, log_var)  # at t = 1 the mean is the guess itself
    first = (t == 1).view(-1, *[1] * (x.ndim - 1))
    return torch.where(first, last, kl).flatten(1).mean(1) / math.log(2)
