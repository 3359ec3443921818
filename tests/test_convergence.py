"""How samplers come nearer with more steps, under each spacing, where the exact denoiser is known."""

import math

import mixture
import pytest
import torch

from diffusion101 import samplers, schedules
from diffusion101.core.process import Denoised

EACH = pytest.mark.parametrize("spacing", schedules.SPACINGS)
FINE = 10_000  # times, lest whole numbers hide what few steps do
ORDERS = {"ddim": 1, "dpmpp_2m": 2}


def fine(kind: str) -> schedules.Schedule:
    """The same process cut into more times."""
    options = {"beta_start": 0.1 / FINE, "beta_end": 20 / FINE} if kind == "linear" else {}
    return schedules.make(kind, T=FINE, **options)


@EACH
@pytest.mark.parametrize("kind", schedules.KINDS)
def test_order_of_convergence(kind, spacing):
    """Four times the steps: a quarter of the error for ddim, a sixteenth for dpmpp_2m, against 640 steps."""
    s = fine(kind)
    x = torch.randn(200, 2, generator=torch.Generator().manual_seed(0)).double()

    def end(name, steps):
        *_, last = samplers.SAMPLERS[name](mixture.exact(s), x, s, steps=steps, spacing=spacing)
        return last.x

    best = end("dpmpp_2m", 640)
    for name, order in ORDERS.items():
        few, many = ((end(name, steps) - best).square().mean().sqrt().item() for steps in (40, 160))
        assert math.log(few / many, 4) == pytest.approx(order, abs=0.35), f"{name}: {few:.1e}, then {many:.1e}"


@EACH
@pytest.mark.parametrize("sampler", samplers.SAMPLERS)
@pytest.mark.parametrize("kind", schedules.KINDS)
def test_every_sampler_and_spacing_reaches_the_mean_and_the_covariance(kind, sampler, spacing):
    """4,000 points know either to about 0.012."""
    s = schedules.make(kind)
    x = torch.randn(4000, 2, generator=torch.Generator().manual_seed(0))
    fresh = torch.Generator().manual_seed(1)
    path = list(samplers.SAMPLERS[sampler](mixture.exact(s), x, s, steps=100, spacing=spacing, generator=fresh))
    last, times = path[-1], [step.t for step in path]
    assert times == s.times(100, spacing)[1:]
    mean = mixture.WEIGHTS @ mixture.MEANS
    away = mixture.MEANS - mean
    covariance = (mixture.WEIGHTS * away.T) @ away + mixture.STD**2 * torch.eye(2)
    assert (last.x.mean(0) - mean).abs().max() < 0.04
    assert (torch.cov(last.x.T) - covariance).abs().max() < 0.04


@pytest.mark.parametrize("spacing", [name for name in schedules.SPACINGS if name != "karras_cut"])  # it stays away
@pytest.mark.parametrize("kind", schedules.KINDS)
@pytest.mark.parametrize("name, order", [("ddpm", 1), ("dpmpp_2m_sde", 2)])
def test_order_of_the_spread_with_fresh_noise(name, order, kind, spacing, monkeypatch):
    """Nothing is drawn here. Where the data is normal every step is linear, so x is a sum of independent noises. Each
    of them is an axis of its own, and the squared length of x is its variance."""
    s, std = fine(kind), 0.5
    signal, noise = s.exact.sqrt(), (1 - s.exact).sqrt()

    def denoise(x, t):
        a, b = signal[t[0]], noise[t[0]]
        x0 = a * std**2 / ((a * std) ** 2 + b**2) * x
        return Denoised(x0, (x - a * x0) / b)

    def miss(steps):
        first, *axes = torch.eye(steps, dtype=torch.float64)  # the last step draws none
        monkeypatch.setattr(samplers, "draw_noise", lambda x, generator: axes.pop())
        *_, last = samplers.SAMPLERS[name](denoise, first, s, steps=steps, spacing=spacing)
        assert not axes
        return abs(last.x.square().sum().item() - std**2)

    few, many = miss(160), miss(640)
    assert math.log(few / many, 4) == pytest.approx(order, abs=0.35), f"{few:.1e}, then {many:.1e}"
