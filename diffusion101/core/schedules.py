"""Noise schedules: how much of the picture and how much noise x_t holds, from t = 0 (data) to t = T (noise).

Diffusers counts from 0, so its t is ours minus one.
"""

import copy
import math
from collections.abc import Callable

import torch
from torch import Tensor

LARGEST_T = 1_000_000
MOST_NOISE = math.exp(5.1)  # noise / signal; where lam = -5.1 DPM-Solver's own code cuts the cosine schedule off
SMALLEST = 1e-30  # of alpha_bar: its root must stay far from 0 in float32, for eps to x0 divides by it


class Schedule:
    """Tables over t = 0..T, all float32 of shape (T+1,), computed in float64; index 0 is clean data.

    beta       variance of the noise added by the step t-1 -> t; beta[0] = 0
    alpha_bar  prod(1 - beta): the share of the data's variance left in x_t; falls from 1
    signal     sqrt(alpha_bar), noise = sqrt(1 - alpha_bar): x_t = signal x0 + noise eps (Ho et al. 2020, eq. 4)
    snr        alpha_bar / (1 - alpha_bar), a ratio of powers; infinite at t = 0
    exact      alpha_bar in float64, for differences of neighbouring steps
    """

    def __init__(self, beta: Tensor, spec: dict | None = None):
        if beta.ndim != 1 or len(beta) < 2 or beta[0] != 0 or not ((beta[1:] > 0) & (beta[1:] < 1)).all():
            raise ValueError(f"beta must be (T+1,) with beta[0] = 0 and the rest inside (0, 1), not {beta}")
        beta = beta.double()
        self.spec = spec or {}  # what `make` needs to build this schedule again
        self.T = len(beta) - 1
        self.exact = torch.cumprod(1 - beta, dim=0)
        if self.exact[-1] < SMALLEST:
            raise ValueError(
                f"alpha_bar ends at {self.exact[-1].item():.1e}, below {SMALLEST:g}: lower beta or T = {self.T}"
            )
        self.beta = beta.float()
        self.alpha_bar = self.exact.float()
        self.signal = self.exact.sqrt().float()
        self.noise = (1 - self.exact).sqrt().float()
        self.snr = (self.exact / (1 - self.exact)).float()
        self._elsewhere: dict[torch.device, Schedule] = {}

    def on(self, device: torch.device) -> "Schedule":
        """The same schedule with its float32 tables on this device, copied there once; `exact` stays on the CPU."""
        if device == self.beta.device:
            return self
        if device not in self._elsewhere:
            there = copy.copy(self)
            for name in ("beta", "alpha_bar", "signal", "noise", "snr"):
                setattr(there, name, getattr(self, name).to(device))
            self._elsewhere[device] = there
        return self._elsewhere[device]

    def times(self, steps: int | None = None, spacing: str = "uniform") -> list[int]:
        """[T, ..., 0]: steps + 1 falling times, spaced as a name in SPACINGS says.

        Where two would be the same the later one moves towards 0, or all towards T where there is no room left.
        """
        steps = self.T if steps is None else steps
        if isinstance(steps, bool) or not isinstance(steps, int) or not 1 <= steps <= self.T:
            raise ValueError(f"steps is {steps!r}; it must be a whole number from 1 to T = {self.T}")
        times = [self.T]
        for i, wished in enumerate(SPACINGS[known(spacing)](self, steps), start=1):
            times.append(max(min(wished, times[-1] - 1), steps - i))
        return times

    def __repr__(self) -> str:
        return f"Schedule({', '.join(f'{k}={v}' for k, v in self.spec.items()) or f'T={self.T}'})"


def known(spacing: str) -> str:
    """The name, if it is in SPACINGS; else ValueError."""
    if spacing not in SPACINGS:
        raise ValueError(f"unknown spacing {spacing!r}; there are {', '.join(SPACINGS)}")
    return spacing


def uniform_times(s: Schedule, steps: int) -> list[int]:
    """Equal steps in t, from T to 0 ("trailing": Lin et al. 2023, table 2)."""
    return [round(s.T * (steps - i) / steps) for i in range(1, steps + 1)]


