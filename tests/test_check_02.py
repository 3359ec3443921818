"""The checkers of lesson 02 tell right from wrong, and name the likely mistake."""

import math

import pytest
import torch

from diffusion101.check import lesson02
from diffusion101.check.lesson02 import new_parameters, noise_level, shift

UNTRIED = "Not tried yet: replace the ... and run the cell again."


def said(capsys: pytest.CaptureFixture[str]) -> str:
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1, lines
    return lines[0]


@pytest.mark.parametrize("name", lesson02.__all__)
def test_untried_and_stopped(name, capsys):
    check = getattr(lesson02, name)
    for nothing in (..., None):
        assert check(lambda *inputs: nothing) is None  # noqa: B023
        assert said(capsys) == UNTRIED
    assert check(lambda *inputs: {}["t"]) is False
    assert said(capsys) == "Your function stopped with KeyError: 't'"


def turned(k_times=1.0, power=lambda i, h: -i / h, base=10000.0, pairs="halves", back="halves"):
    def answer(e, k):
        i, h = torch.arange(e.shape[1] // 2), e.shape[1] // 2
        angle = k * k_times * base ** torch.as_tensor(power(i, h))
        cos, sin = (e[:, :h], e[:, h:]) if pairs == "halves" else (e[:, 0::2], e[:, 1::2])
        cos, sin = cos * angle.cos() - sin * angle.sin(), sin * angle.cos() + cos * angle.sin()
        if back == "swapped":
            return torch.cat([sin, cos], 1)
        return torch.cat([cos, sin], 1) if back == "halves" else torch.stack([cos, sin], 2).flatten(1)

    return answer


def slipped(first, second):
    def answer(e, k):
        h = e.shape[1] // 2
        angle = k * 10000 ** (-torch.arange(h) / h)
        cos, sin = e[:, :h], e[:, h:]
        first_half = cos * angle.cos() - first * sin * angle.sin()
        return torch.cat([first_half, sin * angle.cos() + second * cos * angle.sin()], 1)

    return answer


def in_place(right):
    return lambda e, k: e.copy_(right(e, k))


SHIFTS = [
    (turned(), True, "Correct: t + k is a rotation"),
    (turned(-1), False, "the wrong way"),
    (turned(math.pi / 180), False, "in degrees"),
    (turned(base=math.e), False, "1/e"),
    (turned(power=lambda i, h: i / h), False, "frequencies grow"),
    (turned(power=lambda i, h: -i / (2 * h)), False, "half the width"),
    (turned(power=lambda i, h: -i // h + (i > 0)), False, "whole-number division"),
    (turned(power=lambda i, h: -i / (h - 1)), False, "not by h - 1"),
    (turned(power=lambda i, h: -i / 64), False, "a width of 128"),
    (lambda e, k: turned()(e, k).chunk(2, 1)[0].repeat(1, 2), False, "the values are not"),
    (slipped(-1, 1), False, "and sin(a + b) has a plus"),
    (slipped(1, -1), False, "sin a cos b + cos a sin b"),
    (in_place(turned()), True, "Correct"),
    (turned(pairs="columns", back="columns"), False, "neighbouring columns"),
    (turned(back="columns"), False, "their order is not"),
    (turned(back="swapped"), False, "halves are swapped"),
    (lambda e, k: e + k, False, "Adding k"),
    (lambda e, k: e + lesson02.sinusoidal(torch.tensor([k]), e.shape[1]), False, "angles add up"),
    (lambda e, k: e, False, "the shape is right, the values are not"),
    (lambda e, k: e[0], False, "the shape should be (3, 16)"),
]


@pytest.mark.parametrize("yours, verdict, sentence", SHIFTS)
def test_shift(yours, verdict, sentence, capsys):
    assert shift(yours) is verdict
    assert sentence in said(capsys)


def across(x):
    return (x[..., 1:] - x[..., :-1]).flatten(1)


def down(x):
    return (x[..., 1:, :] - x[..., :-1, :]).flatten(1)


def diagonal(x):
    return (x[..., 1:, 1:] - x[..., :-1, :-1]).flatten(1)


def middle(d):
    return d.abs().median(1).values


NOISES = [
    (lambda x: middle(across(x)) / 0.6745 / 2**0.5, True, "Correct: within"),
    (lambda x: middle(torch.cat([across(x), down(x)], 1)) / 0.6745 / 2**0.5, True, "Correct: within"),
    (lambda x: middle(diagonal(x)) / 0.6745 / 2**0.5, True, "Correct: within"),
    (lambda x: x[:, 0, 0].std(1), True, "Correct: within"),
    (lambda x: middle(across(x)), False, "0.954"),
    (lambda x: (across(x).abs().median() / 0.6745 / 2**0.5).expand(len(x)), False, "its own median, not one for all"),
    (lambda x: torch.ones(len(x), dtype=torch.int64), False, "Not yet: at t = 20"),
    (lambda x: x.flatten(1).std(1), False, "the spread of the whole picture"),
    (lambda x: down(x).std(1) / 2**0.5, False, "a median does not"),
    (lambda x: down(x).square().mean(1).sqrt(), False, "and a √2"),
    (lambda x: middle(down(x)) / 0.6745, False, "Too much by √2"),
    (lambda x: middle(down(x)) / 2**0.5, False, "Too little by a third"),
    (lambda x: middle(down(x)) / 0.6745 / 2, False, "times (not 2) the noise"),
    (lambda x: (middle(down(x)) / 0.6745 / 2**0.5) ** 2, False, "the variance"),
    (lambda x: x.std(), False, "one number per picture is wanted, so the shape should be (50,), yours is ()"),
    (lambda x: torch.ones(len(x)), False, "Not yet: at t = 20, 50, 200, 500"),
]


@pytest.mark.parametrize("yours, verdict, sentence", NOISES)
def test_noise_level(yours, verdict, sentence, capsys):
    assert noise_level(yours) is verdict
    assert sentence in said(capsys)


COUNTS = [
    (lambda w, t, b: 2 * t * (t + 1) + 4 * b * (t + 1) * w, True, "Correct"),
    (lambda w, t, b: 2 * t * t + 4 * b * t * w, False, "a linear layer from a to b"),
    (lambda w, t, b: 2 * t * (t + 1) + 4 * b * t * w, False, "biases of the blocks"),
    (lambda w, t, b: 2 * t * (t + 1) + 2 * b * (t + 1) * w, False, "Half is missing"),
    (lambda w, t, b: 2 * t * (t + 1) + b * (t + 1) * w, False, "A quarter is there"),
    (lambda w, t, b: 2 * t * (t + 1) + 2 * (t + 1) * w, False, "One projection is not enough"),
    (lambda w, t, b: 2 * t * (t + 1), False, "The blocks have parts in it too"),
    (lambda w, t, b: 4 * b * (t + 1) * w, False, "You forgot the MLP"),
    (lambda w, t, b: t * (t + 1) + 4 * b * (t + 1) * w, False, "two linear layers, not one"),
    (lambda w, t, b: 2 * t * (t + 1) + 4 * b * (t + 1) * w + t // 2, False, "fixed, not learned"),
    (lambda w, t, b: w * t, False, "The first wrong one should be 41280, yours is 2048"),
]


@pytest.mark.parametrize("yours, verdict, sentence", COUNTS)
def test_new_parameters(yours, verdict, sentence, capsys):
    assert new_parameters(yours) is verdict
    assert sentence in said(capsys)
