"""One UNet for the whole course; each lesson replaces one thing in its config."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .attention import PixelBlock, TokenBlock
from .blocks import Down, Grow, Modulation, ResBlock, Shrink, Up, norm, zeroed
from .conditions import Heard, Labels, Tokens
from .embeddings import TimeEmbedding
from .text import Words


@dataclass(frozen=True)
class Level:
    """One resolution of a UNet.

    width      channels there
    blocks     residual blocks on the way down, and as many on the way up
    cross      whether every block is followed by cross-attention to the tokens of the condition
    attention  whether every block is followed by self-attention of the pixels
    """

    width: int
    blocks: int = 1
    cross: bool = False
    attention: bool = False

    __pydantic_config__ = {"extra": "forbid", "strict": True}

    def __post_init__(self):
        if not (1 <= self.width <= 4096 and 1 <= self.blocks <= 64):
            raise ValueError(f"a level needs a width from 1 to 4096 and 1 to 64 blocks, not {self}")


@dataclass(frozen=True)
class UNetConfig:
    """Everything that shapes a UNet.

    levels     one per resolution; every one after the first halves the picture
    channels   of the picture: 1 grey, 3 colour
    time       width of the time embedding; 0: the network does not know t
    condition  what it can be told: Labels, Tokens, Words or None
    heads      of attention
    dropout    rate inside the residual blocks
    biggan     whether pictures shrink and grow inside residual blocks, as in BigGAN, or in single convolutions
    answers    how many pictures come out, one behind the other in the channels: 2 where the variance is learned, too
    """

    levels: tuple[Level, ...] = (Level(16),)
    channels: int = 1
    time: int = 0
    condition: Labels | Tokens | Words | None = None
    heads: int = 4
    dropout: float = 0.0
    biggan: bool = False
    answers: int = 1

    __pydantic_config__ = {"extra": "forbid", "strict": True}

    def __post_init__(self):
        if not 1 <= len(self.levels) <= 10 or not 1 <= self.channels <= 64:
            raise ValueError(f"a UNet has 1 to 10 levels and 1 to 64 channels, not {self}")
        if self.time % 2 or not 0 <= self.time <= 8192:
            raise ValueError(f"time is {self.time}; it must be an even width up to 8192, or 0 for none")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout is {self.dropout}; it must lie from 0 to below 1")
        if self.answers not in (1, 2):
            raise ValueError(f"answers is {self.answers}; it must be 1, or 2 to learn the variance")
        looking = [level for level in self.levels if level.cross or level.attention]
        if any(self.heads < 1 or level.width % self.heads for level in looking):
            raise ValueError(f"{self.heads} heads do not divide the widths of {looking}")
        if odd := [level.width for level in self.levels if level.cross and level.width % 4]:
            raise ValueError(f"cross-attention needs widths divisible by 4, for where a pixel stands, not {odd[0]}")
        if any(level.cross for level in self.levels) != bool(self.condition and self.condition.asked):
            raise ValueError("tokens and cross-attention go together: some level needs cross, and Tokens or Words")
        if isinstance(self.condition, Labels) and not self.time:
            raise ValueError("labels are heard where the time is heard: give time a width too")

    @property
    def multiple(self) -> int:
        """The number that a picture's height and width must be divisible by."""
        return 2 ** (len(self.levels) - 1)