def even_times(place: Callable[[Tensor], Tensor], least: float = 0.0) -> Callable[[Schedule, int], list[int]]:
    """Equal steps in place(sigma), sigma = noise / signal, from T to 1 or to sigma = least, and a last step to 0.

    At t = 0 sigma is 0, and its logarithm infinitely far away: so the last step is whatever remains. Beyond MOST_NOISE
    nothing can be told apart, so T stands at MOST_NOISE if it lies above: the clipped last beta of `cosine` ends at
    sigma = 20,000, and half of few steps would be lost there.
    """

    def spaced(s: Schedule, steps: int) -> list[int]:
        sigma = (1 / s.exact[1:] - 1).sqrt().clamp(max=MOST_NOISE)
        places = place(sigma)  # (T,), rising
        lowest = place(sigma[0].clamp(min=min(least, sigma[-1].item())))
        wished = torch.linspace(places[-1], lowest, steps, dtype=torch.float64)[1:]
        above = torch.searchsorted(places, wished).clamp(min=1)
        nearer = (wished - places[above - 1] < places[above] - wished).long()  # to the place below
        return [*(above - nearer + 1).tolist(), 0]

    return spaced


def root(sigma: Tensor) -> Tensor:
    """What grows evenly in Karras et al. 2022, eq. 5, with rho = 7."""
    return sigma ** (1 / 7)


# What a sampler's steps share out equally: functions (Schedule, steps) -> the times wished for after T, the last one 0.
SPACINGS = {
    "uniform": uniform_times,
    "log_snr": even_times(torch.log),  # equal steps in lam = log(signal / noise): DPM-Solver, Lu et al. 2022
    "karras": even_times(root),
    "karras_cut": even_times(root, least=0.1),  # with sigma_min = 0.1
}


def linear(T: int = 1000, beta_start: float = 1e-4, beta_end: float = 0.02) -> Schedule:
    """Evenly spaced betas (Ho et al. 2020, section 4)."""
    _check_T(T)
    if not 0 < beta_start <= beta_end < 1:
        raise ValueError(f"0 < beta_start <= beta_end < 1 must hold, not beta_start={beta_start}, beta_end={beta_end}")
    beta = torch.linspace(beta_start, beta_end, T, dtype=torch.float64)
    return Schedule(_behind_zero(beta), dict(kind="linear", T=T, beta_start=beta_start, beta_end=beta_end))


def cosine(T: int = 1000, s: float = 0.008, max_beta: float = 0.999) -> Schedule:
    """alpha_bar(t) = f(t) / f(0) with f(t) = cos²((t/T + s) / (1 + s) π/2), betas clipped at max_beta.

    Nichol & Dhariwal 2021, eq. 17; the clip keeps x_T from being pure noise to the last bit.
    """
    _check_T(T)
    if not 0 <= s < math.inf or not 0 < max_beta < 1:
        raise ValueError(f"s must be at least 0 and max_beta inside (0, 1), not s={s}, max_beta={max_beta}")
    t = torch.arange(T + 1, dtype=torch.float64)
    f = torch.cos((t / T + s) / (1 + s) * math.pi / 2) ** 2
    beta = (1 - f[1:] / f[:-1]).clamp(max=max_beta)
    return Schedule(_behind_zero(beta), dict(kind="cosine", T=T, s=s, max_beta=max_beta))


KINDS = {"linear": linear, "cosine": cosine}


def make(kind: str = "", **options: float) -> Schedule:
    """The schedule by its name, as recipes and weight files hold it: make("cosine", T=1000)."""
    if not isinstance(kind, str) or kind not in KINDS:
        raise ValueError(f"unknown schedule {kind!r}; there are {', '.join(KINDS)}")
    try:
        return KINDS[kind](**options)
    except (TypeError, OverflowError, RuntimeError) as error:  # an integer too large for torch
        raise ValueError(f"schedule {kind}: {error}") from None


def _check_T(T: int) -> None:
    if isinstance(T, bool) or not isinstance(T, int) or not 1 <= T <= LARGEST_T:
        raise ValueError(f"T is {T!r}; it must be a whole number of at least 1 and at most {LARGEST_T:,}")


def _behind_zero(beta: Tensor) -> Tensor:
    return torch.cat([beta.new_zeros(1), beta])
