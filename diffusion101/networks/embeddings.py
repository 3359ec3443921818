"""Numbers as vectors: sinusoidal features of the time, and the MLP that makes them useful."""

import math

import torch
from torch import Tensor, nn


def sinusoidal(t: Tensor, width: int, longest: float = 10000.0) -> Tensor:
    """(B,) times -> (B, width): cosines and sines of t at wavelengths from 2π to 2π · longest.

    Vaswani et al. 2017, section 3.5; neighbouring times get similar vectors, distant ones do not.
    """
    if width < 2 or width % 2:
        raise ValueError(f"the embedding's width is {width}; it must be an even number of at least 2")
    half = width // 2
    frequencies = torch.exp(-math.log(longest) * torch.arange(half, device=t.device) / half)  # (half,)
    angles = t[:, None].float() * frequencies  # (B, half)
    return torch.cat([angles.cos(), angles.sin()], dim=1)  # (B, width)


class TimeEmbedding(nn.Module):
    """(B,) times -> (B, width) vectors, shared by all blocks."""

    def __init__(self, width: int):
        super().__init__()
        self.width = width
        self.mlp = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width))

    def forward(self, t: Tensor) -> Tensor:
        return self.mlp(sinusoidal(t, self.width).to(self.mlp[0].weight.dtype))
