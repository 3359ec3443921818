"""Lesson 05: dropping labels, guidance, its interval, and steering away from a label."""

from collections.abc import Callable

import torch
from torch import Tensor

from ..core.process import Denoised
from ..networks import Labels
from .exercise import exercise, normal

__all__ = ["away", "drop", "guided", "scale_at"]


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
    eps = x * (1.3 * cond).cos()[:, None] + cond[:, None] ** 2 / 10
    return Denoised(eps / 7 - t[:, None] / 1000, eps)


_model.condition = Labels(12)  # not ten, so that a 10 written by hand is no null label


def _inputs() -> tuple[Tensor, Tensor]:
    return normal(4, 5), torch.tensor([1, 9, 500, 1000])


@exercise(
    cases=lambda: [(_model, *_inputs(), torch.tensor([0, 1, 2, 0]), w) for w in (2.5, 0.4)],
    done="Correct: two questions about the same x, and a walk from the one answer to the other.",
    mistakes={
        "You asked the network with the label alone: ask once more with the null label.": dict(mix="c"),
        "That is the answer to the null label: ask once more with y.": dict(mix="u"),
        "You walk the wrong way: the difference is c - u.": dict(mix="wrong way"),
        "You start at c: start at u, so that w = 0 is the answer to the null label. (So it is in the paper.)": dict(
            mix="paper"
        ),
        "Swapped: u is the answer to the null label, c the one to y.": dict(mix="swapped"),
        "The difference alone is no picture: add it to u, where you start.": dict(mix="alone"),
        "That is w times c: the answer u belongs in it, too, with the weight 1 - w.": dict(mix="one"),
        "You added w c to u: it is w (c - u) that is added.": dict(mix="u + wc"),
        "You subtract w u, but the weights of c and u must sum to 1.": dict(mix="c - wu"),
        "You wrote c + u for c - u.": dict(mix="sum"),
        "You asked label 0 for nothing, but 0 is a digit: model.condition.empty(len(y)) says nothing.": dict(null=0),
        "You wrote 10 for the null label: another data set has another number of labels; "
        "model.condition.empty(len(y)) knows it.": dict(null=10),
        "You guided eps; the guess of x0 was asked for.": dict(part="eps"),
        "You returned both guesses: the one of x0 was asked for.": lambda *case: torch.stack(
            [guided.right(*case), guided.right(*case, part="eps")]
        ),
    },
)
def guided(model: Callable, x: Tensor, t: Tensor, y: Tensor, w: float, mix="", null: int | None = None, part="x0"):
    """guided(model, x, t, y, w): the guess of x0 (B, ...) at guidance scale w, for labels y (B,)."""
    nothing = model.condition.empty(len(y)) if null is None else torch.full_like(y, null)
    u, c = (getattr(model(x, t, label), part) for label in (nothing, y))
    wrong = {"c": c, "u": u, "wrong way": u + w * (u - c), "paper": c + w * (c - u), "swapped": c + w * (u - c)}
    wrong |= {"alone": w * (c - u), "one": w * c, "u + wc": u + w * c, "c - wu": c - w * u, "sum": u + w * (c + u)}
    return wrong.get(mix, u + w * (c - u))


@exercise(
    cases=lambda: [
        (torch.tensor([1, 200, 201, 500, 700, 701, 1000]), *rest) for rest in ((4.0, 200, 700), (2, 0, 500))
    ],
    done="Correct: outside of the interval the label is obeyed, and not insisted on.",
    within=0,
    mistakes={
        "Outside of the interval w is 1, the plain answer to the label; 0 forgets the label.": dict(outside=0.0),
        "Inside and outside are exchanged: w stands where low < t <= high.": dict(where="outside"),
        "low itself is outside: low < t.": dict(where="low"),
        "high itself is inside: t <= high.": dict(where="high"),
        "Both ends are the wrong way round: low is outside, high is inside.": dict(where="both"),
        "You forgot high: above it w is 1 again.": dict(where="above"),
        "You forgot low: below it w is 1 again.": dict(where="below"),
        "Every t is above low or below high: both must hold, so join them with & and not with |.": dict(where="or"),
        "That says where the interval is: return w there, and 1 elsewhere.": lambda t, w, low, high: (
            (low < t) & (t <= high)
        ),
    },
)
def scale_at(t: Tensor, w: float, low: int, high: int, outside=1.0, where="") -> Tensor:
    """scale_at(t, w, low, high): the guidance scale (B,) at times t (B,): w where low < t <= high, else 1."""
    wrong = {"outside": (t <= low) | (t > high), "low": (low <= t) & (t <= high), "high": (low < t) & (t < high)}
    wrong |= {"both": (low <= t) & (t < high), "above": low < t, "below": t <= high, "or": t > -1}
    return torch.where(wrong.get(where, (low < t) & (t <= high)), float(w), outside)


@exercise(
    cases=lambda: [(_model, *_inputs(), *torch.tensor([[0, 1, 2, 0], [1, 0, 1, 2]]), w) for w in (2.5, 0.4)],
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
