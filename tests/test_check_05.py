"""Lesson 05's checkers: right, wrong and untried answers, each with its own sentence."""

import pytest
import torch

from diffusion101.check import lesson05
from diffusion101.core.guidance import guide
from diffusion101.core.process import Denoised
from diffusion101.networks import Labels


def in_place(labels, null, rate, u):
    labels[u < rate] = null
    return labels


DROP = {
    "Correct: at rate 0.1": lambda y, null, rate, u: torch.where(u < rate, null, y),
    "You wrote into `labels`": in_place,
    "You dropped the wrong ones": lambda y, null, rate, u: torch.where(u > rate, null, y),
    "One coin for the whole batch": lambda y, null, rate, u: y if u[0] > rate else torch.full_like(y, null),
    "but 0 is a digit": lambda y, null, rate, u: y * (u >= rate),
    "That is the mask": lambda y, null, rate, u: u < rate,
    "You threw the dropped ones out": lambda y, null, rate, u: y[u >= rate],
    "Called twice with the same u": lambda y, null, rate, u: torch.where(torch.rand(len(y)) < rate, null, y),
    "You wrote 10": lambda y, null, rate, u: torch.where(u < rate, 10, y),
    "You dropped one in ten": lambda y, null, rate, u: torch.where(u < 0.1, null, y),
    "the values are not": lambda y, null, rate, u: y,
    "Not tried yet": lambda y, null, rate, u: ...,
    "stopped with KeyError": lambda y, null, rate, u: {}[0],
}


def steer(formula, part="eps"):
    def answer(model, x, t, wanted, unwanted, w):
        c, a, n = (getattr(model(x, t, y), part) for y in (wanted, unwanted, model.condition.empty(len(wanted))))
        return formula(c, a, n, w)

    return answer


def from_guide(model, x, t, wanted, unwanted, w):
    return guide(model, wanted, w)(x, t).eps


AWAY = {
    "Correct: with the null label": steer(lambda c, a, n, w: (1 - w) * a + w * c),
    "That is plain guidance from the null label": from_guide,
    "Swapped": steer(lambda c, a, n, w: w * a + (1 - w) * c),
    "You walk the wrong way": steer(lambda c, a, n, w: a - w * (c - a)),
    "the paper's w": steer(lambda c, a, n, w: c + w * (c - a)),
    "The difference alone": steer(lambda c, a, n, w: w * c - w * a),
    "You start from the null label": steer(lambda c, a, n, w: n + w * (c - a)),
    "must sum to 1": steer(lambda c, a, n, w: c - w * a),
    "You guided the guess of x0": steer(lambda c, a, n, w: a + w * (c - a), "x0"),
    "for the wanted label alone": steer(lambda c, a, n, w: c),
    "the weight 1 - w": steer(lambda c, a, n, w: w * c),
    "the values are not": steer(lambda c, a, n, w: a),
    "Not tried yet": lambda *inputs: None,
    "stopped with TypeError": lambda *inputs: inputs[0](),
}

PICTURES = {
    "Correct: guidance doubles": lambda n, steps, w: n * steps * (2 - (w in (0, 1))),
    "one of the two answers has no weight": lambda n, steps, w: 2 * n * steps,
    "batching them saves calls, not pictures": lambda n, steps, w: n * steps,
    "Between 0 and 1": lambda n, steps, w: n * steps * (1 + (w > 1)),
    "At w = 1 only c is left": lambda n, steps, w: n * steps * (1 + (w != 0)),
    "At w = 0 only u is left": lambda n, steps, w: n * steps * (1 + (w != 1)),
    "each call takes a whole batch": lambda n, steps, w: steps,
    "not w of them": lambda n, steps, w: n * steps * w,
    "one for each answer": lambda n, steps, w: steps * (2 - (w in (0, 1))),
    "Not yet": lambda n, steps, w: n,
    "Not tried yet": lambda n, steps, w: ...,
}

ANSWERS = {"drop": DROP, "away": AWAY, "pictures_through": PICTURES}
CASES = [(checker, words, answer) for checker, cases in ANSWERS.items() for words, answer in cases.items()]


@pytest.mark.parametrize("checker, words, answer", CASES, ids=[f"{c}-{w[:24]}" for c, w, _ in CASES])
def test_each_answer_gets_its_sentence(checker, words, answer, capsys):
    verdict = getattr(lesson05, checker)(answer)
    said = capsys.readouterr().out
    assert words in said and said.count("\n") == 1
    assert verdict is (True if words.startswith("Correct") else None if words.startswith("Not tried") else False)


def test_a_whole_denoised_will_do(capsys):
    def answer(model, x, t, wanted, unwanted, w):
        c, a = model(x, t, wanted), model(x, t, unwanted)
        return Denoised(a.x0 + w * (c.x0 - a.x0), a.eps + w * (c.eps - a.eps))

    assert lesson05.away(answer) is True


def test_the_count_is_the_packages_own():
    seen = []

    def model(x, t, cond):
        seen.append(len(x))
        return Denoised(x, x)

    model.condition = Labels(10)
    for w in (0, 0.5, 1, 2.0):
        seen.clear()
        guide(model, torch.arange(3), w)(torch.zeros(3, 1), torch.ones(3, dtype=torch.int64))
        assert sum(seen) == PICTURES["Correct: guidance doubles"](3, 1, w)
