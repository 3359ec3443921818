"""The test oracle: data whose exact denoiser is known."""

import torch
from torch import Tensor

from diffusion101.core.toy import Mixture

MEANS = torch.tensor([[-0.8, -0.4], [0.7, 0.6], [0.5, -0.7]])
WEIGHTS = torch.tensor([0.5, 0.3, 0.2])
STD = 0.15
MIXTURE = Mixture(MEANS, WEIGHTS, STD)
exact = MIXTURE.denoiser


def draw(n: int, seed: int = 0) -> Tensor:
    return MIXTURE.draw(n, torch.Generator().manual_seed(seed))


def miss(x: Tensor) -> dict[str, float]:
    """How far samples x (N, 2) are from the mixture: shares, centres and widths of its modes."""
    which = (x[:, None] - MEANS).square().sum(-1).argmin(1)
    parts = [x[which == k] for k in range(len(MEANS))]
    return {
        "share": max(abs(len(p) / len(x) - w.item()) for p, w in zip(parts, WEIGHTS)),
        "centre": max((p.mean(0) - m).abs().max().item() for p, m in zip(parts, MEANS)),
        "width": max((p.std(0) / STD - 1).abs().max().item() for p in parts),
    }
