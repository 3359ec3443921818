"""Lesson 04's checkers: right, wrong and untried answers, each with its own sentence."""

import math

import pytest
import torch

from diffusion101 import process, schedules
from diffusion101.check import lesson04


def curve(T, s, power=2, turn=math.pi / 2, whole=True):
    t = torch.arange(T + 1, dtype=torch.float64)
    return torch.cos((t / T + s) / (1 + whole * s) * turn) ** power


def scaled(T, s, _, **wrong):
    return curve(T, s, **wrong) / curve(T, s, **wrong)[0]


def table(T, s, max_beta, **wrong):
    alpha_bar = [1.0]
    f = curve(T, s, **wrong)
    for t in range(1, T + 1):
        alpha_bar.append(alpha_bar[-1] * (1 - min((1 - f[t] / f[t - 1]).item(), max_beta)))
    return alpha_bar


def betas(T, s, max_beta):
    f = curve(T, s)
    return (1 - f[1:] / f[:-1]).clamp(max=max_beta)


ALPHA_BAR = {
    "Correct. Lesson 04's schedule": table,
    "Correct": lambda T, s, max_beta: schedules.cosine(T, s, max_beta).alpha_bar,
    "You forgot the square": lambda *a: table(*a, power=1),
    "Half a turn is too much": lambda *a: table(*a, turn=math.pi),
    "You forgot to divide by 1 + s": lambda *a: table(*a, whole=False),
    "You forgot to clip": scaled,
    "divide by f(0). And the betas": lambda T, s, _: curve(T, s),
    "the cosine itself is signal. And clip": lambda *a: scaled(*a, power=1),
    "signal. And divide by f(0), and clip": lambda T, s, _: curve(T, s, power=1),
    "not at π. And clip": lambda *a: scaled(*a, turn=math.pi),
    "(1 + s) / (1 + s). And clip": lambda *a: scaled(*a, whole=False),
    "You clipped alpha_bar": lambda T, s, m: scaled(T, s, m).clamp(min=1 - m),
    "Those are the betas": betas,
    "You multiplied up the betas": lambda *a: torch.cat([torch.ones(1), betas(*a).cumprod(0)]),
    "A running product, not a sum": lambda *a: [1.0, *(1 - betas(*a).cumsum(0)).tolist()],
    "Those are the roots": lambda *a: torch.tensor(table(*a)) ** 0.5,
    "You left s out": lambda T, s, m: table(T, 0.0, m),
    "You wrote 0.008 for s": lambda T, s, m: table(T, 0.008, m),
    "You wrote 0.999 for max_beta": lambda T, s, m: table(T, s, 0.999),
    "One entry is missing": lambda *a: table(*a)[1:],
    "Not yet: the shape is right": lambda *a: torch.ones(a[0] + 1),
    "the shape should be (1001,)": lambda *a: 1.0,
    "Not tried yet": lambda *a: ...,
    "stopped with KeyError": lambda *a: {}[0],
}


def eps(x0, x, signal, noise):
    return (x - signal * x0) / noise


V = {
    "Correct. In short": lambda x0, x, a, b: (a * x - x0) / b,
    "The sign is swapped": lambda x0, x, a, b: b * x0 - a * eps(x0, x, a, b),
    "That is eps": eps,
    "You put x where eps belongs": lambda x0, x, a, b: a * x - b * x0,
    "A plus should be a minus": lambda x0, x, a, b: b * x0 + a * eps(x0, x, a, b),
    "signal and noise are swapped": lambda x0, x, a, b: b * eps(x0, x, a, b) - a * x0,
    "divide by noise before": lambda x0, x, a, b: a * (x - a * x0) - b * x0,
    "Nearly": lambda x0, x, a, b: a * x - x0,
    "you divided by signal": lambda x0, x, a, b: x - a * x0 - b * x0,
    "Not yet": lambda x0, x, a, b: x,
    "Not tried yet": lambda *a: None,
}

X0 = {
    "Correct. An error of v": lambda v, x, a, b: a * x - b * v,
    "You turned on": lambda v, x, a, b: a * x + b * v,
    "That is eps": lambda v, x, a, b: b * x + a * v,
    "the formula for an eps-model": lambda v, x, a, b: (x - b * v) / a,
    "signal and noise are swapped": lambda v, x, a, b: b * x - a * v,
    "The sign is swapped": lambda v, x, a, b: b * v - a * x,
    "but you divide by it": lambda v, x, a, b: (x - b * (b * x + a * v)) / a,
    "Divide by nothing": lambda v, x, a, b: (a * x - b * v) / a,
    "Not yet": lambda v, x, a, b: v,
    "Not tried yet": lambda *a: ...,
}

ANSWERS = {"cosine_alpha_bar": ALPHA_BAR, "v_from_x0": V, "x0_from_v": X0}
CASES = [(checker, words, answer) for checker, cases in ANSWERS.items() for words, answer in cases.items()]


@pytest.mark.parametrize("checker, words, answer", CASES, ids=[f"{c}-{w[:24]}" for c, w, _ in CASES])
def test_each_answer_gets_its_sentence(checker, words, answer, capsys):
    verdict = getattr(lesson04, checker)(answer)
    said = capsys.readouterr().out
    assert words in said and said.count("\n") == 1
    assert verdict is (True if words.startswith("Correct") else None if words.startswith("Not tried") else False)


def test_every_checker_is_tried():
    assert set(ANSWERS) == set(lesson04.__all__)


def test_the_right_answers_are_the_packages():
    s, t = schedules.cosine(), torch.tensor([1, 400, 1000])
    x0, e = torch.randn(2, 3, 1, 4, 4, generator=torch.Generator().manual_seed(0)).unbind()
    x, v = process.q_sample(x0, t, e, s), process.target("v", x0, t, e, s)
    a, b = process.at(s.signal, t, x), process.at(s.noise, t, x)
    torch.testing.assert_close(X0["Correct. An error of v"](v, x, a, b), process.from_v(v, x, t, s).x0)
    torch.testing.assert_close(V["Correct. In short"](x0, x, a, b), v, rtol=1e-3, atol=1e-4)
