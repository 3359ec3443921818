"""Lesson 05: dropping labels, steering away from a label, and what guidance costs."""

from collections.abc import Callable

import torch
from torch import Tensor

from ..core.process import Denoised
from ..networks import Labels
from .exercise import exercise, normal

__all__ = ["away", "drop", "pictures_through"]


@exercise(
    cases=lambda: [
        (torch.arange(1, 41) % 10, null, rate, (torch.arange(40) * 0.618 + 0.05) % 1)
        for null, rate in ((10, 0.1), (26, 0.5), (10, 0))
    ],
    done="Correct: at rate 0.1 about one picture in ten teaches the null label.",
    untouched="But you wrote into `labels` itself: a data set would lose its labels bit by bit, so make a new tensor.",
    within=0,
    mistakes={
        "You wrote 10: another data set has another number of labels, so put in `null`.": dict(instead=10),
        "You wrote 0, but 0 is a digit: a dropped label becomes `null`.": dict(instead=0),
        "You wrote -1: a dropped label becomes `null`, which has a row in the table.": dict(instead=-1),
        "You dropped one in ten, whatever `rate` says.": dict(below="0.1"),
        "You dropped the wrong ones: a uniform number is below rate with probability rate.": dict(below="above"),
        "One coin for the whole batch: every picture has its own number in u.": dict(below="one"),
        "That is the mask: the answer is the labels, some of them replaced.": lambda labels, null, rate, u: u < rate,
        "You threw the dropped ones out: each needs a label.": lambda labels, null, rate, u: labels[u >= rate],
        "You dropped none: where u is below rate the label becomes `null`.": lambda labels, null, rate, u: labels,
        "You dropped all: where u is not below rate the label stays.": dict(below="all"),
    },
)
def drop(labels: Tensor, null: int, rate: float, u: Tensor, below="", instead: int | None = None) -> Tensor:
    """drop(labels, null, rate, u): labels (B,), replaced by null where the picture's number u (B,) is below rate."""
    dropped = {"0.1": u < 0.1, "above": u >= rate, "one": (u < rate)[0], "all": u < 2}.get(below, u < rate)
    return torch.where(dropped, null if instead is None else instead, labels)


def _model(x: Tensor, t: Tensor, cond: Tensor) -> Denoised:
    eps = x * torch.tensor([0.3, -1.2, 0.8, 2.0])[cond][:, None] + cond[:, None] ** 2
    return Denoised(eps / 7 - t[:, None], eps)


_model.condition = Labels(3)


@exercise(
    cases=lambda: [
        (_model, normal(4, 5), torch.tensor([1, 9, 500, 1000]), *torch.tensor([[0, 1, 2, 0], [1, 0, 1, 2]]), w)
        for w in (2.5, 0.4)
    ],
    done="Correct: with the null label as the unwanted one it is lesson 05's guidance.",
    seen=lambda answer: answer.eps if isinstance(answer, Denoised) else answer,
    mistakes={
        "That is plain guidance from the null label: let the unwanted label take its place.": dict(mix="plain"),
        "Swapped: you start at the wanted label and walk to the unwanted one.": dict(mix="swapped"),
        "You walk the wrong way: the difference is wanted minus unwanted.": dict(mix="wrong way"),
        "That is the paper's w, which is ours minus one: your w = 1 is guided already.": dict(mix="paper"),
        "That is the answer for the wanted label alone: w and the unwanted one are missing.": dict(mix="wanted"),
        "That is the answer for the unwanted label alone: w and the wanted one are missing.": dict(mix="unwanted"),
        "That is w times the wanted label's answer: the unwanted one has the weight 1 - w.": dict(mix="one"),
        "The difference alone is no answer: add it to the unwanted label's eps, where you start.": dict(mix="alone"),
        "You start from the null label: start from the unwanted one, where w = 0 should be.": dict(mix="n"),
        "You subtract, but the weights must sum to 1, or the noise comes out too strong.": dict(mix="c - a"),
        "You guided the guess of x0; eps was asked for.": dict(part="x0"),
    },
)
def away(
    model: Callable, x: Tensor, t: Tensor, wanted: Tensor, unwanted: Tensor, w: float, mix="", part="eps"
) -> Tensor:
    """away(model, x, t, wanted, unwanted, w): eps (B, ...) guided towards the one label, away from the other."""
    labels = wanted, unwanted, model.condition.empty(len(wanted))
    c, a, n = (getattr(model(x, t, label), part) for label in labels)
    wrong = {"plain": n + w * (c - n), "swapped": c + w * (a - c), "wrong way": a + w * (a - c), "wanted": c}
    wrong |= {"paper": c + w * (c - a), "unwanted": a, "one": w * c, "alone": w * (c - a)}
    return (wrong | {"n": n + w * (c - a), "c - a": c - w * a}).get(mix, a + w * (c - a))


@exercise(
    cases=lambda: [(10, 10, 2.0), (3, 20, 1.0), (7, 50, 0.0), (5, 4, 0.5)],
    done="Correct: guidance doubles the work, whatever the sampler.",
    within=0,
    mistakes={
        "At w = 0 and w = 1 one of the two answers has no weight, and is not computed.": dict(one=()),
        "Guidance needs two answers per step; batching them saves calls, not pictures.": dict(two=1),
        "Between 0 and 1 both answers count as well: only w = 0 and w = 1 need one.": dict(one=(0, 0.5, 1)),
        "At w = 1 only c is left: u + 1 (c - u) = c.": dict(one=(0,)),
        "At w = 0 only u is left: nobody needs c.": dict(one=(1,)),
        "Those are the calls of the network; each call takes a whole batch of pictures.": dict(two=1, batch=0),
        "Those are calls, one for each answer; every call takes n pictures.": dict(batch=0),
        "Every step takes all n pictures through the network: multiply by steps.": dict(every=0),
        "steps + 1 times stand in the table, but there are steps of them to take.": dict(more=1),
        "At w = 2.5 you compute two answers, not w of them.": lambda n, steps, w: n * steps * w,
    },
)
def pictures_through(n: int, steps: int, w: float, one=(0, 1), two=2, batch=1, every=1, more=0) -> int:
    """pictures_through(n, steps, w): how many pass the network while guidance.guide draws n pictures."""
    return n**batch * (steps + more) ** every * (1 if w in one else two)
