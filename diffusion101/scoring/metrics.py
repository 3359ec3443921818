"""Distances between sets of pictures, by their features."""

import torch
from torch import Tensor

from ..data.images import Images


def frechet(a: Tensor, b: Tensor) -> float:
    """Squared Fréchet distance of two normal distributions fitted to features a (N, D) and b (M, D).

    |mu_a - mu_b|² + tr(A + B - 2 (A B)^(1/2)), as Heusel et al. 2017 (FID) but in our classifier's features.
    """
    a, b = a.double(), b.double()
    A, B = torch.cov(a.T), torch.cov(b.T)
    values, vectors = torch.linalg.eigh(A)
    root = vectors * values.clamp(min=0).sqrt() @ vectors.T  # A^(1/2)
    cross = torch.linalg.eigvalsh(root @ B @ root).clamp(min=0).sqrt().sum()
    return ((a.mean(0) - b.mean(0)).square().sum() + A.trace() + B.trace() - 2 * cross).item()


def precision_recall(real: Tensor, fake: Tensor, k: int = 3) -> tuple[float, float]:
    """Share of fakes near some real picture, and of reals near some fake (Kynkäänniemi et al. 2019, eq. 1).

    Near: within the distance to that picture's k-th neighbour among its own kind. Features (N, D), (M, D).
    """

    def covered(points: Tensor, by: Tensor) -> float:
        radius = torch.cdist(by, by).kthvalue(k + 1, dim=1).values  # the nearest is the picture itself
        return (torch.cdist(points, by) <= radius).any(1).float().mean().item()

    return covered(fake, real), covered(real, fake)


@torch.no_grad()
def nearest(x: Tensor, data: Images) -> tuple[Tensor, Tensor]:
    """For each picture x (B, C, H, W): the index of the nearest training picture, and its RMS pixel difference."""
    flat = x.flatten(1)
    parts = torch.arange(len(data)).split(10_000)
    distances = torch.cat([torch.cdist(flat, data.pictures(part).flatten(1)) for part in parts], 1)
    value, index = distances.min(1)
    return index, value / flat.shape[1] ** 0.5
