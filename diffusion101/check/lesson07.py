"""Lesson 07: the update of a low-rank adapter, its birth, and what it weighs."""

from collections.abc import Callable
from math import prod

import torch
from torch import Tensor

from .verdict import compare

__all__ = ["born", "learns", "update"]


def update(yours: Callable[[Tensor, Tensor, float], Tensor]) -> bool | None:
    """yours(A, B, alpha): A (rank, in), B (out, rank) -> what merging adds to the weight (out, in)."""

    def scaled(factor: Callable[[float, int], float]) -> Callable[[Tensor, Tensor, float], Tensor]:
        return lambda A, B, alpha: factor(alpha, len(A)) * B @ A

    mistakes = {
        "The scale is missing: alpha / rank.": scaled(lambda alpha, rank: 1),
        "You scaled by alpha: divide by the rank, which is len(A).": scaled(lambda alpha, rank: alpha),
        "You multiplied by the rank: alpha / rank.": scaled(lambda alpha, rank: alpha * rank),
        "alpha is missing: the scale is alpha / rank.": scaled(lambda alpha, rank: 1 / rank),
        "Upside down: alpha / rank, not rank / alpha.": scaled(lambda alpha, rank: rank / alpha),
        "You divided by the layer's width: the rank is the thin side of A, len(A).": (
            lambda A, B, alpha: alpha / A.shape[1] * B @ A
        ),
        "That is A B, a small (rank, rank) matrix: A comes first on x, so it stands on the right, B A.": (
            lambda A, B, alpha: alpha / len(A) * A @ B
        ),
        "That is A B, and the scale is missing: you want alpha / rank times B A.": lambda A, B, alpha: A @ B,
        "Right, but transposed: a weight is (out, in).": lambda A, B, alpha: alpha / len(A) * (B @ A).T,
        "All zero: that is the update at birth; after training B holds something.": (
            lambda A, B, alpha: torch.zeros(len(B), A.shape[1])
        ),
    }
    generator = torch.Generator().manual_seed(7)
    # square layers, so that A B can be formed too and gets its own sentence
    inputs = [
        (torch.randn(r, d, generator=generator), torch.randn(d, r, generator=generator), alpha)
        for r, d, alpha in ((4, 16, 8.0), (3, 10, 1.0))
    ]
    done = "Correct: one addition to W, and the adapter costs nothing more."
    return compare(yours, scaled(lambda alpha, rank: alpha / rank), mistakes, *inputs, done=done)


def born(yours: Callable[[int, int, int], tuple[Tensor, Tensor]]) -> bool | None:
    """yours(n_in, n_out, rank) -> A (rank, n_in) and B (n_out, rank) as they are before training."""

    def seen(n_in: int, n_out: int, rank: int):
        """Shapes, and whether anything in A and in B is not zero; untried answers as they are."""
        answer = yours(n_in, n_out, rank)
        if answer is ... or answer is None:
            return answer
        if not (isinstance(answer, (tuple, list)) and len(answer) == 2 and all(isinstance(x, Tensor) for x in answer)):
            raise TypeError("the answer must be two tensors: return A, B")
        if not all(x.isfinite().all() and x.numel() for x in answer):
            raise ValueError("A or B is empty, or holds what is no number")
        return facts(*answer)

    def facts(A: Tensor, B: Tensor) -> Tensor:
        flat = A.ndim == 2 and len(A) > 1 and bool((A == A[0]).all())  # all rows alike
        return torch.tensor([*A.shape, *B.shape, bool(A.any()), bool(B.any()), flat])

    def case(a: Callable, b: Callable, turned: bool = False, swapped: bool = False) -> Callable:
        def formula(n_in: int, n_out: int, rank: int) -> Tensor:
            A, B = a(rank, n_in), b(n_out, rank)
            A, B = (A.T, B.T) if turned else (A, B)
            return facts(B, A) if swapped else facts(A, B)

        return formula

    random = lambda *shape: torch.randn(shape, generator=torch.Generator().manual_seed(0))  # noqa: E731
    mistakes = {
        "Both are zero: then neither gets a gradient, and nothing will ever move.": case(torch.zeros, torch.zeros),
        "Both are random: the finished model would be spoilt before it learned anything.": case(random, random),
        "B random and A zero would do as well, but this course and the paper have it the other way round.": (
            case(torch.zeros, random)
        ),
        "Every row of A is the same, so all ranks learn the same thing: rank 1 in disguise. Draw A at random.": (
            case(torch.ones, torch.zeros)
        ),
        "The shapes are turned: A is (rank, in) and B is (out, rank).": case(random, torch.zeros, turned=True),
        "You returned B, A: the answer is A, B.": case(random, torch.zeros, swapped=True),
    }
    done = "Correct: B A = 0, the model is what it was, and B has a gradient from the first step."
    return compare(seen, case(random, torch.zeros), mistakes, (6, 5, 2), (64, 48, 4), done=done)


def learns(yours: Callable[[list[tuple[int, ...]], int], int]) -> bool | None:
    """yours(shapes, rank): how many numbers learn, given the adapted layers' weight shapes, linear or convolution."""

    def count(formula: Callable[..., int]) -> Callable[[list[tuple[int, ...]], int], int]:
        """formula(rank, out, in, kernel) of one layer; kernel is 9 for a 3x3 convolution, 1 for a linear layer."""
        return lambda shapes, rank: sum(formula(rank, s[0], s[1], prod(s[2:])) for s in shapes)

    mistakes = {
        "A convolution's A has the kernel too: rank x in x 3 x 3. You counted it as a linear layer.": (
            count(lambda r, out, into, k: r * (into + out))
        ),
        "The kernel has two sides: A has rank x in x 3 x 3 numbers.": (
            count(lambda r, out, into, k: r * (into * round(k**0.5) + out))
        ),
        "The kernel multiplies: A has rank x in x 3 x 3 numbers, and you added 3 + 3.": (
            lambda shapes, rank: sum(rank * sum(shape) for shape in shapes)
        ),
        "B of a convolution is a 1x1 convolution: only A has the kernel.": (
            count(lambda r, out, into, k: r * (into + out) * k)
        ),
        "You put the kernel into B: A sees the neighbours, B is 1x1.": (
            count(lambda r, out, into, k: r * (into + out * k))
        ),
        "That is A alone: B learns as well.": count(lambda r, out, into, k: r * into * k),
        "That is B alone: A learns as well.": count(lambda r, out, into, k: r * out),
        "Those are the frozen weights: A and B learn.": count(lambda r, out, into, k: out * into * k),
        "Those are A, B and the frozen weight: only A and B learn.": (
            count(lambda r, out, into, k: r * (into * k + out) + out * into * k)
        ),
        "The adapters have no bias of their own.": count(lambda r, out, into, k: r * (into * k + out) + out),
        "Once per rank: A has rank rows and B has rank columns.": count(lambda r, out, into, k: into * k + out),
    }
    inputs = [([(64, 48)], 4), ([(64, 48), (32, 64, 3, 3)], 3), ([(16, 8, 3, 3), (8, 16, 5, 5), (5, 9)], 2)]
    done = "Correct. Twice that is the file's size in bytes, but for its header."
    return compare(yours, count(lambda r, out, into, k: r * (into * k + out)), mistakes, *inputs, done=done)
