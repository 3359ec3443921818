"""Lesson 05: dropping labels, steering away from a label, and what guidance costs."""

from collections.abc import Callable
from math import inf, nan

import torch
from torch import Tensor

from ..core.process import Denoised
from ..networks import Labels
from .verdict import compare

__all__ = ["away", "drop", "pictures_through"]


def drop(yours: Callable[[Tensor, int, float, Tensor], Tensor]) -> bool | None:
    """yours(labels, null, rate, u): labels (B,), replaced by null where the picture's number u (B,) is below rate."""

    def right(labels: Tensor, null: int, rate: float, u: Tensor) -> Tensor:
        return torch.where(u < rate, null, labels)

    def watched(labels: Tensor, null: int, rate: float, u: Tensor) -> Tensor:
        own = labels.clone()
        answer, again = yours(own, null, rate, u.clone()), yours(labels.clone(), null, rate, u.clone())
        if not torch.equal(own, labels):
            return torch.tensor(nan)
        both = isinstance(answer, Tensor) and isinstance(again, Tensor)
        return torch.tensor(inf) if both and not torch.equal(answer, again) else answer

    mistakes = {
        "You wrote into `labels` itself: the data set would lose its labels bit by bit. Make a new tensor.": (
            lambda labels, null, rate, u: torch.tensor(nan) if rate else labels
        ),
        "Called twice with the same u you drop different labels: use u, draw no random numbers of your own.": (
            lambda labels, null, rate, u: torch.tensor(inf) if rate else labels
        ),
        "You wrote 10: another data set has another number of labels, so put in `null`.": (
            lambda labels, null, rate, u: torch.where(u < rate, 10, labels)
        ),
        "You dropped one in ten, whatever `rate` says.": (
            lambda labels, null, rate, u: torch.where(u < 0.1, null, labels)
        ),
        "You dropped the wrong ones: a uniform number is below rate with probability rate.": (
            lambda labels, null, rate, u: torch.where(u < rate, labels, null)
        ),
        "One coin for the whole batch: every picture has its own number in u.": (
            lambda labels, null, rate, u: torch.full_like(labels, null) if u[0] < rate else labels
        ),
        "You wrote 0, but 0 is a digit: a dropped label becomes `null`.": (
            lambda labels, null, rate, u: torch.where(u < rate, 0, labels)
        ),
        "That is the mask: the answer is the labels, some of them replaced.": lambda labels, null, rate, u: u < rate,
        "You threw the dropped ones out: each picture stays and needs a label, if only `null`.": (
            lambda labels, null, rate, u: labels[u >= rate]
        ),
    }
    u = torch.rand(40, generator=torch.Generator().manual_seed(5))
    u[0] = 0.05
    labels = torch.arange(1, 41) % 10
    done = "Correct: at rate 0.1 about one picture in ten teaches the null label."
    inputs = [(labels, 10, 0.1, u), (labels, 26, 0.5, u), (labels, 10, 0.0, u)]
    return compare(watched, right, mistakes, *inputs, done=done)


