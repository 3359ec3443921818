"""The judges: small convolutional classifiers whose features measure everybody else's pictures."""

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..networks.blocks import ResBlock


class Classifier(nn.Module):
    """Pictures x (B, C, H, W) in [-1, 1] -> logits (B, classes); features are (B, 64). layout: a name in LAYOUTS.

    It has a `loss` as a Denoiser has, so the same training loop trains it; augmentation is part of the loss.
    """

    def __init__(self, classes: int = 10, width: int = 32, layout: str = "digits"):
        super().__init__()
        plan = LAYOUTS[layout]
        self.vary = plan.vary
        self.options = {"classes": classes, "width": width, "layout": layout}
        layers, a = [], plan.channels
        for stage in plan.stages:
            b = stage.widths * width
            layers += [nn.Conv2d(a, b, 3, padding=1, bias=False), nn.GroupNorm(b // 16, b), nn.SiLU()]
            layers += [nn.MaxPool2d(2)] if stage.halved else []
            layers += [ResBlock(b, b)] if stage.residual else []
            a = b
        self.body = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(plan.side), nn.Flatten())
        self.dropout = nn.Dropout(0.3)
        self.features = nn.Sequential(nn.Linear(a * plan.side**2, 64), nn.SiLU())
        self.head = nn.Linear(64, classes)
        self.to(memory_format=torch.channels_last)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (B, classes) and features (B, 64)."""
        h = self.body(x.contiguous(memory_format=torch.channels_last))
        features = self.features(self.dropout(h))
        return self.head(features), features

    def loss(
        self, x: Tensor, labels: Tensor, generator: torch.Generator | None = None, part: slice = slice(None)
    ) -> Tensor:
        """Cross-entropy with smoothed labels on pictures that are slightly changed, as the layout says.

        part: the pictures that count here; the others are changed all the same.
        """
        logits, _ = self(self.vary(x, generator)[part])
        return F.cross_entropy(logits.float(), labels[part], label_smoothing=0.05)


def jitter(x: Tensor, generator: torch.Generator | None = None, amount: float = 0.12) -> Tensor:
    """x (B, C, H, W) under a random affine map per picture: the identity plus uniform noise of this amount."""
    noise = torch.rand(len(x), 2, 3, generator=generator, device=x.device) * 2 - 1
    theta = torch.eye(2, 3, device=x.device) + amount * noise
    grid = F.affine_grid(theta, list(x.shape), align_corners=False)
    return F.grid_sample(x + 1, grid, align_corners=False) - 1  # outside is black: -1


def shift(x: Tensor, generator: torch.Generator | None = None, most: int = 4) -> Tensor:
    """x (B, C, H, W), each picture moved by up to `most` pixels up or down and left or right.

    What comes in at the edge is the picture mirrored there (He et al. 2016, section 4.2, pad with zeros instead).
    """
    n, _, height, width = x.shape
    padded = F.pad(x, (most,) * 4, mode="reflect")
    down, right = torch.randint(0, 2 * most + 1, (2, n, 1), generator=generator, device=x.device)
    rows = (down + torch.arange(height, device=x.device))[:, None, :, None]
    columns = (right + torch.arange(width, device=x.device))[:, None, None, :]
    pictures, channels = torch.arange(n, device=x.device), torch.arange(x.shape[1], device=x.device)
    return padded[pictures[:, None, None, None], channels[None, :, None, None], rows, columns]


def cutout(x: Tensor, generator: torch.Generator | None = None, side: int = 12) -> Tensor:
    """x (B, C, H, W) with a square of this side, anywhere over each picture's edge or inside, in the mean grey, 0.

    DeVries & Taylor 2017: what an object is must be seen from any of its parts.
    """
    n, _, height, width = x.shape
    far = side // 2  # the middle lies in the picture
    top = torch.randint(-far, height - far, (n, 1, 1, 1), generator=generator, device=x.device)
    left = torch.randint(-far, width - far, (n, 1, 1, 1), generator=generator, device=x.device)
    y, x_ = torch.arange(height, device=x.device)[:, None], torch.arange(width, device=x.device)
    inside = (y >= top) & (y < top + side) & (x_ >= left) & (x_ < left + side)  # (B, 1, H, W)
    return x.masked_fill(inside, 0.0)


def shift_and_cut(x: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """x (B, C, H, W) shifted, and with a part of each picture cut out."""
    return cutout(shift(x, generator), generator)


class Stage(NamedTuple):
    """A 3x3 convolution of so many widths; then perhaps half the size; then perhaps a residual block."""

    widths: int
    halved: bool = False
    residual: bool = False


class Layout(NamedTuple):
    """channels of a picture; the stages; the side of what the features see; how pictures vary while it learns."""

    channels: int
    stages: tuple[Stage, ...]
    side: int
    vary: Callable[..., Tensor]


LAYOUTS = {
    "digits": Layout(1, (Stage(1), Stage(1, True), Stage(2), Stage(2, True), Stage(2)), 7, jitter),
    # a ResNet of nine layers: its arithmetic is spread evenly over the resolutions, its parameters are at the bottom
    "colour": Layout(3, (Stage(1), Stage(2, True, True), Stage(4, True), Stage(8, True, True)), 1, shift_and_cut),
}
