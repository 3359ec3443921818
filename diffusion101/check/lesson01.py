"""Lesson 01: signal against noise, a jump that starts halfway, one step of the way back."""

import torch
from torch import Tensor

from ..core import schedules
from ..core.schedules import Schedule
from .exercise import exercise, normal

__all__ = ["jump", "reverse_step", "snr"]


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
