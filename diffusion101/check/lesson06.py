"""Lesson 06: attention weights, what one key leaves alive, and which numbers were never shown."""

from collections.abc import Callable

import torch
from torch import Tensor

from .verdict import compare

__all__ = ["attention_weights", "learning_with_one_key", "never_shown"]


def attention_weights(yours: Callable[[Tensor, Tensor], Tensor]) -> bool | None:
    """yours(q, k): queries (N, d) and keys (L, d) -> weights (N, L), each pixel's summing to 1."""

    def scores(q: Tensor, k: Tensor) -> Tensor:
        return q @ k.T / q.shape[1] ** 0.5

    mistakes = {
        "You forgot sqrt(d): without it the scores grow with the width and the softmax turns hard.": (
            lambda q, k: (q @ k.T).softmax(1)
        ),
        "You divided by d: a sum of d products of unit variance spreads like sqrt(d).": (
            lambda q, k: (q @ k.T / q.shape[1]).softmax(1)
        ),
        "You multiplied by sqrt(d): divide.": lambda q, k: (q @ k.T * q.shape[1] ** 0.5).softmax(1),
        "You took the square root of the number of keys: d is the width of a query.": (
            lambda q, k: (q @ k.T / len(k) ** 0.5).softmax(1)
        ),
        "The softmax ran over the pixels: each pixel divides its attention among the tokens, the last axis.": (
            lambda q, k: scores(q, k).softmax(0)
        ),
        "Queries and keys are exchanged: the pixels ask, so a row belongs to a pixel.": (
            lambda q, k: scores(k, q).softmax(1)
        ),
        "Right, but transposed: a row belongs to a pixel.": lambda q, k: scores(q, k).softmax(1).T,
        "One softmax over everything: each pixel has its own, over the tokens.": (
            lambda q, k: scores(q, k).flatten().softmax(0).view(len(q), len(k))
        ),
        "Those are the scores: the softmax over the tokens is missing.": scores,
    }
    generator = torch.Generator().manual_seed(6)
    pairs = [(torch.randn(n, d, generator=generator), torch.randn(m, d, generator=generator)) for n, m, d in SHAPES]
    done = "Correct. The package does this for every head at once."
    return compare(yours, lambda q, k: scores(q, k).softmax(1), mistakes, *pairs, done=done)


SHAPES = [(5, 2, 16), (3, 4, 9)]


def never_shown(yours: Callable[[Tensor], int]) -> bool | None:
    """yours(prompts): how many of the 100 two-digit numbers are not among the prompts (N, 2); token 10 is no digit."""

    def right(prompts: Tensor, size: int = 100, ordered: bool = True, looked: slice = slice(0, 2)) -> int:
        rows = [row for row in prompts.tolist() if max(row[looked], default=0) < 10]
        return size - len({tuple(row if ordered else sorted(row)) for row in rows})

    mistakes = {
        "Each number counts once, however often it was shown.": (
            lambda prompts: 100 - int((prompts < 10).all(1).sum())
        ),
        "A prompt with token 10 asks for a single digit: it shows none of the 100 numbers.": (
            lambda prompts: right(prompts, looked=slice(0))
        ),
        "You looked at the left token only: the right one may be 10 too.": (
            lambda prompts: right(prompts, looked=slice(0, 1))
        ),
        "You looked at the right token only: the left one may be 10 too.": (
            lambda prompts: right(prompts, looked=slice(1, 2))
        ),
        "27 and 72 are two numbers: mind the order.": lambda prompts: right(prompts, ordered=False),
        "That is how many were shown: the others are asked for.": lambda prompts: 100 - right(prompts),
        "There are 100 numbers, 00 to 99: you left out those that begin with 0, or some others.": (
            lambda prompts: right(prompts, size=90)
        ),
        "Those are the prompts that are left: count numbers, each once.": lambda prompts: 100 - len(prompts),
    }
    generator = torch.Generator().manual_seed(6)
    inputs = [torch.randint(0, high, (n, 2), generator=generator) for high, n in ((10, 120), (11, 80), (11, 300))]
    done = "Correct. Ask it of the recipe's own batches, and it must say 30."
    return compare(yours, right, mistakes, *[(x,) for x in inputs], done=done)


def learning_with_one_key(yours: Callable[[int, int], int]) -> bool | None:
    """yours(width, context): how many numbers of a CrossAttention can ever learn when there is one key."""

    def count(q: int = 0, k: int = 0, v: int = 1, out: int = 1, bias: int = 1) -> Callable[[int, int], int]:
        def formula(width: int, context: int) -> int:
            return q * width**2 + (k + v) * width * context + out * width**2 + bias * width

        return formula

    mistakes = {
        "All of them? With one key the softmax is 1, whatever to_q and to_k hold; a gradient of 1e-12 is rounding.": (
            count(q=1, k=1)
        ),
        "The keys are as dead as the queries: both act through the softmax alone.": count(k=1),
        "The queries are as dead as the keys: both act through the softmax alone.": count(q=1),
        "Almost: to_out has a bias too. (Or did you count what never learns? It is just as many.)": count(bias=0),
        "to_out sees the value of the one key: it learns as well.": count(out=0, bias=0),
        "to_v turns the token into what is added: it learns as well.": count(v=0),
        "to_v reads tokens, not pixels: it is a matrix of width x context.": (
            lambda width, context: 2 * width**2 + width
        ),
    }
    inputs = [(64, 48), (32, 64), (96, 10)]
    done = "Correct. And to_out of to_v of one token is one matrix too many: an added vector."
    return compare(yours, count(), mistakes, *inputs, done=done)
