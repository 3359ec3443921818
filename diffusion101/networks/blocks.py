"""The bricks of the UNet. Each ends in a layer that starts at zero, so a fresh brick changes nothing."""

from collections.abc import Sequence

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


class Modulation(nn.Module):
    """h (B, C, H, W), embs [(B, E), ...] -> h (1 + scale) + shift, where each embedding adds to scale and shift.

    Adaptive group normalisation (Dhariwal & Nichol 2021, section 3), as h comes from a norm; before it FiLM (Perez et
    al. 2018). Every embedding has a projection of its own, zero at first: one that comes later disturbs nothing.
    """

    def __init__(self, emb_widths: Sequence[int], width: int):
        super().__init__()
        self.hear = nn.ModuleList(zeroed(nn.Linear(emb_width, 2 * width)) for emb_width in emb_widths)

    def forward(self, h: Tensor, embs: Sequence[Tensor]) -> Tensor:
        both = sum(hear(F.silu(emb)) for hear, emb in zip(self.hear, embs))  # (B, 2C)
        scale, shift = both[:, :, None, None].chunk(2, dim=1)  # (B, C, 1, 1) each
        return h * (1 + scale) + shift


class ResBlock(nn.Module):
    """x (B, C, H, W) -> (B, width, H, W): x plus two normalised 3x3 convolutions of it.

    modulate, called as (h, embs), acts on h after the second norm: how a block hears the time and the label.
    resize changes height and width inside the block, before the first convolution, and on the way around it.
    """

    def __init__(
        self,
        channels: int,
        width: int,
        modulate: nn.Module | None = None,
        dropout: float = 0.0,
        resize: nn.Module | None = None,
    ):
        super().__init__()
        self.norm1, self.conv1 = norm(channels), nn.Conv2d(channels, width, 3, padding=1)
        self.norm2, self.conv2 = norm(width), zeroed(nn.Conv2d(width, width, 3, padding=1))
        self.modulate, self.dropout = modulate, nn.Dropout(dropout)
        self.skip = nn.Conv2d(channels, width, 1) if channels != width else nn.Identity()
        self.resize = resize or nn.Identity()

    def forward(self, x: Tensor, embs: Sequence[Tensor] = ()) -> Tensor:
        h = self.norm2(self.conv1(self.resize(F.silu(self.norm1(x)))))
        if self.modulate is not None:
            h = self.modulate(h, embs)
        return self.skip(self.resize(x)) + self.conv2(self.dropout(F.silu(h)))


class Shrink(ResBlock):
    """A ResBlock that halves the picture: (B, C, H, W) -> (B, width, H/2, W/2), by the means of 2x2 pixels.

    BigGAN's blocks (Brock et al. 2019, figure 15) as Dhariwal & Nichol 2021, section 3, use them in a UNet: so these
    layers too have a way around them, and hear the time and the label.
    """

    def __init__(self, channels: int, width: int, modulate: nn.Module | None = None, dropout: float = 0.0):
        super().__init__(channels, width, modulate, dropout, nn.AvgPool2d(2))


class Grow(ResBlock):
    """A ResBlock that doubles the picture: (B, C, H, W) -> (B, width, 2H, 2W), each pixel four times.

    Both ways through it start at zero: a network with a new, smaller resolution gives the same answer as without.
    """

    def __init__(self, channels: int, width: int, modulate: nn.Module | None = None, dropout: float = 0.0):
        super().__init__(channels, width, modulate, dropout, nn.Upsample(scale_factor=2))
        self.skip = zeroed(nn.Conv2d(channels, width, 1))


class Down(nn.Module):
    """(B, C, H, W) -> (B, width, H/2, W/2): a convolution in every second place; it hears no embeddings."""

    def __init__(self, channels: int, width: int):
        super().__init__()
        self.conv = nn.Conv2d(channels, width, 3, stride=2, padding=1)

    def forward(self, x: Tensor, embs: Sequence[Tensor] = ()) -> Tensor:
        return self.conv(x)


class Up(nn.Module):
    """(B, C, H, W) -> (B, width, 2H, 2W): a convolution that starts at zero, then each pixel four times.

    In this order the convolution costs a quarter; the blocks that follow smooth the steps. It hears no embeddings.
    """

    def __init__(self, channels: int, width: int):
        super().__init__()
        self.conv = zeroed(nn.Conv2d(channels, width, 3, padding=1))

    def forward(self, x: Tensor, embs: Sequence[Tensor] = ()) -> Tensor:
        return F.interpolate(self.conv(x), scale_factor=2, mode="nearest")