def away(yours: Callable) -> bool | None:
    """yours(model, x, t, wanted, unwanted, w): guided eps (B, ...) towards the one label, from the other."""

    def model(x: Tensor, t: Tensor, cond: Tensor) -> Denoised:
        eps = x * torch.tensor([0.3, -1.2, 0.8, 2.0])[cond][:, None] + cond[:, None] ** 2
        return Denoised(eps / 7 - t[:, None], eps)

    model.condition = Labels(3)

    def given(x, t, wanted, unwanted, w):
        answer = yours(model, x, t, wanted, unwanted, w)
        return answer.eps if isinstance(answer, Denoised) else answer

    def mix(formula: Callable) -> Callable:
        """formula(c, a, n, w) of the answers for the wanted, the unwanted and the null label."""
        labels = lambda wanted, unwanted: (wanted, unwanted, model.condition.empty(len(wanted)))  # noqa: E731
        return lambda x, t, wanted, unwanted, w: formula(
            *(model(x, t, label).eps for label in labels(wanted, unwanted)), w
        )

    mistakes = {
        "That is plain guidance from the null label: let the unwanted label take its place.": mix(
            lambda c, a, n, w: n + w * (c - n)
        ),
        "Swapped: you start at the wanted label and walk to the unwanted one.": mix(lambda c, a, n, w: c + w * (a - c)),
        "You walk the wrong way: the difference is wanted minus unwanted.": mix(lambda c, a, n, w: a + w * (a - c)),
        "That is the paper's w, which is ours minus one: your w = 1 is guided already.": mix(
            lambda c, a, n, w: (1 + w) * c - w * a
        ),
        "That is the answer for the wanted label alone: where are w and the unwanted one?": mix(lambda c, a, n, w: c),
        "That is w times the answer for the wanted label: the unwanted one has the weight 1 - w.": mix(
            lambda c, a, n, w: w * c
        ),
        "The difference alone is no answer: add it to where you start, the unwanted label's eps.": mix(
            lambda c, a, n, w: w * (c - a)
        ),
        "You start from the null label: start from the unwanted one, so that w = 1 gives the wanted label's eps.": mix(
            lambda c, a, n, w: n + w * (c - a)
        ),
        "You subtract the unwanted label, but the weights must sum to 1, or the noise comes out too strong.": mix(
            lambda c, a, n, w: c - w * a
        ),
        "You guided the guess of x0; eps was asked for.": lambda x, t, wanted, unwanted, w: (
            model(x, t, unwanted).x0 + w * (model(x, t, wanted).x0 - model(x, t, unwanted).x0)
        ),
    }
    generator = torch.Generator().manual_seed(6)
    x, t = torch.randn(4, 5, generator=generator), torch.tensor([1, 9, 500, 1000])
    wanted, unwanted = torch.tensor([0, 1, 2, 0]), torch.tensor([1, 0, 1, 2])
    done = "Correct: with the null label as the unwanted one it is lesson 05's guidance."
    right = mix(lambda c, a, n, w: a + w * (c - a))
    return compare(given, right, mistakes, (x, t, wanted, unwanted, 2.5), (x, t, wanted, unwanted, 0.4), done=done)


def pictures_through(yours: Callable[[int, int, float], int]) -> bool | None:
    """yours(n, steps, w): how many pictures pass the network while guidance.guide draws n in `steps` steps."""

    def right(n: int, steps: int, w: float) -> int:
        return n * steps * (1 if w in (0, 1) else 2)

    mistakes = {
        "At w = 0 and w = 1 one of the two answers has no weight, and is not computed.": (
            lambda n, steps, w: 2 * n * steps
        ),
        "Guidance needs two answers per step; batching them saves calls, not pictures.": lambda n, steps, w: n * steps,
        "Between 0 and 1 both answers count as well: only w = 0 and w = 1 need one.": (
            lambda n, steps, w: n * steps * (2 if w > 1 else 1)
        ),
        "At w = 1 only c is left: u + 1 (c - u) = c.": lambda n, steps, w: n * steps * (1 if w == 0 else 2),
        "At w = 0 only u is left: nobody needs c.": lambda n, steps, w: n * steps * (1 if w == 1 else 2),
        "Those are the calls of the network; each call takes a whole batch of pictures.": lambda n, steps, w: steps,
        "At w = 2 you compute two answers, not w of them; nor half an answer at w = 0.5.": (
            lambda n, steps, w: n * steps * w
        ),
        "Those are calls, one for each answer; every call takes n pictures.": (
            lambda n, steps, w: steps * (1 if w in (0, 1) else 2)
        ),
    }
    inputs = [(10, 10, 2.0), (3, 20, 1.0), (7, 50, 0.0), (5, 4, 0.5)]
    return compare(yours, right, mistakes, *inputs, done="Correct: guidance doubles the work, whatever the sampler.")
