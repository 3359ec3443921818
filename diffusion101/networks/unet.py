"""One UNet for the whole course; each lesson replaces one thing in its config."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .attention import TokenBlock, Tokens
from .blocks import Down, ResBlock, Up, norm, zeroed
from .embeddings import TimeEmbedding


@dataclass(frozen=True)
class UNetConfig:
    """Everything that shapes a UNet.

    channels  of the picture: 1 grey, 3 colour
    widths    channels inside, one entry per resolution; every entry after the first halves the picture
    blocks    residual blocks per resolution on the way down, and as many on the way up
    time      width of the time embedding; 0: the network does not know t
    classes   number of labels; label `classes` means "any" (the null label of guidance); 0: no labels
    dropout   rate inside the residual blocks
    vocab     number of tokens in prompts; token `vocab` means "nothing"; 0: no prompts
    length    most tokens in a prompt; shorter prompts are filled up with "nothing"
    context   width of the token vectors
    attend    depths (0 is full resolution) whose blocks are each followed by cross-attention to the tokens
    heads     of that attention
    """

    channels: int = 1
    widths: tuple[int, ...] = (32,)
    blocks: int = 2
    time: int = 0
    classes: int = 0
    dropout: float = 0.0
    vocab: int = 0
    length: int = 2
    context: int = 64
    attend: tuple[int, ...] = ()
    heads: int = 4

    def __post_init__(self):
        object.__setattr__(self, "widths", tuple(self.widths))  # YAML and JSON know only lists
        object.__setattr__(self, "attend", tuple(self.attend))
        if not self.widths or min(self.widths) < 1 or self.blocks < 1 or self.channels < 1:
            raise ValueError(f"widths, blocks and channels must be positive, not {self}")
        if self.classes and not self.time:
            raise ValueError("classes join the time embedding: give time a width too")
        if bool(self.vocab) != bool(self.attend) or not set(self.attend) <= set(range(len(self.widths))):
            raise ValueError(f"vocab and attend go together, attend naming depths below {len(self.widths)}, not {self}")


class Level(nn.Module):
    """One resolution: blocks down (push), everything smaller, blocks up (pop)."""

    def __init__(self, config: UNetConfig, depth: int = 0):
        super().__init__()
        width, options = config.widths[depth], (config.time, config.dropout)
        self.down = nn.ModuleList(ResBlock(width, width, *options) for _ in range(config.blocks))
        self.up = nn.ModuleList(ResBlock(2 * width, width, *options) for _ in range(config.blocks))
        self.down_ask, self.up_ask = None, None
        if depth in config.attend:
            asking = (width, config.context, config.heads)
            self.down_ask = nn.ModuleList(TokenBlock(*asking) for _ in range(config.blocks))
            self.up_ask = nn.ModuleList(TokenBlock(*asking) for _ in range(config.blocks))
        self.inner = None
        if depth + 1 < len(config.widths):
            smaller = config.widths[depth + 1]
            self.shrink, self.inner, self.grow = Down(width, smaller), Level(config, depth + 1), Up(smaller, width)

    def forward(self, h: Tensor, emb: Tensor | None, tokens: Tensor | None = None) -> Tensor:
        skips = []
        for i, block in enumerate(self.down):
            h = block(h, emb)
            h = self.down_ask[i](h, tokens) if self.down_ask else h
            skips.append(h)
        if self.inner is not None:
            h = h + self.grow(self.inner(self.shrink(h), emb, tokens))  # grow starts at zero
        for i, block in enumerate(self.up):
            h = block(torch.cat([h, skips.pop()], dim=1), emb)
            h = self.up_ask[i](h, tokens) if self.up_ask else h
        return h


class UNet(nn.Module):
    """x (B, channels, H, W), t (B,) int64, cond: labels (B,) or tokens (B, L) int64 -> (B, channels, H, W).

    H and W must be divisible by 2 ** (len(widths) - 1). Without cond everything is `null`. In a network with a
    vocabulary a label is a prompt of one token.
    """

    def __init__(self, config: UNetConfig):
        super().__init__()
        self.config = config
        self.null = config.vocab or config.classes  # 0: takes no condition
        self.conv_in = nn.Conv2d(config.channels, config.widths[0], 3, padding=1)
        self.time = TimeEmbedding(config.time) if config.time else None
        self.label = zeroed(nn.Embedding(config.classes + 1, config.time)) if config.classes else None
        self.tokens = Tokens(config.vocab, config.length, config.context) if config.vocab else None
        self.body = Level(config)
        self.norm_out = norm(config.widths[0])
        self.conv_out = zeroed(nn.Conv2d(config.widths[0], config.channels, 3, padding=1))
        self.to(memory_format=torch.channels_last)

    def forward(self, x: Tensor, t: Tensor, cond: Tensor | None = None) -> Tensor:
        self.check(x, cond)
        emb = self.time(t) if self.time else None
        tokens = None
        if self.tokens is not None:
            tokens, cond = self.tokens(self.prompt(t, cond)), None
        if self.label is not None:
            label = self.label(torch.full_like(t, self.config.classes) if cond is None else cond)
            emb = emb + self.config.time**0.5 * label  # Adam moves a table slowly: this makes its steps larger
        h = self.conv_in(x.contiguous(memory_format=torch.channels_last))
        h = self.body(h, emb, tokens)
        return self.conv_out(F.silu(self.norm_out(h)))

    def prompt(self, t: Tensor, cond: Tensor | None) -> Tensor:
        """cond as tokens (B, length), filled up with "nothing"."""
        nothing = t.new_full((len(t), self.config.length), self.config.vocab)
        if cond is None:
            return nothing
        cond = cond[:, None] if cond.ndim == 1 else cond
        return torch.cat([cond, nothing[:, cond.shape[1] :]], dim=1)

    def check(self, x: Tensor, cond: Tensor | None = None) -> None:
        """ValueError unless these shapes can go in."""
        multiple = 2 ** (len(self.config.widths) - 1)
        if x.ndim != 4 or x.shape[1] != self.config.channels or x.shape[2] % multiple or x.shape[3] % multiple:
            raise ValueError(
                f"the picture is {tuple(x.shape)}; this UNet needs (B, {self.config.channels}, H, W) "
                f"with H and W divisible by {multiple}"
            )
        if cond is None:
            return
        if not self.null:
            raise ValueError("this UNet knows no labels: its config has classes=0 and vocab=0")
        longest = self.config.length if self.config.vocab else 0
        if cond.ndim > 2 or cond.ndim == 2 and not 1 <= cond.shape[1] <= longest:
            raise ValueError(f"cond is {tuple(cond.shape)}; it must be (B,) or (B, L) with L up to {longest}")
