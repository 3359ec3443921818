"""Sentences as vectors: words to numbers, numbers to vectors, and a small transformer in which they hear each other."""

import re
from collections.abc import Mapping
from difflib import get_close_matches

from torch import Tensor, nn

from .attention import CrossAttention


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

    def forward(self, h: Tensor, there: Tensor) -> Tensor:
        asking = self.norm1(h)
        h = h + self.attend(asking, asking, there)
        return h + self.feed(self.norm2(h))


class TextEncoder(nn.Module):
    """Word numbers (B, L), and which of them are there (B, L) bool -> vectors (B, L, width).

    table makes vectors of the numbers. Where nothing is, a vector comes out too, but no other hears it.
    """

    def __init__(self, table: nn.Module, width: int, layers: int, heads: int):
        super().__init__()
        self.table = table
        self.blocks = nn.ModuleList(TextBlock(width, heads) for _ in range(layers))
        self.norm = nn.LayerNorm(width)

    def forward(self, words: Tensor, there: Tensor) -> Tensor:
        h = self.table(words)
        for block in self.blocks:
            h = block(h, there)
        return self.norm(h)
