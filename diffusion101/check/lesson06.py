"""Lesson 06: attention, what one key leaves alive, and weights that cut the canvas in two."""

import torch
from torch import Tensor

from .exercise import exercise, normal

__all__ = ["attention", "learning_with_one_key", "own_half"]


@exercise(
    cases=lambda: [
        (normal(n, d), normal(m, d, seed=1), normal(m, c, seed=2)) for n, m, d, c in ((5, 2, 16, 3), (3, 4, 9, 6))
    ],
    done="Correct. The package does this for all heads and all pictures at once.",
    mistakes={
        "You forgot sqrt(d): without it the scores grow with the width and the softmax turns hard.": dict(root="none"),
        "You divided by d: a sum of d products of unit variance spreads like sqrt(d).": dict(root="d"),
        "You multiplied by sqrt(d): divide.": dict(root="times"),
        "You took the square root of the number of keys: d is the width of a query.": dict(root="keys"),
        "You took the square root of the number of queries: d is the width of one.": dict(root="queries"),
        "You took the width of a value: d is the width of a query.": dict(root="values"),
        "The softmax ran over the pixels: each divides its attention among the tokens.": dict(share="pixels"),
        "One softmax over everything: each pixel has its own, over the tokens.": dict(share="all"),
        "The softmax over the tokens is missing: you mixed with the scores.": dict(share="none"),
        "You mixed with the exponentials: divide each row by its sum.": dict(share="exp"),
        "You divided the scores by their sum: softmax takes their exponentials first.": dict(share="bare"),
        "All from the best token: softmax leaves each of them a share.": dict(share="best"),
        "Each token counts the same in yours: the scores q k^T are not used.": dict(share="equal"),
        "Those are the weights: now take so much of each token's value, weights @ v.": dict(last="weights"),
        "You mixed the keys: the keys say who is meant, the values what is given.": dict(last="keys"),
    },
)
def attention(q: Tensor, k: Tensor, v: Tensor, root="", share="", last="") -> Tensor:
    """attention(q, k, v): queries (N, d), keys (L, d), values (L, c) -> each pixel's mixture of the values (N, c)."""
    d = q.shape[1]
    roots = {"none": 1, "d": d, "times": d**-0.5, "keys": len(k) ** 0.5, "queries": len(q) ** 0.5}
    score = q @ k.T / (roots | {"values": v.shape[1] ** 0.5}).get(root, d**0.5)
    shares = {"pixels": score.softmax(0), "all": score.exp() / score.exp().sum(), "none": score, "exp": score.exp()}
    shares |= {"bare": score / score.sum(1, keepdim=True), "best": (score == score.amax(1, keepdim=True)).float()}
    weights = (shares | {"equal": torch.full_like(score, 1 / len(k))}).get(share, score.softmax(1))
    return weights if last == "weights" else weights @ (k if last == "keys" else v)


@exercise(
    cases=lambda: [(64, 48), (32, 64), (96, 10)],
    done="Correct. And to_out of to_v of one token is one matrix too many: an added vector.",
    within=0,
    mistakes={
        "With one key the softmax is 1, whatever to_q and to_k hold (1e-12 is rounding).": dict(q=1, k=1),
        "The keys are as dead as the queries: both act through the softmax alone.": dict(k=1),
        "The queries are as dead as the keys: both act through the softmax alone.": dict(q=1),
        "Almost: to_out has a bias too (or you counted what never learns, just as many).": dict(bias=0),
        "Only to_out has a bias.": dict(bias=2),
        "to_out sees the value of the one key: it learns as well.": dict(out=0, bias=0),
        "to_v turns the token into what is added: it learns as well.": dict(v=0),
        "to_v reads tokens, not pixels: it is a matrix of width x context.": dict(v=0, out=2),
    },
)
def learning_with_one_key(width: int, context: int, q=0, k=0, v=1, out=1, bias=1) -> int:
    """learning_with_one_key(width, context): how many numbers of a CrossAttention can ever learn with one key."""
    return (q + out) * width**2 + (k + v) * width * context + bias * width


@exercise(
    cases=lambda: [(7, 14), (2, 6), (4, 4)],
    done="Correct. No softmax gives such weights: exactly 1 and exactly 0.",
    within=0,
    mistakes={
        "Mirrored: the left half should listen to token 0, the right half to token 1.": dict(first=1),
        "That cuts top from bottom: pixels are numbered row by row, so look at the column.": dict(halves="rows"),
        "You numbered the pixels column by column: the first `width` of them are the top row.": dict(halves="down"),
        "Half of the columns are left: column width / 2 is the first of the right half.": dict(more=1),
        "Right, but as a picture: make (height * width, 2) of it, a row for each pixel.": (
            lambda height, width: own_half.right(height, width).view(height, width, 2)
        ),
        "That is the left token's share: the right token's share stands beside it, in a second column.": (
            lambda height, width: own_half.right(height, width)[:, 0]
        ),
        "All pixels listen to both tokens alike: each half should have one of its own.": (
            lambda height, width: torch.full((height * width, 2), 0.5)
        ),
    },
)
def own_half(height: int, width: int, halves="columns", first=0, more=0) -> Tensor:
    """own_half(height, width): weights (height * width, 2); the left half takes all of token 0, the right of token 1.

    Pixels are numbered row by row, as flatten does; width is even.
    """
    row, column = torch.arange(height).repeat_interleave(width), torch.arange(width).repeat(height)
    down = torch.arange(width).repeat_interleave(height)
    left = {"rows": 2 * row < height, "down": 2 * down < width}.get(halves, 2 * (column - more) < width)
    return torch.stack([left, ~left], dim=1).float().roll(first, dims=1)
