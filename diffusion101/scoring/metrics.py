"""Distances between sets of pictures, by their features."""

import math

import torch
from torch import Tensor

from ..data.images import Images


def frechet(a: Tensor, b: Tensor) -> float:
    """Squared Fréchet distance of two normal distributions fitted to features a (N, D) and b (M, D).

    |mu_a - mu_b|² + tr(A + B - 2 (A B)^(1/2)), as Heusel et al. 2017 (FID) but in our classifier's features.
    """
    a, b = a.cpu().double(), b.cpu().double()  # mps has no float64
    A, B = torch.cov(a.T), torch.cov(b.T)
    values, vectors = torch.linalg.eigh(A)
    root = vectors * values.clamp(min=0).sqrt() @ vectors.T  # A^(1/2)
    cross = torch.linalg.eigvalsh(root @ B @ root).clamp(min=0).sqrt().sum()
    return ((a.mean(0) - b.mean(0)).square().sum() + A.trace() + B.trace() - 2 * cross).item()


def frechet_ratio(real: Tensor, features: Tensor, base: Tensor, repeats: int = 200) -> dict:
    """How many times as far from the real pictures as others: "ratio", and the "interval" that holds it with 95 %.

    Features (M, D) of real pictures and (N, D) of two sets that belong together picture by picture. Bootstrap (Efron
    1979): the same pictures are drawn for both, and only the spread is used, as pictures drawn twice make both
    distances larger. The real ones stay the same: how the ratio would change with others is not in the interval.
    """
    generator = torch.Generator().manual_seed(0)
    found = frechet(real, features) / frechet(real, base)
    logs = []
    for _ in range(repeats):
        some = torch.randint(len(base), (len(base),), generator=generator).to(base.device)
        logs.append(math.log(frechet(real, features[some]) / frechet(real, base[some])))
    spread = math.exp(1.96 * torch.tensor(logs).std().item())
    return {"ratio": found, "interval": [found / spread, found * spread]}


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
