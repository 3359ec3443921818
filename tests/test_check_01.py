"""The checkers of lesson 01 tell right from wrong, and name the likely mistake."""

import pytest

from diffusion101.check import lesson01
from diffusion101.check.lesson01 import jump, reverse_step, snr

UNTRIED = "Not tried yet: replace the ... and run the cell again."


def said(capsys: pytest.CaptureFixture[str]) -> str:
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1, lines
    return lines[0]


@pytest.mark.parametrize("name", lesson01.__all__)
def test_untried_and_stopped(name, capsys):
    check = getattr(lesson01, name)
    for nothing in (..., None):
        assert check(lambda *inputs: nothing) is None  # noqa: B023
        assert said(capsys) == UNTRIED
    assert check(lambda *inputs: {}["t"]) is False
    assert said(capsys) == "Your function stopped with KeyError: 't'"


SNRS = [
    (lambda t, s: s.alpha_bar[t] / (1 - s.alpha_bar[t]), True, "Correct"),
    (lambda t, s: (s.signal[t] / s.noise[t]) ** 2, True, "Correct"),
    (lambda t, s: s.signal[t] / s.noise[t], False, "ratio of amplitudes; signal-to-noise is a ratio of powers"),
    (lambda t, s: (1 - s.alpha_bar[t]) / s.alpha_bar[t], False, "That is noise to signal: turn"),
    (lambda t, s: s.noise[t] / s.signal[t], False, "noise to signal, and of amplitudes"),
    (lambda t, s: s.alpha_bar[t], False, "the signal's power alone"),
    (lambda t, s: s.alpha_bar[t] / s.noise[t], False, "by the noise's amplitude"),
    (lambda t, s: s.signal[t] / s.noise[t] ** 2, False, "by the noise's power"),
    (lambda t, s: 2 * (s.signal[t] / s.noise[t]).log(), False, "its logarithm"),
    (lambda t, s: s.snr[t].log10(), False, "to base 10"),
    (lambda t, s: 10 * s.snr[t].log10(), False, "in decibels"),
    (lambda t, s: s.snr[t - 1], False, "off by one"),
    (lambda t, s: s.beta[t], False, "The first wrong one should be 9999, yours is 0.0001, 1e-08 times it"),
    (lambda t, s: "9999", False, "your function returned a str; a tensor or numbers are wanted"),
    (lambda t, s: {"snr": s.snr[t]}, False, "returned a dict"),
    (lambda t, s: (s.snr[i] for i in t), False, "returned a generator"),
    (lambda t, s: s.snr, False, "the shape should be (4,)"),
]


@pytest.mark.parametrize("yours, verdict, sentence", SNRS)
def test_snr(yours, verdict, sentence, capsys):
    assert snr(yours) is verdict
    assert sentence in said(capsys)


def jumped(picture: float = 0.5, noise: float = 0.5, start=lambda r, t: (r, t)):
    def answer(x, r, t, eps, s):
        r, t = start(r, t)
        ratio = s.alpha_bar[t] / s.alpha_bar[r]
        return ratio**picture * x + (1 - ratio).abs() ** noise * eps

    return answer


