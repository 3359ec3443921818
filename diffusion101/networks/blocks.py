"""The bricks of the UNet. Each ends in a layer that starts at zero, so a fresh brick changes nothing."""

import torch.nn.functional as F
from torch import Tensor, nn


def zeroed(module: nn.Module) -> nn.Module:
    """The module with all its parameters set to zero: what it feeds starts as the identity."""
    for parameter in module.parameters():
        nn.init.zeros_(parameter)
    return module


def norm(width: int) -> nn.GroupNorm:
    """Group normalisation, 16 channels to a group (Wu & He 2018, table 3; in channels_last the fastest on CPUs)."""
    return nn.GroupNorm(width // 16 if width % 16 == 0 else 1, width)


class ResBlock(nn.Module):
    """x (B, C, H, W) -> (B, width, H, W): x plus two normalised 3x3 convolutions of it.

    With a time embedding emb (B, emb_width), a projection of it, zero at first, is added between the two.
    """

    def __init__(self, channels: int, width: int, emb_width: int = 0, dropout: float = 0.0):
        super().__init__()
        self.norm1, self.conv1 = norm(channels), nn.Conv2d(channels, width, 3, padding=1)
        self.norm2, self.conv2 = norm(width), zeroed(nn.Conv2d(width, width, 3, padding=1))
        self.emb = zeroed(nn.Linear(emb_width, width)) if emb_width else None
        self.dropout = nn.Dropout(dropout)
        self.skip = nn.Conv2d(channels, width, 1) if channels != width else nn.Identity()

    def forward(self, x: Tensor, emb: Tensor | None = None) -> Tensor:
        h = self.conv1(F.silu(self.norm1(x)))
        if self.emb is not None:
            h = h + self.emb(F.silu(emb))[:, :, None, None]
        h = self.conv2(self.dropout(F.silu(self.norm2(h))))
        return self.skip(x) + h


class Down(nn.Module):
    """(B, C, H, W) -> (B, width, H/2, W/2)."""

    def __init__(self, channels: int, width: int):
        super().__init__()
        self.conv = nn.Conv2d(channels, width, 3, stride=2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)


class Up(nn.Module):
    """(B, C, H, W) -> (B, width, 2H, 2W): each pixel four times, then a convolution that starts at zero."""

    def __init__(self, channels: int, width: int):
        super().__init__()
        self.conv = zeroed(nn.Conv2d(channels, width, 3, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.interpolate(x, scale_factor=2, mode="nearest"))
