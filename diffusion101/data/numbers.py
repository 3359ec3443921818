"""Two-digit numbers on one canvas, prompted by two tokens; some numbers are never shown in training."""

from dataclasses import dataclass

import torch
from torch import Tensor

from .images import Images

NOTHING = 10  # the token that stands for no digit
HIDDEN = tuple(range(0, 100, 10))  # how many numbers can be kept from training


def unseen(hidden: int) -> list[tuple[int, int]]:
    """The numbers (left, right) kept from training: hidden of the 100, every digit equally often on either side."""
    if hidden not in HIDDEN:
        raise ValueError(f"hidden is {hidden}; it must be 0, 10, 20, ... or 90")
    return [(a, b) for a in range(10) for b in range(10) if (b - 3 * a) % 10 < hidden // 10]


def seen(hidden: int) -> list[tuple[int, int]]:
    """The numbers (left, right) shown in training."""
    hidden = set(unseen(hidden))
    return [(a, b) for a in range(10) for b in range(10) if (a, b) not in hidden]


@dataclass(frozen=True)
class Numbers:
    """A stream of two-digit numbers made from single digits; `batch` as in Images, with tokens in the labels' place.

    Every fourth batch holds single digits, their prompt filled up with NOTHING, so that a label alone works too.
    """

    digits: Images
    hidden: int = 30

    def batch(self, step: int, size: int, seed: int = 0) -> tuple[Tensor, Tensor]:
        """Pictures (size, 1, H, 2H) and tokens (size, 2), or single digits (size, 1, H, H) and (size, 2)."""
        if step % 4 == 3:
            x0, labels = self.digits.batch(step, size, seed)
            return x0, torch.stack([labels, torch.full_like(labels, NOTHING)], 1)
        g = torch.Generator().manual_seed(1_000_003 * seed + step)
        numbers = torch.tensor(seen(self.hidden))
        return self.draw(numbers[torch.randint(len(numbers), (size,), generator=g)], g)

    def draw(self, tokens: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Real pictures of these numbers (B, 2): (B, 1, H, 2H) in [-1, 1], and the tokens on the data's device."""
        index = self.digits.examples(tokens, generator)  # (B, 2)
        left, right = self.digits.pictures(index[:, 0]), self.digits.pictures(index[:, 1])
        return torch.cat([left, right], dim=3), tokens.to(index.device)