JUMPS = [
    (jumped(), True, "Correct, and with r = 0"),
    (jumped(noise=1), False, "Your variance is noise², did you mean noise?"),
    (jumped(picture=1), False, "x needs the root"),
    (jumped(picture=1, noise=1), False, "Neither has its root"),
    (jumped(start=lambda r, t: (0, t)), False, "the jump from x_0"),
    (lambda x, r, t, eps, s: s.signal[t] / s.signal[r] * x + s.noise[t] * eps, False, "the noise is too much"),
    (
        lambda x, r, t, eps, s: s.signal[t] / s.signal[r] * x + (s.noise[t] - s.noise[r]) * eps,
        False,
        "amplitudes do not subtract",
    ),
    (
        lambda x, r, t, eps, s: s.signal[t] / s.signal[r] * x + (s.noise[t] ** 2 - s.noise[r] ** 2) ** 0.5 * eps,
        False,
        "you subtracted the variances",
    ),
    (jumped(start=lambda r, t: (0, t - r)), False, "does not depend on t - r alone"),
    (lambda x, r, t, eps, s: jumped()(x, r, t, -eps, s), False, "Plus, not minus"),
    (lambda x, r, t, eps, s: x.copy_(jumped()(x, r, t, eps, s)), True, "Correct"),
    (jumped(start=lambda r, t: (r, r + 1)), False, "goes on to t"),
    (jumped(start=lambda r, t: (t - 1, t)), False, "starts at r"),
    (jumped(start=lambda r, t: (t, r)), False, "from t to r"),
    (lambda x, r, t, eps, s: x, False, "the values are not"),
    (lambda x, r, t, eps, s: x[0], False, "the shape should be (3, 1, 4, 4)"),
]


@pytest.mark.parametrize("yours, verdict, sentence", JUMPS)
def test_jump(yours, verdict, sentence, capsys):
    assert jump(yours) is verdict
    assert sentence in said(capsys)


def stepped(front=lambda t, s: (1 - s.beta[t]) ** 0.5, part=lambda t, s: s.beta[t] / s.noise[t], sigma=None):
    def posterior(t, s):
        return (s.beta[t] * (1 - s.alpha_bar[t - 1]) / (1 - s.alpha_bar[t])) ** 0.5

    def answer(x, eps, t, z, s):
        return (x - part(t, s) * eps) / front(t, s) + (sigma or posterior)(t, s) * z

    return answer


def from_x0(x, eps, t, z, s):
    return (x - s.noise[t] * eps) / s.signal[t] + (s.beta[t] * (s.noise[t - 1] / s.noise[t]) ** 2) ** 0.5 * z


def with_x0(x, eps, t, z, s):
    return stepped()(x, (x - s.noise[t] * eps) / s.signal[t], t, z, s)


STEPS = [
    (stepped(), True, "Correct"),
    (stepped(sigma=lambda t, s: s.beta[t] * (s.noise[t - 1] / s.noise[t]) ** 2), False, "z is multiplied by sigma"),
    (stepped(sigma=lambda t, s: s.beta[t] ** 0.5), False, "the paper's other choice"),
    (stepped(sigma=lambda t, s: 0), False, "sigma z is missing"),
    (from_x0, False, "the guess of x0 plus noise"),
    (stepped(front=lambda t, s: s.signal[t]), False, "not all t of them"),
    (stepped(front=lambda t, s: 1 - s.beta[t]), False, "lacks its root"),
    (stepped(part=lambda t, s: -s.beta[t] / s.noise[t]), False, "Minus, not plus"),
    (stepped(sigma=lambda t, s: s.beta[t] ** 0.5 * s.noise[t] / s.noise[t - 1]), False, "upside down"),
    (with_x0, False, "guess of x0: it is eps"),
    (lambda x, eps, t, z, s: x.copy_(stepped()(x, eps, t, z, s)), True, "Correct"),
    (stepped(front=lambda t, s: 1), False, "forgot the fraction in front"),
    (stepped(part=lambda t, s: s.beta[t] / s.noise[t] ** 2), False, "not by 1 - alpha_bar_t"),
    (stepped(part=lambda t, s: s.noise[t]), False, "all of the noise"),
    (stepped(part=lambda t, s: s.beta[t]), False, "is not enough"),
    (lambda x, eps, t, z, s: x, False, "the values are not"),
    (lambda x, eps, t, z, s: x[0], False, "the shape should be (2, 1, 4, 4)"),
]


@pytest.mark.parametrize("yours, verdict, sentence", STEPS)
def test_reverse_step(yours, verdict, sentence, capsys):
    assert reverse_step(yours) is verdict
    assert sentence in said(capsys)
