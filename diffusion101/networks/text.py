"""Sentences as vectors: words to numbers, numbers to vectors, and a small transformer in which they hear each other."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property

import torch
from torch import Tensor, nn

from .attention import CrossAttention
from .conditions import Condition, Heard, TokenTable


def numbers(prompt: str, vocab: Mapping[str, int]) -> list[int]:
    """The numbers of a prompt's words, whatever their case and the punctuation between them.

    ValueError names a word that is not known, and the known words that look most like it.
    """
    found = re.findall(r"\w+", prompt.lower())
    for word in found:
        if word not in vocab:
            near = get_close_matches(word, vocab, n=3, cutoff=0.5)
            hint = f"the nearest it knows: {', '.join(near)}" if near else f"it knows {', '.join(sorted(vocab))}"
            raise ValueError(f"this model does not know the word {word!r}; {hint}")
    return [vocab[word] for word in found]


@dataclass(frozen=True)
class Words(Condition):
    """A sentence of known words, as rows (B, length) of word numbers. A small transformer reads it, attention asks it.

    The number vocab = len(words) says nothing: it stands first in every row, so that there is always something to
    ask, and behind the last word, where nobody reads it. The empty prompt is nothing but that.

    words     all it knows, in lower case
    examples  sentences that show what can be said
    length    of a row: one more than the longest sentence has words
    width     of the word vectors; layers and heads: of the transformer
    bag       whether every block also hears all words at once, whatever their order, as a scale and a shift
    near      whether words hear the words near them more: see `nearness`
    """

    words: tuple[str, ...]
    examples: tuple[str, ...]
    length: int = 32
    width: int = 96
    layers: int = 2
    heads: int = 4
    bag: bool = True
    near: bool = False

    def __post_init__(self):
        sizes = 2 <= self.vocab <= 100_000 and 2 <= self.length <= 1024 and 1 <= self.width <= 4096
        if not sizes or not 0 <= self.layers <= 64 or self.heads < 1 or self.width % self.heads:
            raise ValueError("words, length, width and layers must be of a sane size, and heads must divide width")
        if len({*self.words}) < self.vocab or not self.examples:
            raise ValueError("each of words must be there once, and examples must not be empty")
        self.parse(self.examples)

    @property
    def vocab(self) -> int:
        return len(self.words)

    @cached_property
    def _numbers(self) -> dict[str, int]:
        return {word: number for number, word in enumerate(self.words)}

    def build(self, time: int) -> nn.Module:
        return TextEncoder(TokenTable(self), self.width, self.layers, self.heads, self.near)

    def vectors(self, time: int) -> tuple[int, ...]:
        return (self.width,) * self.bag

    def there(self, cond: Tensor) -> Tensor:
        """Which places of rows (B, L) are to be read: the first, and every word."""
        return (cond != self.vocab) | (torch.arange(cond.shape[1], device=cond.device) == 0)

    def hear(self, built: nn.Module, cond: Tensor) -> Heard:
        there = self.there(cond)
        tokens = built(cond, there)
        if not self.bag:
            return Heard(tokens=tokens, there=there)
        # Divided by the root of how many there are: unlike a mean, it is no weaker for a long sentence.
        bag = (built.table.what(cond) * there[..., None]).sum(1) / there.sum(1, keepdim=True) ** 0.5  # (B, width)
        return Heard((bag,), tokens, there)

    def empty(self, n: int) -> Tensor:
        return torch.full((n, self.length), self.vocab)

    def spread(self, n: int) -> Tensor:
        """The examples in turn."""
        return self.parse(self.examples)[torch.arange(n) % len(self.examples)]

    def parse(self, words: Sequence[str]) -> Tensor:
        """["a red seven", "7"] -> rows (2, length); ValueError names a word that is not known, and the nearest."""
        rows = self.empty(len(words))
        for row, prompt in zip(rows, words):
            found = numbers(prompt, self._numbers)
            if len(found) >= self.length:
                raise ValueError(f"{prompt[:40]!r}... has {len(found)} words; this model reads up to {self.length - 1}")
            row[1 : 1 + len(found)] = torch.tensor(found, dtype=torch.int64)
        return rows

    def fit(self, cond: Tensor) -> Tensor:
        """cond as (B, length), filled up with nothing."""
        if cond.ndim != 2 or not 1 <= cond.shape[1] <= self.length:
            raise ValueError(f"cond is {tuple(cond.shape)}; it must be (B, L) with L up to {self.length}")
        return torch.cat([cond, self.empty(len(cond)).to(cond)[:, cond.shape[1] :]], dim=1)


class TextBlock(nn.Module):
    """Vectors (B, L, width) -> the same plus what each asks of the others, plus a feed-forward of it.

    Xiong et al. 2020, figure 1b: the norms come first. Born at random and not as the identity: the zero of law 3 lies
    behind it, in the blocks of the UNet.
    """

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.norm1, self.attend = nn.LayerNorm(width), CrossAttention(width, width, heads)
        self.attend.to_out.reset_parameters()
        self.norm2 = nn.LayerNorm(width)
        self.feed = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, h: Tensor, there: Tensor, bias: Tensor | None = None) -> Tensor:
        asking = self.norm1(h)
        h = h + self.attend(asking, asking, there, bias)
        return h + self.feed(self.norm2(h))


class TextEncoder(nn.Module):
    """Word numbers (B, L), and which of them are there (B, L) bool -> vectors (B, L, width).

    table makes vectors of the numbers. Where nothing is, a vector comes out too, but no other hears it.
    """

    def __init__(self, table: nn.Module, width: int, layers: int, heads: int, near: bool = False):
        super().__init__()
        self.table, self.near, self.heads = table, near, heads
        self.blocks = nn.ModuleList(TextBlock(width, heads) for _ in range(layers))
        self.norm = nn.LayerNorm(width)

    def forward(self, words: Tensor, there: Tensor) -> Tensor:
        h = self.table(words)
        bias = nearness(self.heads, words.shape[1]).to(h) if self.near else None
        for block in self.blocks:
            h = block(h, there, bias)
        return self.norm(h)


def nearness(heads: int, length: int) -> Tensor:
    """(heads, L, L): what is added to the scores of words that are so far apart, minus a slope times the distance.

    Press et al. 2022 (ALiBi), here to both sides, and with the slopes 1, 1/2, 1/4, ...: our sentences are short. What
    belongs together stands together, so a word hears its own part of the sentence before anything is learned.
    """
    place = torch.arange(length)
    apart = (place[:, None] - place).abs()
    return -apart * 0.5 ** torch.arange(heads)[:, None, None]
