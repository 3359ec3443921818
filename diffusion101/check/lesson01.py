"""Lessons 01 and 01b: noising, the loss, the guess of x0, one step back; signal against noise, a jump, two bells."""

from collections.abc import Callable

import torch
from torch import Tensor

from ..core import schedules
from ..core.process import at
from ..core.schedules import Schedule
from .exercise import exercise, normal

__all__ = ["jump", "loss", "product", "q_sample", "reverse_step", "snr", "x0_guess"]


def _batch(seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Pictures, a time for each, noise. Four pictures of side four, so that a forgotten view is recognised."""
    return normal(4, 1, 4, 4, seed=seed), torch.tensor([1, 60, 500, 1000]), normal(4, 1, 4, 4, seed=seed + 1)


@exercise(
    cases=lambda: [(*_batch(), s) for s in (schedules.linear(), schedules.cosine())],
    done="Correct: one line makes any x_t. It is process.q_sample.",
    mistakes={
        "alpha_bar_t is the picture's share of the variance: x0 is multiplied by its root, signal_t.": dict(picture=2),
        "1 - alpha_bar_t is the noise's variance: eps is multiplied by its root, noise_t.": dict(noise=2),
        "You left x0 as it is: the picture fades while the noise grows.": dict(picture=0),
        "You added all of eps, whatever t: multiply it by noise_t.": dict(noise=0),
        "signal_t and noise_t have changed places.": dict(way="swapped"),
        "The squares of signal_t and noise_t sum to 1, not the numbers: noise_t is not 1 - signal_t.": dict(way="1 -"),
        "Plus, not minus: noise is added (its sign matters to nobody but this check).": dict(way="minus"),
        "That is one step of noising; from x0 to x_t there are t of them.": dict(way="one step"),
        "You noised all pictures to the first one's t: each has its own.": dict(way="first"),
        "That is off by one: t = 0 is clean data, so x_t belongs to index t, not t - 1.": dict(back=1),
        "signal[t] is (B,), a number for each picture: give it the shape (B, 1, 1, 1) by .view(-1, 1, 1, 1).": (
            lambda x0, t, eps, s: s.signal[t] * x0 + s.noise[t] * eps
        ),
    },
)
def q_sample(x0: Tensor, t: Tensor, eps: Tensor, s: Schedule, picture=1, noise=1, way="", back=0) -> Tensor:
    """q_sample(x0, t, eps, s): x_t from clean pictures x0 (B, 1, H, W), times t (B,) and noise eps like x0."""
    t = t[:1].expand(len(t)) if way == "first" else t - back
    of_x0, of_eps = s.signal[t], s.noise[t]
    ways = {"swapped": (of_eps, of_x0), "1 -": (of_x0, 1 - of_x0), "minus": (of_x0, -of_eps)}
    ways["one step"] = (1 - s.beta[t]).sqrt(), s.beta[t].sqrt()
    of_x0, of_eps = (weight.view(-1, 1, 1, 1) for weight in ways.get(way, (of_x0, of_eps)))
    return of_x0**picture * x0 + of_eps**noise * eps


def _network(x: Tensor, t: Tensor) -> Tensor:
    return torch.tanh(x.roll(1, -1)) + t.view(-1, 1, 1, 1) / 700


@exercise(
    cases=lambda: [(_network, *_batch(seed), schedules.linear()) for seed in (0, 2)],
    done="Correct: that is the whole loss, Denoiser.loss.",
    mistakes={
        "You compared with x0; the network is asked for eps.": dict(wanted="x0"),
        "You compared with x; the network is asked for the eps that is in x.": dict(wanted="x"),
        "You showed the network x0; it sees x_t only.": dict(shown="x0"),
        "You showed the network eps, which it has to guess; it sees x_t only.": dict(shown="eps"),
        "The network is told t, not t - 1.": dict(back=1),
        "That is the sum; take the mean, so that the batch size does not matter.": dict(over=torch.sum),
        "That is the mean of the absolute differences: square them.": dict(power=1),
        "The differences are not squared, so errors up and down cancel.": dict(power=None),
    },
)
def loss(
    network: Callable,
    x0: Tensor,
    t: Tensor,
    eps: Tensor,
    s: Schedule,
    wanted="",
    shown="",
    back=0,
    over=torch.mean,
    power: int | None = 2,
) -> Tensor:
    """loss(network, x0, t, eps, s): the mean square error of network(x_t, t), a guess of eps; one number."""
    x = at(s.signal, t, x0) * x0 + at(s.noise, t, x0) * eps
    answer = network({"x0": x0, "eps": eps}.get(shown, x), t - back)
    off = answer - {"x0": x0, "x": x}.get(wanted, eps)
    return over(off if power is None else off.abs() ** power)


@exercise(
    cases=lambda: [(*_batch(), schedules.linear())],
    done="Correct: who knows x and eps knows x0.",
    mistakes={
        "Minus, not plus: the noise goes out.": dict(sign=1),
        "What is left is signal_t x0: divide by signal_t.": dict(below=0),
        "Divide by signal_t, not by alpha_bar_t, which is its square.": dict(below=2),
        "You multiplied by signal_t: divide.": dict(below=-1),
        "eps is multiplied by noise_t, not by 1 - alpha_bar_t, which is its square.": dict(noise=2),
        "You took out all of eps; there is noise_t times eps in x.": dict(noise=0),
        "All of it is divided by signal_t, the noise too: set brackets.": dict(brackets=False),
        "signal_t and noise_t have changed places.": dict(swapped=True),
        "That is off by one: x_t belongs to index t, not t - 1.": dict(back=1),
    },
)
def x0_guess(
    x: Tensor, t: Tensor, eps: Tensor, s: Schedule, sign=-1, noise=1, below=1, brackets=True, swapped=False, back=0
) -> Tensor:
    """x0_guess(x, t, eps, s): the x0 in x = x_t (B, 1, H, W) at times t (B,), if its noise is eps."""
    of_x0, of_eps = at(s.signal, t - back, x), at(s.noise, t - back, x)
    of_x0, of_eps = (of_eps, of_x0) if swapped else (of_x0, of_eps)
    out = sign * of_eps**noise * eps
    return (x + out) / of_x0**below if brackets else x / of_x0**below + out


@exercise(
    cases=lambda: [(torch.tensor([10, 250, 500, 1000]), s) for s in (schedules.linear(), schedules.cosine())],
    done="Correct: that is schedule.snr, and all that distinguishes one t from another.",
    mistakes={
        "That is the ratio of amplitudes; signal-to-noise is a ratio of powers: square it.": dict(above=1, below=1),
        "That is noise to signal: turn the fraction over.": dict(above=-2, below=-2),
        "That is noise to signal, and of amplitudes: turn it over and square it.": dict(above=-1, below=-1),
        "You squared what is a power already: alpha_bar and 1 - alpha_bar are.": dict(above=4, below=4),
        "That is the signal's power alone: divide by the noise's.": dict(below=0),
        "That is the noise's power alone: divide the signal's by it.": dict(above=0, below=-2),
        "You divided the signal's power by the noise's amplitude: both belong squared.": dict(below=1),
        "You divided the signal's amplitude by the noise's power: both belong squared.": dict(above=1),
        "By t more noise has come together than beta, the last step's.": lambda t, s: s.alpha_bar[t] / s.beta[t],
        "That is its logarithm: useful later, but here the ratio itself is asked for.": dict(scale=torch.log),
        "That is its logarithm to base 10: here the ratio itself is asked for.": dict(scale=torch.log10),
        "That is in decibels: here the ratio itself is asked for.": dict(scale=lambda snr: 10 * snr.log10()),
        "That is off by one: t = 0 is clean data, so x_t belongs to index t, not t - 1.": dict(back=1),
    },
)
def snr(t: Tensor, s: Schedule, above=2, below=2, back=0, scale=lambda snr: snr) -> Tensor:
    """snr(t, s): from times t (B,) to the signal-to-noise ratio of x_t (B,)."""
    return scale(s.signal[t - back] ** above / s.noise[t - back] ** below)


@exercise(
    cases=lambda: [
        (normal(3, 1, 4, 4), r, t, normal(3, 1, 4, 4, seed=1), schedules.linear())
        for r, t in ((200, 500), (0, 300), (700, 950))
    ],
    done="Correct, and with r = 0 it is q_sample. The samplers use it to skip steps.",
    mistakes={
        "Your variance is noise², did you mean noise: eps is multiplied by the square root.": dict(noise=1),
        "alpha_bar_t / alpha_bar_r is the picture's share of the variance: x needs the root.": dict(picture=1),
        "You left x_r as it is: what was in it fades on the way.": dict(picture=0),
        "That is the jump from x_0, but x is x_r: part of the way lies behind it.": dict(way="from 0"),
        "Noise does not depend on t - r alone: beta grows, so where the jump starts matters, too.": dict(way="t - r"),
        "That is one step, r to r + 1: the jump goes on to t.": dict(way="first"),
        "That is one step, t - 1 to t: the jump starts at r.": dict(way="last"),
        "That starts one step too late: the product runs over r + 1 ... t.": dict(way="late"),
        "That goes from t to r: turn the fraction over.": dict(way="back"),
        "The picture is right, the noise is too much: x_r has some already.": dict(rest="all"),
        "Noise amplitudes do not subtract, variances do; and x_r's own noise fades, too.": dict(rest="amplitudes"),
        "Nearly: you subtracted the variances, but x_r's own noise fades like its picture.": dict(rest="variances"),
        "Plus, not minus: fresh noise is added (its sign matters to nobody but this check).": dict(rest="minus"),
        "x and eps have changed places.": lambda x, r, t, eps, s: jump.right(eps, r, t, x, s),
    },
)
def jump(x: Tensor, r: int, t: int, eps: Tensor, s: Schedule, picture=0.5, noise=0.5, way="", rest="") -> Tensor:
    """jump(x, r, t, eps, s): from x = x_r to x_t with r < t, with fresh noise eps; both (B, ...)."""
    ways = {"from 0": (0, t), "t - r": (0, t - r), "first": (r, r + 1), "last": (t - 1, t), "late": (r + 1, t)}
    r, t = (ways | {"back": (t, r)}).get(way, (r, t))
    share = (s.exact[t] / s.exact[r]).item()  # of x_r's variance that x_t keeps
    right = abs(1 - share) ** noise
    rests = {"all": s.noise[t], "minus": -right, "amplitudes": s.noise[t] - s.noise[r]}
    rests["variances"] = (s.noise[t] ** 2 - s.noise[r] ** 2) ** 0.5
    return share**picture * x + rests.get(rest, right) * eps


@exercise(
    cases=lambda: [
        (normal(2, 1, 4, 4), normal(2, 1, 4, 4, seed=1), t, normal(2, 1, 4, 4, seed=2), schedules.linear())
        for t in (1, 60, 500, 1000)
    ],
    done="Correct: 1000 of these and you have algorithm 2 of the paper.",
    mistakes={
        "Your noise has the variance where its root belongs: z is multiplied by sigma.": dict(sigma="squared"),
        "That is the paper's other choice, sigma² = beta_t (in the package: variance='beta').": dict(sigma="beta"),
        "The mean is right; sigma z is missing.": dict(sigma="none"),
        "Plus sigma z, not minus (its sign matters to nobody but this check).": dict(sigma="minus"),
        "Your sigma² has its fraction upside down: 1 - alpha_bar_(t-1) stands above.": dict(sigma="turned"),
        "sigma z stands behind the bracket: it is not divided by sqrt(1 - beta_t).": dict(sigma="inside"),
        "sigma is missing: you added all of z.": dict(sigma="one"),
        "The fraction in front is 1 / sqrt(1 - beta_t): you undo one step, not all t of them.": dict(front="all"),
        "You forgot the fraction in front: one step had also shrunk x by sqrt(1 - beta_t).": dict(front="none"),
        "The fraction in front lacks its root: 1 / sqrt(1 - beta_t).": dict(front="bare"),
        "You multiplied by sqrt(1 - beta_t), which shrinks x once more: divide.": dict(front="turned"),
        "Minus, not plus: the way back takes noise out.": dict(part="plus"),
        "eps is divided by sqrt(1 - alpha_bar_t), not by 1 - alpha_bar_t.": dict(part="no root"),
        "You took out all of the noise: one step takes out beta_t / sqrt(1 - alpha_bar_t) of eps.": dict(part="all"),
        "beta_t eps is not enough: divide it by sqrt(1 - alpha_bar_t).": dict(part="bare"),
        "You took out a part of the guess of x0: it is eps that has to go.": dict(what="x0"),
        "You returned the guess of x0 plus noise: the mean mixes that guess with x.": dict(what="x0 alone"),
    },
)
def reverse_step(
    x: Tensor, eps: Tensor, t: int, z: Tensor, s: Schedule, front="", part="", sigma="", what=""
) -> Tensor:
    """reverse_step(x, eps, t, z, s): from x_t = x and a guess of eps to x_(t-1), with fresh noise z."""
    signal, noise, beta = s.signal[t], s.noise[t], s.beta[t]
    x0 = (x - noise * eps) / signal
    right = beta**0.5 * s.noise[t - 1] / noise
    sigmas = {"squared": right**2, "beta": beta**0.5, "none": 0, "minus": -right, "one": 1}
    sigmas |= {"turned": beta**0.5 * noise / s.noise[t - 1], "inside": right / (1 - beta) ** 0.5}
    fronts = {"all": signal, "none": 1, "bare": 1 - beta, "turned": (1 - beta) ** -0.5}
    parts = {"plus": -beta / noise, "no root": beta / noise**2, "all": noise, "bare": beta}
    mean = (x - parts.get(part, beta / noise) * (x0 if what == "x0" else eps)) / fronts.get(front, (1 - beta) ** 0.5)
    return (x0 if what == "x0 alone" else mean) + sigmas.get(sigma, right) * z


@exercise(
    cases=lambda: [
        tuple(torch.tensor(case)) for case in ((0.6, 0.5, -0.4, 0.1), (1.0, 2.0, -1.0, 0.5), (0.3, 0.0, 2.0, 1.0))
    ],
    done="Correct, even where one of them is certain (variance 0).",
    parts=2,
    mistakes={
        "Right as long as neither variance is 0: multiply above and below by v1 v2.": lambda m1, v1, m2, v2: (
            (m1 / v1 + m2 / v2) / (1 / v1 + 1 / v2),
            1 / (1 / v1 + 1 / v2),
        ),
        "You weighed each mean by its own variance: the narrow bell must count for more.": dict(mean="own"),
        "That is the plain average of the means: the narrow bell must count for more.": dict(mean="plain"),
        "You weighed by the standard deviations: it is the variances that count.": dict(mean="std"),
        "The mean is to be divided by v1 + v2.": dict(mean="whole"),
        "Your variance is the larger one's kind, v1 + v2: a product of bells is narrower than both.": dict(var="sum"),
        "Your variance is the average: a product of bells is narrower than both.": dict(var="average"),
        "That is one over the variance, how sharp the bell is: turn it over.": dict(var="precision"),
        "Your variance is v1 v2: divide by v1 + v2.": dict(var="whole"),
        "You gave the standard deviation: the variance is its square.": dict(var="std"),
    },
)
def product(m1: Tensor, v1: Tensor, m2: Tensor, v2: Tensor, mean="", var="") -> tuple[Tensor, Tensor]:
    """product(m1, v1, m2, v2): mean and variance of the bell that is the product of two bells."""
    right = (v2 * m1 + v1 * m2) / (v1 + v2), v1 * v2 / (v1 + v2)
    means = {"own": (v1 * m1 + v2 * m2) / (v1 + v2), "plain": (m1 + m2) / 2, "whole": v2 * m1 + v1 * m2}
    means["std"] = (v2**0.5 * m1 + v1**0.5 * m2) / (v1**0.5 + v2**0.5)
    variances = {"sum": v1 + v2, "average": (v1 + v2) / 2, "precision": 1 / right[1], "whole": v1 * v2}
    return means.get(mean, right[0]), (variances | {"std": right[1] ** 0.5}).get(var, right[1])
