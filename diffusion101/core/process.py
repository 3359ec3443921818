"""The diffusion process itself: noising, its exact reverse, and three ways to say the same thing (eps, x0, v).

Everywhere x = signal x0 + noise eps, so of x, x0, eps and v any two give the rest. Tensors are (B, ...), t is (B,)
int64 in 0..T, s a Schedule.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from .schedules import Schedule


class Denoised(NamedTuple):
    """What a denoise function (x, t) -> Denoised believes: the clean picture and the noise in x, both shaped as x.

    share (as x), an attribute and no third part: how far the log variance of a step lies from the posterior's (0) to
    beta's (1); None where nobody learned it.
    """

    x0: Tensor
    eps: Tensor
    share = None

    def sharing(self, share: Tensor | None) -> "Denoised":
        """The same belief with this share."""
        if share is None:
            return self
        found = Learned(*self)
        found.share = share
        return found


class Learned(Denoised):
    """A Denoised that has a share."""


def at(table: Tensor, t: Tensor, x: Tensor) -> Tensor:
    """The entries table[t], shaped (B, 1, ..., 1) to multiply x, in x's dtype."""
    return table[t].to(x.dtype).view(-1, *[1] * (x.ndim - 1))


def q_sample(x0: Tensor, t: Tensor, eps: Tensor, s: Schedule) -> Tensor:
    """x_t in one jump from x_0 (Ho et al. 2020, eq. 4)."""
    s = s.on(x0.device)
    return at(s.signal, t, x0) * x0 + at(s.noise, t, x0) * eps


def draw_t(n: int, s: Schedule, generator: torch.Generator | None = None, device: torch.device | None = None) -> Tensor:
    """The times (n,) of a training batch: uniform on 1..T (Ho et al. 2020, algorithm 1)."""
    return torch.randint(1, s.T + 1, (n,), generator=generator, device=device)


def posterior(a_t: Tensor | float, a_r: Tensor | float) -> tuple:
    """Weights of x0 and of x_t in the mean of x_r given both, and its variance, from alpha_bar at t and at r < t."""
    beta = 1 - a_t / a_r  # variance added from r to t
    return a_r**0.5 * beta / (1 - a_t), (a_t / a_r) ** 0.5 * (1 - a_r) / (1 - a_t), beta * (1 - a_r) / (1 - a_t)


def q_posterior(x0: Tensor, x: Tensor, t: Tensor, r: Tensor, s: Schedule) -> tuple[Tensor, Tensor]:
    """Mean (B, ...) and variance (B, 1, ..., 1) of x_r given x_t = x and x_0, for r < t (Ho et al., eq. 6-7).

    r = t - 1 is the textbook's single step; any earlier r is the same formula with alpha_bar_t / alpha_bar_r
    in the place of 1 - beta_t.
    """
    if not (r < t).all():
        raise ValueError("q_posterior goes back in time: every r must be smaller than its t")
    tables = [weight.float().to(x.device) for weight in posterior(s.exact[t.cpu()], s.exact[r.cpu()])]
    of_x0, of_x, variance = (at(table, torch.arange(len(t), device=x.device), x) for table in tables)
    return of_x0 * x0 + of_x * x, variance


def from_eps(eps: Tensor, x: Tensor, t: Tensor, s: Schedule) -> Denoised:
    """Divides by signal: near T an error in eps becomes a huge error in x0."""
    s = s.on(x.device)
    return Denoised((x - at(s.noise, t, x) * eps) / at(s.signal, t, x), eps)


def from_x0(x0: Tensor, x: Tensor, t: Tensor, s: Schedule) -> Denoised:
    """Divides by noise: needs t >= 1."""
    s = s.on(x.device)
    return Denoised(x0, (x - at(s.signal, t, x) * x0) / at(s.noise, t, x))


def from_v(v: Tensor, x: Tensor, t: Tensor, s: Schedule) -> Denoised:
    """Divides by nothing: (x, v) is (x0, eps) turned by an angle (Salimans & Ho 2022, appendix D)."""
    s = s.on(x.device)
    signal, noise = at(s.signal, t, x), at(s.noise, t, x)
    return Denoised(signal * x - noise * v, noise * x + signal * v)


class Prediction(NamedTuple):
    """What a network answers with: how its answer becomes Denoised, what it should have answered, what it is shown.

    denoised(answer, x, t, s); target(x0, t, eps, s); inputs(x, t, s), the preconditioning of x before the network.
    """

    denoised: Callable[[Tensor, Tensor, Tensor, Schedule], Denoised]
    target: Callable[[Tensor, Tensor, Tensor, Schedule], Tensor]
    inputs: Callable[[Tensor, Tensor, Schedule], Tensor] = lambda x, t, s: x


def v_target(x0: Tensor, t: Tensor, eps: Tensor, s: Schedule) -> Tensor:
    """v = signal eps - noise x0: the speed of x along the circle from x0 to eps (Salimans & Ho 2022, appendix D)."""
    s = s.on(x0.device)
    return at(s.signal, t, x0) * eps - at(s.noise, t, x0) * x0


PREDICTIONS = {
    "eps": Prediction(from_eps, lambda x0, t, eps, s: eps),
    "x0": Prediction(from_x0, lambda x0, t, eps, s: x0),
    "v": Prediction(from_v, v_target),
}


def target(predict: str, x0: Tensor, t: Tensor, eps: Tensor, s: Schedule) -> Tensor:
    """What a network that predicts "eps", "x0" or "v" should answer."""
    return PREDICTIONS[predict].target(x0, t, eps, s)


def min_snr(t: Tensor, s: Schedule, most: float = 5.0) -> Tensor:
    """min(snr, most) / (snr + 1), the weights of an error in v that Hang et al. 2023 (section 3.4) propose; (B,)."""
    snr = s.on(t.device).snr[t]
    return snr.clamp(max=most) / (snr + 1)


# How much an error at time t counts in the loss: functions (t (B,), Schedule) -> (B,)
WEIGHTS = {
    "uniform": lambda t, s: torch.ones_like(t, dtype=torch.float32),
    "min-snr-5": min_snr,
    "time": lambda t, s: 2 * t / s.T,  # what only the condition can tell is decided while there is hardly a picture
}
