"""Lesson 09: steps of DDIM and of DPM-Solver++(2M), without and with fresh noise; how fast an error falls."""

import math

from torch import Tensor

from ..core.schedules import Schedule, cosine, linear
from .exercise import exercise, normal

__all__ = ["ddim_step", "order", "sde_step", "second_order_step"]


def three(*others: tuple) -> list[tuple]:
    """Three pictures' worth of numbers (2, 1, 4, 4), the same in every case, and what else each case needs."""
    return [(*(normal(2, 1, 4, 4, seed=seed) for seed in range(3)), *rest) for rest in others]


@exercise(
    cases=lambda: three(
        (900, 600, 0.5, cosine()), (500, 499, 1.0, linear()), (300, 100, 0.0, cosine()), (40, 0, 0.7, linear())
    ),
    done="Correct: eta = 0 is DDIM, and eta = 1 is lesson 01's way back.",
    mistakes={
        "The root holds variances: noise_r² minus sigma², and you subtracted sigma.": dict(under="sigma"),
        "Amplitudes do not subtract: it is the root of noise_r² - sigma².": dict(under="amplitudes"),
        "noise_r² - sigma² is a variance: eps is multiplied by its root.": dict(under="no root"),
        "Too much noise: the variance of sigma z must be taken away from that of eps.": dict(under="all"),
        "The fresh noise sigma z is missing.": dict(fresh=0),
        "z is multiplied by sigma, and you multiplied it by sigma².": dict(fresh=2),
        "x0 is multiplied by the signal at t; you want to be at r.": dict(signal="t"),
        "x0 is multiplied by alpha_bar: the signal is its root.": dict(signal="squared"),
        "eps is weighted as at t; you want to be at r.": dict(noise="t"),
        "You ignored eta: it is a factor of sigma.": dict(sigma="1"),
        "You took eta itself for sigma.": dict(sigma="eta"),
        "eta is a factor of sigma, not of its square.": dict(sigma="root eta"),
        "The 1 - alpha_bar_t / alpha_bar_r in sigma lacks its root.": dict(sigma="no root"),
        "The fraction noise_r / noise_t in sigma is upside down.": dict(sigma="turned"),
        "The fraction noise_r / noise_t in sigma is missing.": dict(sigma="alone"),
        "eps and z have changed places.": dict(swap=True),
        "The part of eps is missing: only x0 and fresh noise are left.": dict(under="none"),
    },
)
def ddim_step(
    x0: Tensor,
    eps: Tensor,
    z: Tensor,
    t: int,
    r: int,
    eta: float,
    s: Schedule,
    under="",
    fresh=1,
    signal="r",
    noise="r",
    sigma="",
    swap=False,
) -> Tensor:
    """ddim_step(x0, eps, z, t, r, eta, s): x_r from the guesses at t; z is the fresh noise."""
    a_t, a_r = s.exact[t].item(), s.exact[r].item()
    part, ratio = (1 - a_t / a_r) ** 0.5, ((1 - a_r) / (1 - a_t)) ** 0.5
    size = {"1": ratio * part, "eta": eta, "root eta": eta**0.5 * ratio * part, "no root": eta * ratio * part**2}
    size |= {"alone": eta * part, "turned": eta * part / ratio if ratio else math.inf}
    size = size.get(sigma, eta * ratio * part)
    of_x0 = {"r": a_r**0.5, "t": a_t**0.5, "squared": a_r}[signal]
    amplitude = (1 - (a_r if noise == "r" else a_t)) ** 0.5
    left = {"sigma": amplitude**2 - size, "amplitudes": (amplitude - size) ** 2, "all": amplitude**2, "none": 0.0}
    left = left.get(under, amplitude**2 - size**2)
    of_eps = left if under == "no root" else left**0.5 if left > 0 else 0.0 if left > -1e-12 else math.nan
    if swap:
        eps, z = z, eps
    return of_x0 * x0 + of_eps * eps + (size**fresh if fresh else 0.0) * z


