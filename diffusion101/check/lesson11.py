"""Lesson 11: name a bug by its pictures, and an invariant that catches one."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from ..core import samplers, schedules, toy
from .exercise import exercise, normal, numbers_of

__all__ = ["ends_clean", "suspects"]

LINE_UP = {"A": 8, "B": 7, "C": 9, "D": 5}  # which bug each row has, by its number
TELLTALES = {  # of a row and a bug that it does not have: what tells them apart
    ("A", 1): "uniform noise ends in white, whatever was asked for.",
    ("A", 9): "with w against 1 + w the row would show what was asked for; hardly any of these do.",
    ("A", 10): "without its label a picture is any digit in one case of ten; here hardly any is what was asked for.",
    (
        "B",
        5,
    ): "under the grain the strokes are not those of the right row; what comes after the last guess leaves them.",
    ("B", 6): "too little noise makes smooth digits; these have grain.",
    ("B", 9): "more guidance adds no grain.",
    ("C", 8): "these are the digits that were asked for, so the way is right; it goes too far.",
    ("C", 10): "a row that lost labels obeys less than the right one; this one obeys more.",
    ("C", 6): "smooth they are, but they are other digits than in the right row, and all of them what was asked for.",
    ("D", 7): "under the grain each digit is that of the right row: until the last step all was well.",
    ("D", 6): "too little noise leaves no grain.",
    ("D", 1): "uniform noise ends in white, for each step adds light.",
}


def _other(row: str, number: int) -> str:
    return TELLTALES.get((row, number), f"not number {number}; look at the row once more, beside the right one.")


def _rows(answer: object) -> Tensor:
    """The numbers (4,); or only how many are right, where fewer than two are, so that nothing is given away."""
    given = numbers_of(answer)
    if given.shape != (4,):
        return given
    right = int((given == torch.tensor([*LINE_UP.values()])).sum())
    return given if right > 1 else torch.tensor(float(right))


@exercise(
    cases=lambda: [()],
    done="Correct: all four. And each without reading a line of code.",
    within=0,
    seen=_rows,
    mistakes={
        "None of the four yet: ask first which rows have grain, and which show what was asked for.": lambda: [0] * 4,
        "One of the four is right: ask which rows have grain, and which show what was asked for.": lambda: [8, 0, 0, 0],
    }
    | {f"{r}: {_other(r, n)}": {r: n} for r in LINE_UP for n in range(1, 17) if n != LINE_UP[r]},
)
def suspects(A: int = 8, B: int = 7, C: int = 9, D: int = 5) -> list[int]:
    """suspects(): the numbers of the bugs in rows A, B, C and D."""
    return [A, B, C, D]


def _grainy(sampler: Callable, size: float, lift: float = 0.0) -> Callable:
    """The sampler with noise of this size on what it ends with; its mean is lift times the size, to rounding."""

    def broken(*args, **more) -> Iterator[samplers.Step]:
        for step in sampler(*args, **more):
            z = normal(*step.x.shape)
            yield step if step.t else step._replace(x=step.x + size * (z - z.mean() + lift))

    return broken


def _halfway(*args, **more) -> Iterator[samplers.Step]:
    yield from list(samplers.ddim(*args, **more))[:-1]


def _cases() -> list[tuple]:
    s = schedules.cosine(T=20)
    tried = [samplers.ddpm, samplers.ddim, samplers.dpmpp_2m, _grainy(samplers.ddim, 1e-6, 1.0), _halfway]
    tried += [_grainy(samplers.ddpm, 0.02, 1.0), _grainy(samplers.ddim, 0.02, -1.0), _grainy(samplers.ddim, 0.2)]
    return [(sampler, toy.ring().denoiser(s), normal(50, 2), s) for sampler in tried]


@exercise(
    cases=_cases,
    done="Correct: three right samplers pass, and rounding; grain, fine or coarse, and a path cut short do not.",
    within=0,
    mistakes={
        "Too strict: rounding alone may leave 1e-6, so allow a little, say 1e-3.": dict(most=0.0),
        "Too lax: noise of 0.02 must not pass, so allow no more than, say, 1e-3.": dict(most=0.15),
        "Plus and minus cancel in a sum or a mean: take absolute values, or squares.": dict(
            of=lambda z: z.mean().abs()
        ),
        "A difference below zero is one too: take its absolute value.": dict(of=lambda z: z.mean()),
        "That t ends at 0 is not enough: look at x, there may be noise on it.": dict(most=9.0),
        "Turned over: True is for a sampler that ends clean.": lambda *case: not ends_clean.right(*case),
        "Yours finds every sampler right: compare the last step's x with its x0.": lambda *case: True,
        "Yours finds every sampler broken, the right ones too: on its way x holds noise, so look at the last step, and "
        "compare its x with its own x0.": lambda *case: False,
    },
)
def ends_clean(
    sampler: Callable,
    denoise: Callable,
    x: Tensor,
    s: schedules.Schedule,
    most: float = 1e-3,
    of: Callable[[Tensor], Tensor] = lambda z: z.abs().max(),
) -> bool:
    """ends_clean(sampler, denoise, x, s): whether five steps end at t = 0, with x the last guess of x0 and no more."""
    *_, last = sampler(denoise, x, s, steps=5)
    return last.t == 0 and of(last.x - last.x0).item() <= most
