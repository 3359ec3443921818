"""The page of notations: EDM's sigma from alpha_bar, and flow matching's velocity from eps."""

import torch
from torch import Tensor

from ..core.schedules import cosine, linear
from .exercise import exercise, normal

__all__ = ["sigma", "velocity"]


@exercise(
    cases=lambda: [(s.alpha_bar[1:1000:37],) for s in (cosine(), linear())],
    done="Correct: 0 for clean data, and no largest value; the cosine schedule ends at about 20,000.",
    mistakes={
        "That is sigma², a ratio of powers: take the root.": lambda a: (1 - a) / a,
        "Upside down: that is signal / noise, and sigma grows with the noise.": lambda a: (a / (1 - a)).sqrt(),
        "That is snr, lesson 01's ratio of powers: turn it over and take the root.": lambda a: a / (1 - a),
        "That is our noise, beside a shrunken x0. EDM's x0 keeps its size: divide by signal.": lambda a: (1 - a).sqrt(),
        "That is our noise squared, and it stands beside a shrunken x0: take the root, divide by signal.": lambda a: (
            1 - a
        ),
        "That is 1 / signal, the factor from our x to EDM's: noise comes with it.": lambda a: 1 / a.sqrt(),
        "The numerator lacks its root: noise is the root of 1 - alpha_bar.": lambda a: (1 - a) / a.sqrt(),
        "The denominator lacks its root: signal is the root of alpha_bar.": lambda a: (1 - a).sqrt() / a,
        "You took alpha_bar for the signal: it is the signal's square.": lambda a: (1 - a * a).sqrt() / a,
        "The root of 1 / alpha_bar - 1 was meant, not the root minus 1.": lambda a: 1 / a.sqrt() - 1,
        "That is c_noise, what EDM tells its network: sigma comes before the logarithm.": (
            lambda a: ((1 - a) / a).log() / 8
        ),
        "That is the logarithm of sigma.": lambda a: ((1 - a) / a).log() / 2,
        "That is 1 - tau of flow matching: divide by signal alone.": (
            lambda a: (1 - a).sqrt() / (a.sqrt() + (1 - a).sqrt())
        ),
        "That is the angle whose tangent sigma is.": lambda a: a.sqrt().acos(),
    },
)
def sigma(alpha_bar: Tensor) -> Tensor:
    """sigma(alpha_bar): EDM's noise level, both (N,)."""
    return ((1 - alpha_bar) / alpha_bar).sqrt()


def _case(seed: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    t = torch.tensor([30, 480, 850])
    table = cosine() if seed else linear()
    signal, noise = (values[t].view(3, 1, 1, 1) for values in (table.signal, table.noise))
    return normal(3, 1, 4, 4, seed=seed), normal(3, 1, 4, 4, seed=seed + 7), signal, noise


@exercise(
    cases=lambda: [_case(0), _case(1)],
    done="Correct: two guesses that you had already, one minus the other.",
    mistakes={
        "Turned over, from data to noise: here data is at time 1, so it is x0 minus eps.": dict(minus=-1),
        "x0 plus eps is no speed: the line runs from eps to x0.": dict(plus=True),
        "That is the guess of x0, where the line ends: subtract eps, where it begins.": dict(start=0),
        "x is a mixture, not x0: take noise eps out of it and divide by signal.": dict(end="x"),
        "x - noise eps is signal times x0: divide by signal.": dict(end="undivided"),
        "In the guess of x0 you took eps out whole: there is only noise times eps in x.": dict(end="whole"),
        "In the guess of x0 you forgot to take noise eps out of x.": dict(end="not out"),
        "In the guess of x0 you added noise eps: take it out.": dict(end="added"),
        "In the guess of x0 you divided by noise: what stands before x0 is signal.": dict(end="by noise"),
        "signal and noise are swapped: at t = 0, where x is x0, signal is 1.": dict(end="swapped"),
        "That is v of lesson 04, the speed along the circle: the straight line has x0 - eps.": dict(speed="v"),
        "(y - eps) / tau is right for flow matching's y: that is x / (signal + noise), and you put in x.": (
            dict(speed="x for y")
        ),
        "x is divided by signal + noise on the way to y, but x0 and eps keep their size, and so their difference.": (
            dict(speed="scaled")
        ),
        "You subtracted noise eps, the noise as it is in x: the line begins at eps itself.": dict(speed="noise eps"),
    },
)
def velocity(
    eps: Tensor, x: Tensor, signal: Tensor, noise: Tensor, end="", speed="", start=1.0, minus=1, plus=False
) -> Tensor:
    """velocity(eps, x, signal, noise): flow matching's velocity, all (B, C, H, W) or (B, 1, 1, 1)."""
    rest = x - noise * eps
    ends = {"x": x, "undivided": rest, "whole": (x - eps) / signal, "not out": x / signal, "by noise": rest / noise}
    ends |= {"added": (x + noise * eps) / signal, "swapped": (x - signal * eps) / noise}
    x0 = ends.get(end, rest / signal)
    speeds = {"v": signal * eps - noise * x0, "x for y": (x - eps) * (signal + noise) / signal}
    speeds |= {"scaled": (x0 - eps) / (signal + noise), "noise eps": x0 - noise * eps}
    return minus * speeds.get(speed, x0 + eps if plus else x0 - start * eps)