@exercise(
    cases=lambda: three((900, 600, 400, cosine()), (400, 350, 30, linear()), (120, 50, 10, cosine())),
    done="Correct: that is DPM-Solver++(2M), all but its first and last step.",
    mistakes={
        "That is DDIM's step: the guess is held constant, and the one before is not used.": dict(lean="none"),
        "Half of h: the line is followed to the middle of the step, not to its end.": dict(lean="whole"),
        "The line leans the wrong way: the difference is x0 minus the guess before it.": dict(lean="back"),
        "The fraction is upside down: h over the length of the step before.": dict(lean="turned"),
        "The steps' lengths are missing: divide h by the length of the step before.": dict(lean="half"),
        "Measure both steps in lam, not in t.": dict(lean="t"),
        "You continued the line from the guess before; it starts at x0.": dict(start="before"),
        "lam is log(signal / noise); the logarithm of the SNR is twice that.": dict(lam=2),
        "lam is log(signal / noise), and the exponent is -h: one of the two has the wrong sign.": dict(lam=-1),
        "The weight of the guess has the wrong sign: 1 - exp(-h), not exp(-h) - 1.": dict(weight="sign"),
        "1 - exp(-h), not h: that is true of short steps only.": dict(weight="h"),
        "The guess is multiplied by the signal at r, where you arrive, not at t.": dict(weight="t"),
        "The signal at r is missing before 1 - exp(-h).": dict(weight="bare"),
        "The noise shrinks from t to r: x is multiplied by noise_r / noise_t, not the other way round.": dict(of_x=-1),
        "x needs the factor noise_r / noise_t.": dict(of_x=0),
    },
)
def second_order_step(
    x: Tensor,
    x0: Tensor,
    x0_before: Tensor,
    before: int,
    t: int,
    r: int,
    s: Schedule,
    lean="",
    start="x0",
    lam=1,
    weight="",
    of_x=1,
) -> Tensor:
    """second_order_step(x, x0, x0_before, before, t, r, s): x_r; the guess x0_before was made at the time before t."""
    signal, noise = s.exact.sqrt(), (1 - s.exact).sqrt()

    def place(time: int) -> float:
        return lam * math.log(signal[time] / noise[time])

    h, h_before = place(r) - place(t), place(t) - place(before)
    leans = {"none": 0.0, "whole": h / h_before, "back": -h / h_before / 2, "turned": h_before / h / 2, "half": 0.5}
    share = (leans | {"t": (t - r) / (before - t) / 2}).get(lean, h / h_before / 2)
    guess = (x0 if start == "x0" else x0_before) + share * (x0 - x0_before)
    weights = {"sign": math.expm1(-h), "h": h}
    of_guess = weights.get(weight, -math.expm1(-h)) * {"t": signal[t], "bare": 1.0}.get(weight, signal[r])
    return (noise[r] / noise[t]).item() ** of_x * x + float(of_guess) * guess


@exercise(
    cases=lambda: [(10, 0.08, 20, 0.04), (5, 0.3, 20, 0.01), (8, 0.5, 40, 0.02)],
    done="Correct: 1 if the error halves with twice the steps, 2 if it falls to a quarter.",
    mistakes={
        "That is how many times smaller the error gets: take the logarithm.": lambda n, e, m, f: e / f,
        "Right if the steps double; in general divide by the logarithm of m / n.": lambda n, e, m, f: math.log2(e / f),
        "Divide by the logarithm of m / n: how much more was spent?": lambda n, e, m, f: math.log(e / f),
        "Errors fall by factors: divide logarithms, not the numbers themselves.": lambda n, e, m, f: (e / f) / (m / n),
        "That is a straight line's slope: take logarithms of both, errors and steps.": lambda n, e, m, f: (
            (e - f) / (m - n)
        ),
        "The logarithms of the steps, too: m / n, not m - n.": lambda n, e, m, f: math.log(e / f) / (m - n),
    },
)
def order(n: int, error_n: float, m: int, error_m: float) -> float:
    """order(n, error_n, m, error_m): the p of error = constant / steps**p, from the errors of n and of m steps."""
    return math.log(error_n / error_m) / math.log(m / n)


@exercise(
    cases=lambda: three((900, 600, 0.5, cosine()), (500, 350, 1.0, linear()), (300, 100, 0.0, cosine())),
    done="Correct: eta = 0 is DPM-Solver++(2M), and eta = 1 is SDE-DPM-Solver++(2M).",
    mistakes={
        "x is not noise alone: take signal_t times the guess out of it first.": dict(clean=0),
        "Take the guess out of x as much as x holds of it: signal_t times.": dict(clean=1),
        "x stands at t: what it holds of the guess is signal_t times it, not signal_r.": dict(clean="r"),
        "What is left of x without the guess is noise_t times eps: divide by noise_t.": dict(noise=1),
        "What is left of x without the guess is noise_t times eps, not noise_r.": dict(noise="r"),
        "The fresh noise sigma z is missing.": dict(fresh=0),
        "Too much noise: the variance of sigma z must be taken away from that of eps.": dict(under="all"),
        "You ignored eta: it is a factor of sigma.": dict(sigma="1"),
        "eps and z have changed places.": dict(swap=True),
    },
)
def sde_step(
    x: Tensor, guess: Tensor, z: Tensor, t: int, r: int, eta: float, s: Schedule, clean="t", noise="t", **slip
) -> Tensor:
    """sde_step(x, guess, z, t, r, eta, s): x_r from x at t and the solver's guess of x0; z is the fresh noise."""
    signals, noises = ({"t": table[t].item(), "r": table[r].item()} for table in (s.signal, s.noise))
    eps = (x - signals.get(clean, clean) * guess) / noises.get(noise, noise)
    return ddim_step.right(guess, eps, z, t, r, eta, s, **slip)
