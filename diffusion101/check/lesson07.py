"""Lesson 07: a layer with a low-rank adapter, the adapter's birth, what it weighs, and its update of the weight."""

from math import prod

import torch
from torch import Tensor

from .exercise import exercise, normal, numbers_of

__all__ = ["born", "learns", "low_rank", "update"]


@exercise(  # square layers, so that what is turned can be multiplied too and gets its own sentence
    cases=lambda: [
        (normal(5, d), normal(d, d, seed=1), normal(r, d, seed=2), normal(d, r, seed=3), scale)
        for d, r, scale in ((8, 2, 0.7), (6, 3, 2.0))
    ],
    done="Correct: that is all of LoRA's forward.",
    mistakes={
        "W x is missing: the frozen layer goes on answering.": dict(frozen=0),
        "The correction is missing: add scale * B A x.": dict(thin=0),
        "The scale is missing: it multiplies the correction.": dict(power=0),
        "You divided by the scale: it multiplies the correction.": dict(power=-1),
        "The scale counts once.": dict(power=2),
        "Plus, not minus: the correction is added.": dict(sign=-1),
        "You scaled W x as well: the scale belongs to the correction alone.": dict(frozen="scaled"),
        "x @ W has W turned round: W is (out, in) and x is a row, so it is x @ W.T.": dict(turned=True),
        "x @ B @ A has the correction turned round: the row x meets A first, x @ A.T @ B.T.": dict(crossed=True),
        "The correction went through W as well: it is added to W x, not to x.": (
            lambda x, W, A, B, scale: (x + scale * x @ A.T @ B.T) @ W.T
        ),
    },
)
def low_rank(
    x: Tensor,
    W: Tensor,
    A: Tensor,
    B: Tensor,
    scale: float,
    frozen=1,
    thin=1,
    power=1,
    sign=1,
    turned=False,
    crossed=False,
) -> Tensor:
    """low_rank(x, W, A, B, scale): what a layer with an adapter answers; x (N, in) -> (N, out)."""
    plain = x @ (W if turned else W.T) * (scale if frozen == "scaled" else frozen)
    correction = x @ B @ A if crossed else x @ A.T @ B.T
    return plain + sign * thin * scale**power * correction


@exercise(  # square layers, so that A B can be formed too and gets its own sentence
    cases=lambda: [(normal(r, d), normal(d, r, seed=1), alpha) for r, d, alpha in ((4, 16, 8.0), (3, 10, 1.0))],
    done="Correct: one addition to W, and the adapter costs nothing more.",
    mistakes={
        "The scale is missing: alpha / rank.": dict(scale="none"),
        "You scaled by alpha: divide by the rank, which is len(A).": dict(scale="alpha"),
        "You multiplied by the rank: alpha / rank.": dict(scale="times"),
        "alpha is missing: the scale is alpha / rank.": dict(scale="rank"),
        "Upside down: alpha / rank, not rank / alpha.": dict(scale="turned"),
        "You divided by the layer's width: the rank is the thin side of A, len(A).": dict(scale="width"),
        "You divided by the root of the rank: the scale is alpha / rank.": dict(scale="root"),
        "That is A B: A comes first on x, so it stands on the right, B A.": lambda A, B, alpha: alpha / len(A) * A @ B,
        "That is A B, and the scale is missing: you want alpha / rank times B A.": lambda A, B, alpha: A @ B,
        "Right, but transposed: a weight is (out, in).": lambda A, B, alpha: update.right(A, B, alpha).T,
        "All zero: that is the update at birth; after training B holds something.": dict(scale="zero"),
    },
)
def update(A: Tensor, B: Tensor, alpha: float, scale="") -> Tensor:
    """update(A, B, alpha): from A (rank, in) and B (out, rank) to what merging adds to the weight (out, in)."""
    rank = len(A)
    scales = {"none": 1, "alpha": alpha, "times": alpha * rank, "rank": 1 / rank, "turned": rank / alpha}
    scales |= {"width": alpha / A.shape[1], "root": alpha / rank**0.5, "zero": 0}
    return scales.get(scale, alpha / rank) * B @ A


