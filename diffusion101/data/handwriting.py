"""New handwritings, made from old digits: what lesson 07 teaches a finished model."""

import torch
import torch.nn.functional as F
from torch import Tensor

from .images import Images


def thicken(x: Tensor) -> Tensor:
    """Strokes one pixel wider on every side; x (N, C, H, W) in [0, 1]."""
    return F.max_pool2d(x, 3, stride=1, padding=1)


def thin(x: Tensor) -> Tensor:
    """Strokes half a pixel narrower on every side: eroded at twice the size, and back."""
    return F.avg_pool2d(-thicken(-_twice(x)), 2)


def bold(x: Tensor) -> Tensor:
    """Strokes half a pixel wider on every side: small loops stay open."""
    return F.avg_pool2d(thicken(_twice(x)), 2)


def _twice(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)


def outline(x: Tensor) -> Tensor:
    """Only the rim of a thick stroke: the thickened stroke less its inside, at twice the size and back."""
    big = _twice(x)
    thick = thicken(thicken(big))
    rim = thick - -thicken(-big)  # minus the eroded one
    return F.avg_pool2d(rim, 2).clamp(0, 1)


def slant(x: Tensor, amount: float = 0.6) -> Tensor:
    """Leaning to the left: each row shifted in proportion to its height."""
    theta = torch.tensor([[1.0, -amount, 0.0], [0.0, 1.0, 0.0]], device=x.device).expand(len(x), 2, 3)
    return F.grid_sample(x, F.affine_grid(theta, list(x.shape), align_corners=False), align_corners=False)


def lean(x: Tensor) -> Tensor:
    """How far the ink of x (N, 1, H, W) in [-1, 1] leans to the right, pixels for each pixel upwards: (N,).

    The slope of the line that fits best, across for each row: its ink's covariance of across and up, by the variance
    of up. slant lowers it by its amount.
    """
    ink = (x[:, 0] + 1).clamp(min=0)  # (N, H, W)
    ink = ink / ink.sum((1, 2), keepdim=True)
    up = -torch.arange(x.shape[2], device=x.device).float()[:, None]  # (H, 1)
    across = torch.arange(x.shape[3], device=x.device).float()[None]  # (1, W)
    up = up - (ink * up).sum((1, 2), keepdim=True)
    across = across - (ink * across).sum((1, 2), keepdim=True)
    return (ink * up * across).sum((1, 2)) / (ink * up.square()).sum((1, 2))


HANDWRITINGS = {"outline": outline, "heavy": thicken, "slant": slant}


def write(digits: Images, handwriting: str, count: int = 300, seed: int = 0) -> Images:
    """A few digits of a data set in another handwriting (HANDWRITINGS), every digit about equally often."""
    if handwriting not in HANDWRITINGS:
        raise ValueError(f"unknown handwriting {handwriting!r}; there are {', '.join(HANDWRITINGS)}")
    if not 10 <= count <= len(digits):
        raise ValueError(f"count is {count}; it must lie from 10 to {len(digits)}")
    order = torch.randperm(len(digits), generator=torch.Generator().manual_seed(seed))
    by_digit = [order[digits.labels.cpu()[order] == digit] for digit in range(10)]
    index = torch.cat([mine[: -(-(count - digit) // 10)] for digit, mine in enumerate(by_digit)])
    pictures = HANDWRITINGS[handwriting](digits.images[index].float() / 255).mul(255).round().byte()
    sentence = f"{len(index)} digits of {digits.name} in another handwriting: {handwriting}."
    return Images(digits.name, pictures, digits.labels[index], sentence)
