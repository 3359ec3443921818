"""A toy world where the perfect denoiser is known: points in a plane, drawn from a mixture of round normals."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from .process import Denoised, at, from_x0
from .schedules import Schedule


@dataclass(frozen=True)
class Mixture:
    """Normals around means (K, D), chosen with these weights (K,), all with the same standard deviation."""

    means: Tensor
    weights: Tensor
    std: float

    def draw(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """Points (n, D)."""
        which = torch.multinomial(self.weights, n, replacement=True, generator=generator)
        return self.means[which] + self.std * torch.randn(n, self.means.shape[1], generator=generator)

    def denoiser(self, s: Schedule):
        """The function (x, t) -> Denoised that no network can beat: E[x0 | x_t = x].

        How likely each normal is (a softmax), times where x0 would lie in it (the posterior mean of a normal).
        """

        def denoise(x: Tensor, t: Tensor) -> Denoised:
            here, means, weights = s.on(x.device), self.means.to(x), self.weights.to(x)
            signal, noise = at(here.signal, t, x), at(here.noise, t, x)  # (B, 1)
            variance = signal**2 * self.std**2 + noise**2  # (B, 1), of x within one normal
            away = x[:, None] - signal[..., None] * means  # (B, K, D)
            odds = (weights.log() - away.square().sum(-1) / (2 * variance)).softmax(1)  # (B, K)
            centres = means + (signal * self.std**2 / variance)[..., None] * away  # (B, K, D)
            return from_x0((odds[..., None] * centres).sum(1), x, t, s)

        return denoise


def ring(modes: int = 6, radius: float = 1.0, std: float = 0.15) -> Mixture:
    """Equally likely normals, evenly spaced on a circle."""
    angle = torch.arange(modes) * 2 * math.pi / modes
    return Mixture(radius * torch.stack([angle.cos(), angle.sin()], 1), torch.full((modes,), 1 / modes), std)
