"""From noise to data. Every sampler is a generator, so the caller owns the loop: draw, stop, or go on.

denoise is any function (x, t) -> Denoised; x (B, ...) is standard normal noise; the steps run over
s.times(steps, spacing). Noise is drawn on the generator's device, so that one seed gives the same picture everywhere.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from .process import Denoised, posterior
from .schedules import Schedule

Denoise = Callable[[Tensor, Tensor], Denoised]


class Step(NamedTuple):
    """One step of a sampler: the time reached, x there, and the guess of x0 that led there."""

    t: int
    x: Tensor
    x0: Tensor


def draw_noise(x: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Standard normal noise, shaped as x and where x is."""
    device = x.device if generator is None else generator.device
    return torch.randn(x.shape, generator=generator, device=device).to(x)


def full(x: Tensor, t: int) -> Tensor:
    """The time t for every picture of x: (B,)."""
    return torch.full((len(x),), t, dtype=torch.int64, device=x.device)


def ancestral(
    denoise: Denoise,
    x: Tensor,
    s: Schedule,
    t: int,
    r: int,
    generator: torch.Generator | None = None,
    variance: str = "posterior",
) -> Step:
    """One step of ddpm, from t to r < t: x_r drawn from q(x_r | x_t, x0) with the guess in the place of x0."""
    guess = denoise(x, full(x, t))
    a_t, a_r = s.exact[t].item(), s.exact[r].item()
    of_x0, of_x, var = posterior(a_t, a_r)
    beta = 1 - a_t / a_r
    if r > 0 and guess.share is not None:  # Nichol & Dhariwal 2021, eq. 15, here also for steps longer than one
        var = beta = var * (beta / var) ** guess.share
    x = of_x0 * guess.x0 + of_x * x
    if r > 0:
        x = x + (var if variance == "posterior" else beta) ** 0.5 * draw_noise(x, generator)
    return Step(r, x, guess.x0)


@torch.no_grad()
def ddpm(
    denoise: Denoise,
    x: Tensor,
    s: Schedule,
    steps: int | None = None,
    generator: torch.Generator | None = None,
    variance: str = "posterior",
    spacing: str = "uniform",
) -> Iterator[Step]:
    """Ancestral sampling (Ho et al. 2020, algorithm 2), with all T steps or fewer.

    variance is "posterior" (beta-tilde, exact if the data were one point) or "beta" (exact if the data were normal);
    a denoise function that says how large it is (Denoised.share) is followed instead.
    """
    if variance not in ("posterior", "beta"):
        raise ValueError(f"variance is {variance!r}; it must be 'posterior' or 'beta'")
    times = s.times(steps, spacing)
    for t, r in zip(times, times[1:]):
        step = ancestral(denoise, x, s, t, r, generator, variance)
        x = step.x
        yield step


def split_noise(s: Schedule, t: int, r: int, eta: float) -> tuple[float, float]:
    """Of the noise at r: the spread of what is fresh, and of what is left of that at t (Song et al. 2021, eq. 16)."""
    if not 0 <= eta <= 1:
        raise ValueError(f"eta is {eta}; it must lie from 0 to 1")
    a_t, a_r = s.exact[t].item(), s.exact[r].item()
    fresh = eta * ((1 - a_r) / (1 - a_t) * (1 - a_t / a_r)) ** 0.5
    return fresh, max(1 - a_r - fresh**2, 0.0) ** 0.5


@torch.no_grad()
def ddim(
    denoise: Denoise,
    x: Tensor,
    s: Schedule,
    steps: int = 50,
    eta: float = 0.0,
    generator: torch.Generator | None = None,
    spacing: str = "uniform",
) -> Iterator[Step]:
    """Song et al. 2021, eq. 12 and 16: eta = 0 adds no noise (one seed, one picture), eta = 1 is ddpm."""
    times = s.times(steps, spacing)
    for t, r in zip(times, times[1:]):
        sigma, rest = split_noise(s, t, r, eta)
        x0, eps = denoise(x, full(x, t))
        x = s.exact[r].item() ** 0.5 * x0 + rest * eps
        if sigma > 0:
            x = x + sigma * draw_noise(x, generator)
        yield Step(r, x, x0)


@torch.no_grad()
def dpmpp_2m(
    denoise: Denoise,
    x: Tensor,
    s: Schedule,
    steps: int = 10,
    eta: float = 0.0,
    generator: torch.Generator | None = None,
    spacing: str = "uniform",
) -> Iterator[Step]:
    """DPM-Solver++(2M), Lu et al. 2022, algorithm 2: a straight line through the last two guesses of x0.

    Time is measured in lam = log(signal / noise). The first step has no guess before it and the last ends at
    lam = infinity, so both are of first order. eta: fresh noise as in ddim; 1 is the paper's SDE-DPM-Solver++(2M).
    """
    times = s.times(steps, spacing)
    signal, noise = s.exact.sqrt(), (1 - s.exact).sqrt()
    lam = (signal / noise).log()
    before = None  # the guess one step ago, and how far in lam that step went
    for t, r in zip(times, times[1:]):
        sigma, rest = split_noise(s, t, r, eta)
        x0 = denoise(x, full(x, t)).x0
        h = lam[r] - lam[t]
        guess = x0
        if before is not None and r > 0:
            x0_before, h_before = before
            guess = x0 + (h / h_before / 2).item() * (x0 - x0_before)
        of_x = rest / noise[t].item()
        x = of_x * x + (signal[r].item() - of_x * signal[t].item()) * guess
        if sigma > 0:
            x = x + sigma * draw_noise(x, generator)
        before = x0, h
        yield Step(r, x, x0)


SAMPLERS = {"ddpm": ddpm, "ddim": ddim, "dpmpp_2m": dpmpp_2m, "dpmpp_2m_sde": partial(dpmpp_2m, eta=1.0)}