def _shadow(matrix: Tensor) -> Tensor:
    """Zeros of a zero matrix, ones of one with independent rows or columns (such as a random one), halves of others."""
    matrix = numbers_of(matrix).double()
    if not matrix.isfinite().all():
        raise ValueError("A or B holds what is no number")
    full = matrix.ndim == 2 and matrix.numel() > 0 and torch.linalg.matrix_rank(matrix) == min(matrix.shape)
    return torch.full(matrix.shape, bool(matrix.any()) * (1.0 if full else 0.5))


@exercise(
    cases=lambda: [(6, 5, 2), (64, 48, 4)],
    done="Correct: B A = 0, the model is what it was, and B has a gradient from the first step.",
    parts=2,
    seen=_shadow,
    mistakes={
        "Both are zero: then neither gets a gradient, and nothing will ever move.": dict(a=torch.zeros),
        "Both are random: the finished model would be spoilt before it learned anything.": dict(b=normal),
        "That would do as well, but here and in the paper A is random and B is zero.": dict(a=torch.zeros, b=normal),
        "The rows of A repeat each other, so the ranks learn the same: draw A at random.": dict(a=torch.ones),
        "B is not zero: the finished model would be spoilt before it learned anything.": dict(b=torch.ones),
        "A is zero and B is not: here and in the paper it is the other way round.": dict(a=torch.zeros, b=torch.ones),
        "The shapes are turned: A is (rank, in) and B is (out, rank).": dict(turned=True),
        "You returned B, A: the answer is A, B.": dict(swapped=True),
    },
)
def born(n_in: int, n_out: int, rank: int, a=normal, b=torch.zeros, turned=False, swapped=False) -> tuple:
    """born(n_in, n_out, rank): A (rank, n_in) and B (n_out, rank) as they are before training."""
    A, B = a(rank, n_in), b(n_out, rank)
    A, B = (A.T, B.T) if turned else (A, B)
    return (B, A) if swapped else (A, B)


@exercise(
    cases=lambda: [([(64, 48)], 4), ([(64, 48), (32, 64, 3, 3)], 3), ([(16, 8, 3, 3), (8, 16, 5, 5), (5, 9)], 2)],
    done="Correct. Twice that is the file's size in bytes, but for its header.",
    within=0,
    mistakes={
        "A convolution's A has the kernel too, rank x in x 3 x 3: you counted a linear layer.": dict(of_a="none"),
        "The kernel has two sides: A has rank x in x 3 x 3 numbers.": dict(of_a="one side"),
        "B of a convolution is a 1x1 convolution: only A has the kernel.": dict(of_b="kernel"),
        "B is missing: it learns as well.": dict(of_b="nothing"),
        "A is missing: it learns as well.": dict(of_a="nothing"),
        "Those are A, B and the frozen weight: only A and B learn.": dict(frozen=1),
        "The adapters have no bias of their own.": dict(bias=1),
        "Once per rank: A has rank rows and B has rank columns.": dict(ranks=0),
        "A has rank rows and B has rank columns: rank counts once for each, not squared.": dict(ranks=2),
        "The kernel multiplies, rank x in x 3 x 3: you added 3 + 3.": lambda shapes, rank: rank * sum(map(sum, shapes)),
        "Those are the frozen weights: A and B learn.": lambda shapes, rank: sum(prod(shape) for shape in shapes),
    },
)
def learns(shapes: list[tuple[int, ...]], rank: int, of_a="", of_b="", frozen=0, bias=0, ranks=1) -> int:
    """learns(shapes, rank): how many numbers learn, given the adapted layers' weight shapes, linear or convolution."""
    total = 0
    for out, into, *kernel in shapes:
        a = into * {"none": 1, "one side": prod(kernel[:1]), "nothing": 0}.get(of_a, prod(kernel))
        b = out * {"kernel": prod(kernel), "nothing": 0}.get(of_b, 1)
        total += rank**ranks * (a + b) + bias * out + frozen * out * into * prod(kernel)
    return total
