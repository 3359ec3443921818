"""Attention: pixels ask, and tokens answer (cross-attention) or the pixels themselves (self-attention)."""

import torch
from torch import Tensor, nn

from .blocks import norm, zeroed
from .embeddings import sinusoidal


def places(height: int, width: int, channels: int, like: Tensor) -> Tensor:
    """(H * W, channels): sinusoidal features of each pixel's place, half of them for its row and half for its column.

    Rows and columns run from 0 to 100 at any size, so a larger picture has the same left and right.
    """
    y = sinusoidal(torch.linspace(0, 100, height, device=like.device), channels // 2)  # (H, channels / 2)
    x = sinusoidal(torch.linspace(0, 100, width, device=like.device), channels // 2)  # (W, channels / 2)
    grid = torch.cat([y[:, None].expand(-1, width, -1), x[None].expand(height, -1, -1)], dim=-1)
    return grid.reshape(height * width, channels).to(like)


def weights(q: Tensor, k: Tensor, mask: Tensor | None = None) -> Tensor:
    """softmax(q kᵀ / sqrt(d)): how much each of q (..., N, d) takes from each of k (..., L, d); (..., N, L).

    mask, to be broadcast over these: False where nothing may be taken, and each row needs one True; or numbers, which
    are added before the softmax.
    """
    scores = q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5
    if mask is not None:
        scores = scores.masked_fill(~mask, -torch.inf) if mask.dtype == torch.bool else scores + mask
    return scores.softmax(-1)


def attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
    """softmax(q kᵀ / sqrt(d)) v (Vaswani et al. 2017, eq. 1): (..., N, d) for v (..., L, d).

    PyTorch's fused attention is made for thousands of tokens: over our tens of them, in bf16 on a CPU, its backward
    pass takes five to ten times as long.
    """
    return weights(q, k, mask) @ v


class CrossAttention(nn.Module):
    """softmax(Q Kᵀ / sqrt(d)) V with queries from pixels h (B, N, C), keys and values from tokens (B, L, context).

    Vaswani et al. 2017, eq. 1, with several heads; the output projection starts at zero. there (B, L) bool: which
    tokens are read, at least one in each row; None: all. With keep = True the last call's weights stay in .maps
    (B, heads, N, L). mix(q, k, v, mask), all (B, heads, N or L, d), may be exchanged, to see what hangs on it.
    """

    mix = staticmethod(attention)

    def __init__(self, width: int, context: int, heads: int):
        super().__init__()
        if width % heads:
            raise ValueError(f"{heads} heads do not divide a width of {width}")
        self.heads, self.keep, self.maps = heads, False, None
        self.to_q = nn.Linear(width, width, bias=False)
        self.to_k = nn.Linear(context, width, bias=False)
        self.to_v = nn.Linear(context, width, bias=False)
        self.to_out = zeroed(nn.Linear(width, width))

    def forward(self, h: Tensor, tokens: Tensor, there: Tensor | None = None, bias: Tensor | None = None) -> Tensor:
        """bias (heads, N, L), only together with there: what is added before the softmax."""

        def split(z: Tensor) -> Tensor:
            return z.unflatten(-1, (self.heads, -1)).transpose(1, 2)  # (B, heads, N or L, d)

        q, k, v = split(self.to_q(h)), split(self.to_k(tokens)), split(self.to_v(tokens))
        mask = None if there is None else there[:, None, None]  # (B, 1, 1, L)
        if bias is not None:
            mask = bias.where(mask, -torch.inf)  # (B, heads, N, L)
        if self.keep:
            self.maps = weights(q, k, mask)
            mixed = self.maps @ v
        else:
            mixed = self.mix(q, k, v, mask)
        return self.to_out(mixed.transpose(1, 2).flatten(2))  # (B, N, C)


class TokenBlock(nn.Module):
    """h (B, C, H, W) and tokens (B, L, context) -> (B, C, H, W): cross-attention, then a feed-forward, both added.

    there (B, L) bool: which tokens are read; None: all. placed: whether pixels ask with their places added.
    """

    placed = True

    def __init__(self, width: int, context: int, heads: int):
        super().__init__()
        self.norm1, self.attend = norm(width), CrossAttention(width, context, heads)
        self.norm2 = nn.LayerNorm(width)
        self.feed = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), zeroed(nn.Linear(2 * width, width)))

    def forward(self, h: Tensor, tokens: Tensor, there: Tensor | None = None) -> Tensor:
        height, width = h.shape[2:]
        flat = h.flatten(2).transpose(1, 2)  # (B, H * W, C)
        asking = self.norm1(h).flatten(2).transpose(1, 2)
        if self.placed:
            asking = asking + places(height, width, h.shape[1], asking)
        flat = flat + self.attend(asking, tokens, there)
        flat = flat + self.feed(self.norm2(flat))
        return flat.transpose(1, 2).unflatten(2, (height, width))


class PixelBlock(nn.Module):
    """h (B, C, H, W) -> (B, C, H, W): self-attention, added; every pixel asks all others (Ho et al. 2020, appendix B).

    The arithmetic grows with the square of H * W, so it belongs to the lowest resolutions.
    """

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.norm, self.attend = norm(width), CrossAttention(width, width, heads)

    def forward(self, h: Tensor) -> Tensor:
        flat = self.norm(h).flatten(2).transpose(1, 2)  # (B, H * W, C)
        return h + self.attend(flat, flat).transpose(1, 2).unflatten(2, h.shape[2:])
