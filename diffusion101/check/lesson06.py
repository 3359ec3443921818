"""Lesson 06: attention weights, what one key leaves alive, and which numbers were never shown."""

import torch
from torch import Tensor

from .exercise import exercise, normal

__all__ = ["attention_weights", "learning_with_one_key", "never_shown"]


@exercise(
    cases=lambda: [(normal(n, d), normal(m, d, seed=1)) for n, m, d in ((5, 2, 16), (3, 4, 9))],
    done="Correct. The package does this for every head at once.",
    mistakes={
        "You forgot sqrt(d): without it the scores grow with the width and the softmax turns hard.": dict(root="none"),
        "You divided by d: a sum of d products of unit variance spreads like sqrt(d).": dict(root="d"),
        "You multiplied by sqrt(d): divide.": dict(root="times"),
        "You took the square root of the number of keys: d is the width of a query.": dict(root="keys"),
        "You took the square root of the number of queries: d is the width of one.": dict(root="queries"),
        "The softmax ran over the pixels: each divides its attention among the tokens.": dict(share="pixels"),
        "One softmax over everything: each pixel has its own, over the tokens.": dict(share="all"),
        "Those are the scores: the softmax over the tokens is missing.": dict(share="none"),
        "Those are the exponentials: divide each row by its sum.": dict(share="exp"),
        "You divided the scores by their sum: softmax takes their exponentials first.": dict(share="bare"),
        "All on the best token: softmax leaves each of them a share.": dict(share="best"),
        "Queries and keys are exchanged: it is the pixels that ask.": lambda q, k: attention_weights.right(k, q),
        "Right, but transposed: a row belongs to a pixel.": lambda q, k: attention_weights.right(q, k).T,
    },
)
def attention_weights(q: Tensor, k: Tensor, root="", share="") -> Tensor:
    """attention_weights(q, k): from queries (N, d) and keys (L, d) to weights (N, L), each pixel's summing to 1."""
    d = q.shape[1]
    roots = {"none": 1, "d": d, "times": d**-0.5, "keys": len(k) ** 0.5, "queries": len(q) ** 0.5}
    score = q @ k.T / roots.get(root, d**0.5)
    shares = {"pixels": score.softmax(0), "all": score.exp() / score.exp().sum(), "none": score, "exp": score.exp()}
    shares |= {"bare": score / score.sum(1, keepdim=True), "best": (score == score.amax(1, keepdim=True)).float()}
    return shares.get(share, score.softmax(1))


def _joined(row: list[int]) -> tuple[int]:
    return (10 * row[0] + row[1],)


@exercise(
    cases=lambda: [
        (torch.randint(high, (n, 2), generator=torch.Generator().manual_seed(6)),)
        for high, n in ((10, 120), (11, 80), (11, 300))
    ],
    done="Correct. Ask it of the recipe's own batches, and it must say 30.",
    within=0,
    mistakes={
        "Each number counts once, however often it was shown.": dict(once=list),
        "A prompt with token 10 asks for a single digit: it shows none of the 100 numbers.": dict(looked=()),
        "You looked at the left token only: the right one may be 10 too.": dict(looked=(0,)),
        "You looked at the right token only: the left one may be 10 too.": dict(looked=(1,)),
        "27 and 72 are two numbers: mind the order.": dict(name=sorted),
        "10 a + b is the same for (1, 0) and (0, 10): leave out token 10.": dict(looked=(), name=_joined),
        "There are 100 numbers, 00 to 99: you left out those that begin with 0, or some others.": dict(size=90),
        "There are 100 numbers, 00 to 99, and not 11 x 11: token 10 is no digit.": dict(size=121, looked=()),
        "That is how many were shown: the others are asked for.": lambda prompts: 100 - never_shown.right(prompts),
        "Those are the prompts that are left: count numbers, each once.": lambda prompts: 100 - len(prompts),
    },
)
def never_shown(prompts: Tensor, size=100, looked=(0, 1), once=set, name=tuple) -> int:
    """never_shown(prompts): how many of the 100 two-digit numbers are not among the prompts (N, 2); 10 is no digit."""
    return size - len(once(tuple(name(row)) for row in prompts.tolist() if all(row[i] < 10 for i in looked)))


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
