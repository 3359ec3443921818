"""Lesson 07's checkers: right, wrong and untried answers, each with its own sentence."""

from math import prod

import pytest
import torch
from torch import nn

from diffusion101 import lora
from diffusion101.check import lesson07

UPDATE = {
    "Correct: one addition": lambda A, B, alpha: (B @ A) * alpha / A.shape[0],
    "The scale is missing": lambda A, B, alpha: B @ A,
    "You scaled by alpha": lambda A, B, alpha: alpha * B @ A,
    "You multiplied by the rank": lambda A, B, alpha: alpha * len(A) * B @ A,
    "alpha is missing": lambda A, B, alpha: B @ A / len(A),
    "Upside down": lambda A, B, alpha: len(A) / alpha * B @ A,
    "the layer's width": lambda A, B, alpha: alpha / len(B) * B @ A,
    "That is A B, a small": lambda A, B, alpha: alpha / len(A) * A @ B,
    "That is A B, and the scale": lambda A, B, alpha: A @ B,
    "but transposed": lambda A, B, alpha: alpha / len(A) * A.T @ B.T,
    "All zero": lambda A, B, alpha: torch.zeros(len(B), A.shape[1]),
    "the values are not": lambda A, B, alpha: B @ A + 1,
    "the shape should be": lambda A, B, alpha: (B @ A)[:2],
    "Not tried yet": lambda A, B, alpha: ...,
    "stopped with RuntimeError": lambda A, B, alpha: A @ A,
}

BORN = {
    "Correct: B A = 0": lambda n, m, r: (torch.rand(r, n) - 0.5, torch.zeros(m, r)),
    "Both are zero": lambda n, m, r: (torch.zeros(r, n), torch.zeros(m, r)),
    "Both are random": lambda n, m, r: (torch.randn(r, n), torch.randn(m, r)),
    "B random and A zero": lambda n, m, r: (torch.zeros(r, n), torch.randn(m, r)),
    "Every row of A is the same": lambda n, m, r: (torch.randn(1, n).expand(r, n), torch.zeros(m, r)),
    "The shapes are turned": lambda n, m, r: (torch.randn(n, r), torch.zeros(r, m)),
    "You returned B, A": lambda n, m, r: (torch.zeros(m, r), torch.randn(r, n)),
    "Not yet": lambda n, m, r: (torch.randn(r, r), torch.zeros(m, r)),
    "Not tried yet": lambda n, m, r: ...,
    "return A, B": lambda n, m, r: torch.randn(r, n),
    "holds what is no number": lambda n, m, r: (torch.full((r, n), torch.nan), torch.zeros(m, r)),
    "is empty": lambda n, m, r: (torch.zeros(0, n), torch.zeros(m, 0)),
    "stopped with RuntimeError": lambda n, m, r: (torch.randn(r, n) @ torch.randn(r, n), torch.zeros(m, r)),
}


def total(formula):
    return lambda shapes, rank: sum(formula(rank, *shape[:2], prod(shape[2:])) for shape in shapes)


LEARNS = {
    "Correct. Twice that": total(lambda r, out, n, k: r * n * k + r * out),
    "has the kernel too": total(lambda r, out, n, k: r * n + r * out),
    "two sides": total(lambda r, out, n, k: r * n * round(k**0.5) + r * out),
    "you added 3 + 3": lambda shapes, rank: rank * sum(map(sum, shapes)),
    "B of a convolution is": total(lambda r, out, n, k: r * n * k + r * out * k),
    "You put the kernel into B": total(lambda r, out, n, k: r * n + r * out * k),
    "That is A alone": total(lambda r, out, n, k: r * n * k),
    "That is B alone": total(lambda r, out, n, k: r * out),
    "Those are the frozen weights": total(lambda r, out, n, k: out * n * k),
    "Those are A, B and": total(lambda r, out, n, k: out * n * k + r * n * k + r * out),
    "no bias of their own": total(lambda r, out, n, k: r * n * k + r * out + out),
    "Once per rank": total(lambda r, out, n, k: n * k + out),
    "Not yet": lambda shapes, rank: 0,
    "Not tried yet": lambda shapes, rank: None,
    "stopped with ZeroDivisionError": lambda shapes, rank: rank / 0,
}

ANSWERS = {"update": UPDATE, "born": BORN, "learns": LEARNS}
CASES = [(checker, words, answer) for checker, cases in ANSWERS.items() for words, answer in cases.items()]


@pytest.mark.parametrize("checker, words, answer", CASES, ids=[f"{c}-{w[:24]}" for c, w, _ in CASES])
def test_each_answer_gets_its_sentence(checker, words, answer, capsys):
    verdict = getattr(lesson07, checker)(answer)
    said = capsys.readouterr().out
    assert words in said and said.count("\n") == 1
    assert verdict is (True if words.startswith("Correct") else None if words.startswith("Not tried") else False)


def test_the_packages_adapters_are_right(capsys):
    def adapter(layer, rank, alpha):
        return lora.Adapter(layer, rank, alpha)

    def package_update(A, B, alpha):
        mine = adapter(nn.Linear(A.shape[1], len(B)), len(A), alpha)
        with torch.no_grad():
            mine.down.weight.copy_(A)
            mine.up.weight.copy_(B)
            return mine.delta()

    def package_born(n_in, n_out, rank):
        mine = adapter(nn.Linear(n_in, n_out), rank, rank)
        return mine.down.weight.detach(), mine.up.weight.detach()

    def package_learns(shapes, rank):
        def layer(out, into, *kernel):
            return nn.Conv2d(into, out, kernel) if kernel else nn.Linear(into, out)

        return sum(p.numel() for shape in shapes for p in adapter(layer(*shape), rank, rank).parameters())

    assert lesson07.update(package_update) and lesson07.born(package_born) and lesson07.learns(package_learns)
