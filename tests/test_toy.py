"""The toy's formulas: where the ring lies, and that its denoiser is the best there is."""

import torch

from diffusion101 import schedules, toy
from diffusion101.core.process import q_sample


def test_ring_lies_on_its_circle():
    x = toy.ring(modes=5, radius=2.0, std=0.01).draw(1000, torch.Generator().manual_seed(0))
    assert (x.norm(dim=1) - 2).abs().max() < 0.05
    assert (x - torch.tensor([2.0, 0.0])).norm(dim=1).min() < 0.05


def test_the_best_answer_is_given_on_the_points_device():
    x, t = torch.zeros(3, 2, device="meta"), torch.ones(3, dtype=torch.int64, device="meta")
    assert toy.ring().denoiser(schedules.linear())(x, t).x0.device.type == "meta"


def test_no_other_answer_is_better():
    """The average of eps given x has the least mean square error, and so is uncorrelated with it."""
    s, ring, g = schedules.linear(), toy.ring(), torch.Generator().manual_seed(0)
    x0, eps = ring.draw(100_000, g), torch.randn(100_000, 2, generator=g)
    t = torch.randint(1, 1001, (100_000,), generator=g)
    x = q_sample(x0, t, eps, s)
    error = ring.denoiser(s)(x, t).eps - eps
    for other in (x, x**2, x * t[:, None] / 1000, ring.denoiser(s)(x, t).eps, x.sin()):
        assert (error * other).mean().abs() < 0.01