class Stage(nn.Module):
    """One resolution: blocks down (push), everything smaller, blocks up (pop)."""

    def __init__(self, config: UNetConfig, depth: int = 0):
        super().__init__()
        level, deeper = config.levels[depth], config.levels[depth + 1 :]
        heard = [config.time] * bool(config.time)
        heard += config.condition.vectors(config.time) if config.condition else ()

        def hearing(width: int) -> Modulation | None:
            return Modulation(heard, width) if heard else None

        def blocks(channels: int) -> nn.ModuleList:
            modulate = [hearing(level.width) for _ in range(level.blocks)]
            return nn.ModuleList(ResBlock(channels, level.width, m, config.dropout) for m in modulate)

        def looking() -> nn.ModuleList | None:
            if not level.attention:
                return None
            return nn.ModuleList(PixelBlock(level.width, config.heads) for _ in range(level.blocks))

        def asking() -> nn.ModuleList | None:
            if not level.cross:
                return None
            return nn.ModuleList(
                TokenBlock(level.width, config.condition.width, config.heads) for _ in range(level.blocks)
            )

        self.down, self.up = blocks(level.width), blocks(2 * level.width)
        self.down_look, self.up_look = looking(), looking()
        self.down_ask, self.up_ask = asking(), asking()
        self.inner = None
        if deeper:
            smaller = deeper[0].width
            if config.biggan:
                self.shrink = Shrink(level.width, smaller, hearing(smaller), config.dropout)
                self.grow = Grow(smaller, level.width, hearing(level.width), config.dropout)
            else:
                self.shrink, self.grow = Down(level.width, smaller), Up(smaller, level.width)
            self.inner = Stage(config, depth + 1)

    def forward(
        self, h: Tensor, embs: Sequence[Tensor], tokens: Tensor | None = None, there: Tensor | None = None
    ) -> Tensor:
        skips = []
        for i, block in enumerate(self.down):
            h = block(h, embs)
            h = self.down_look[i](h) if self.down_look else h
            h = self.down_ask[i](h, tokens, there) if self.down_ask else h
            skips.append(h)
        if self.inner is not None:
            h = h + self.grow(self.inner(self.shrink(h, embs), embs, tokens, there), embs)  # grow starts at zero
        for i, block in enumerate(self.up):
            h = block(torch.cat([h, skips.pop()], dim=1), embs)
            h = self.up_look[i](h) if self.up_look else h
            h = self.up_ask[i](h, tokens, there) if self.up_ask else h
        return h


class UNet(nn.Module):
    """x (B, channels, H, W), t (B,) int64, cond: labels (B,) or tokens (B, L) int64 -> (B, answers * channels, H, W).

    H and W must be divisible by config.multiple. Without cond the condition is empty.
    """

    def __init__(self, config: UNetConfig):
        super().__init__()
        self.config, first = config, config.levels[0].width
        self.conv_in = nn.Conv2d(config.channels, first, 3, padding=1)
        self.time = TimeEmbedding(config.time) if config.time else None
        self.condition = config.condition.build(config.time) if config.condition else None
        self.body = Stage(config)
        self.norm_out = norm(first)
        self.conv_out = zeroed(nn.Conv2d(first, config.answers * config.channels, 3, padding=1))
        self.to(memory_format=torch.channels_last)

    def forward(self, x: Tensor, t: Tensor, cond: Tensor | None = None) -> Tensor:
        cond = self.check(x, cond)
        embs = [self.time(t)] if self.time else []  # each (B, time)
        heard = self.config.condition.hear(self.condition, cond) if self.condition else Heard()
        h = self.conv_in(x.contiguous(memory_format=torch.channels_last))
        h = self.body(h, [*embs, *heard.vectors], heard.tokens, heard.there)
        return self.conv_out(F.silu(self.norm_out(h)))

    def check(self, x: Tensor, cond: Tensor | None = None) -> Tensor | None:
        """The condition in full; ValueError unless x and cond can go in."""
        channels, multiple = self.config.channels, self.config.multiple
        if x.ndim != 4 or x.shape[1] != channels or not all(side and side % multiple == 0 for side in x.shape[2:]):
            raise ValueError(
                f"the picture is {tuple(x.shape)}; this UNet needs (B, {channels}, H, W) "
                f"with H and W divisible by {multiple}"
            )
        condition = self.config.condition
        if condition is None:
            if cond is not None:
                raise ValueError("this UNet takes no condition: its config has condition=None")
            return None
        return condition.empty(len(x)).to(x.device) if cond is None else condition.fit(cond)
