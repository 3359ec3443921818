"""Conditions: what a network can be told besides the time. Each is a value that knows all there is to know about it.

A condition embeds (`build`, `hear`), has an empty answer (`empty`), drops itself at random (`drop`), spreads itself
evenly over a batch (`spread`) and reads itself off the command line (`parse`). Tables are drawn N(0, 1): a table at
zero behind a projection at zero would have no gradient, and be heard late.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

DIGITS = "0123456789"


class Heard(NamedTuple):
    """What a network's blocks hear of a condition."""

    vectors: tuple[Tensor, ...] = ()  # (B, E) each: every block hears them as it hears the time
    tokens: Tensor | None = None  # (B, L, width): attention reads them
    there: Tensor | None = None  # (B, L) bool: which of them it reads; None: all


class Condition(ABC):
    """What all conditions share. cond is int64: (B,) labels or (B, L) tokens."""

    asked = True  # whether attention reads it

    __pydantic_config__ = {"extra": "forbid", "strict": True}  # for whoever reads a config from a file

    @abstractmethod
    def empty(self, n: int) -> Tensor:
        """n conditions that say nothing: what guidance compares with, what `drop` puts in."""

    def vectors(self, time: int) -> tuple[int, ...]:
        """The widths of the vectors that every block hears beside the time, which is `time` wide."""
        return ()

    def hear(self, built: nn.Module, cond: Tensor) -> Heard:
        """What the module that `build` made says of cond."""
        return Heard(tokens=built(cond))

    def places(self, words: Sequence[str]) -> int:
        """How many pictures wide the answer to these words is."""
        return 1

    def drop(self, cond: Tensor, rate: float, generator: torch.Generator | None = None) -> Tensor:
        """cond with whole rows emptied, each with this probability (label dropout; Ho & Salimans 2022, algorithm 1)."""
        dropped = torch.rand(len(cond), generator=generator, device=cond.device) < rate
        return torch.where(dropped.view(-1, *[1] * (cond.ndim - 1)), self.empty(len(cond)).to(cond), cond)


@dataclass(frozen=True)
class Labels(Condition):
    """One of `classes` labels (B,); the label `classes` says nothing. It joins the time embedding."""

    classes: int = 10
    asked = False

    def __post_init__(self):
        if not 2 <= self.classes <= 100_000:
            raise ValueError(f"classes is {self.classes}; it must lie from 2 to 100000")

    def build(self, time: int) -> nn.Module:
        return nn.Embedding(self.classes + 1, time)

    def vectors(self, time: int) -> tuple[int, ...]:
        return (time,)

    def hear(self, built: nn.Module, cond: Tensor) -> Heard:
        return Heard((built(cond),))

    def empty(self, n: int) -> Tensor:
        return torch.full((n,), self.classes)

    def spread(self, n: int) -> Tensor:
        """Every label equally often, up to rounding: 0, 1, ..., 0, 1, ..."""
        return torch.arange(n) % self.classes

    def parse(self, words: Sequence[str]) -> Tensor:
        """["3", "7"] -> labels (2,)."""
        for word in words:
            if not word.isdecimal() or int(word) >= self.classes:
                raise ValueError(f"{word!r} is no label of this model; its labels go from 0 to {self.classes - 1}")
        return torch.tensor([int(word) for word in words])

    def fit(self, cond: Tensor) -> Tensor:
        """cond itself; ValueError unless it is a label per picture."""
        if cond.ndim != 1:
            raise ValueError(f"cond is {tuple(cond.shape)}; it must be (B,), a label per picture")
        return cond


@dataclass(frozen=True)
class Tokens(Condition):
    """A row of `length` tokens (B, L) out of `vocab`; the token `vocab` says nothing. Attention reads them.

    width  of the token vectors
    """

    vocab: int = 10
    length: int = 2
    width: int = 64

    def __post_init__(self):
        if not (2 <= self.vocab <= 100_000 and 1 <= self.length <= 1024 and 1 <= self.width <= 4096):
            raise ValueError(f"vocab, length and width must be positive and of a sane size, not {self}")

    def build(self, time: int) -> nn.Module:
        return TokenTable(self)

    def empty(self, n: int) -> Tensor:
        return torch.full((n, self.length), self.vocab)

    def spread(self, n: int) -> Tensor:
        """Every token equally often in the first place, nothing behind it."""
        rows = self.empty(n)
        rows[:, 0] = torch.arange(n) % self.vocab
        return rows

    def parse(self, words: Sequence[str]) -> Tensor:
        """["42", "7_", "7"] -> tokens (3, length); _ says nothing."""
        rows = self.empty(len(words))
        for row, word in zip(rows, words):
            if not 1 <= len(word) <= self.length or set(word) - {*DIGITS[: self.vocab], "_"}:
                most = f"up to {self.length} digits" if self.length > 1 else "a digit"
                raise ValueError(f"{word!r} is no prompt of this model; it reads {most}, _ for none, as 42, 7 or _7")
            for place, letter in enumerate(word):
                row[place] = self.vocab if letter == "_" else int(letter)
        return rows

    def places(self, words: Sequence[str]) -> int:
        return max(len(word) for word in words)

    def fit(self, cond: Tensor) -> Tensor:
        """cond as (B, length): a label (B,) is a row of one token, and short rows are filled up with nothing."""
        rows = cond[:, None] if cond.ndim == 1 else cond
        if rows.ndim != 2 or not 1 <= rows.shape[1] <= self.length:
            raise ValueError(f"cond is {tuple(cond.shape)}; it must be (B,) or (B, L) with L up to {self.length}")
        return torch.cat([rows, self.empty(len(rows)).to(rows)[:, rows.shape[1] :]], dim=1)


class TokenTable(nn.Module):
    """Token numbers (B, L) -> vectors (B, L, width): what the token is plus where it stands."""

    def __init__(self, tokens: Tokens):
        super().__init__()
        self.what = nn.Embedding(tokens.vocab + 1, tokens.width)
        self.where = nn.Embedding(tokens.length, tokens.width)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.what(tokens) + self.where.weight[: tokens.shape[1]]
