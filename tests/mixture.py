"""The test oracle: data whose exact denoiser is known."""

import torch
from torch import Tensor

from diffusion101.process import Denoised, at, from_x0
from diffusion101.schedules import Schedule

MEANS = torch.tensor([[-0.8, -0.4], [0.7, 0.6], [0.5, -0.7]])
WEIGHTS = torch.tensor([0.5, 0.3, 0.2])
STD = 0.15


def draw(n: int, seed: int = 0) -> Tensor:
    g = torch.Generator().manual_seed(seed)
    which = torch.multinomial(WEIGHTS, n, replacement=True, generator=g)
    return MEANS[which] + STD * torch.randn(n, 2, generator=g)


def exact(s: Schedule):
    """E[x0 | x_t = x] of the mixture: a softmax over the modes, and in each the posterior mean of a normal."""

    def denoise(x: Tensor, t: Tensor) -> Denoised:
        signal, noise = at(s.signal, t, x), at(s.noise, t, x)
        variance = signal**2 * STD**2 + noise**2  # (B, 1), of x given the mode
        away = x[:, None] - signal[..., None] * MEANS  # (B, modes, 2)
        odds = (WEIGHTS.log() - away.square().sum(-1) / (2 * variance)).softmax(1)  # (B, modes)
        means = MEANS + (signal * STD**2 / variance)[..., None] * away
        return from_x0((odds[..., None] * means).sum(1), x, t, s)

    return denoise


def miss(x: Tensor) -> dict[str, float]:
    """How far samples x (N, 2) are from the mixture: shares, centres and widths of its modes."""
    which = (x[:, None] - MEANS).square().sum(-1).argmin(1)
    parts = [x[which == k] for k in range(len(MEANS))]
    return {
        "share": max(abs(len(p) / len(x) - w.item()) for p, w in zip(parts, WEIGHTS)),
        "centre": max((p.mean(0) - m).abs().max().item() for p, m in zip(parts, MEANS)),
        "width": max((p.std(0) / STD - 1).abs().max().item() for p in parts),
    }
