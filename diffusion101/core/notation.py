"""One noisy picture and one answer about it, as four papers write them.

Every paper mixes a clean picture x0 with noise eps, and lets a network answer with another mixture of the same two. The
papers differ in the weights alone. So a notation is two pairs of weights, and to translate is to solve two equations
with two unknowns. Tensors are (B, ...); alpha_bar is (B,), each of it between 0 and 1.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from .process import Denoised

Weights = Callable[[Tensor], tuple[Tensor, Tensor]]  # alpha_bar (B,) -> the weights of x0 and of eps, (B,) each


class Notation(NamedTuple):
    """time(alpha_bar) is what the paper counts by; x and answer: what the noisy picture and the answer are made of."""

    time: Callable[[Tensor], Tensor]
    x: Weights
    answer: Weights


class Said(NamedTuple):
    """The noisy picture and the network's answer, both (B, ...), in the scale of one notation."""

    x: Tensor
    answer: Tensor


def sigma(alpha_bar: Tensor) -> Tensor:
    """EDM's noise level, noise / signal: how much noise there is where x0 keeps its size (Karras et al. 2022)."""
    return ((1 - alpha_bar) / alpha_bar).sqrt()


def tau(alpha_bar: Tensor) -> Tensor:
    """Flow matching's time, from 0 (noise) to 1 (data): signal / (signal + noise)."""
    return 1 / (1 + sigma(alpha_bar))


def angle(alpha_bar: Tensor) -> Tensor:
    """How far x has turned from x0 (0) to eps (pi / 2): its cosine is the signal, its sine the noise."""
    return (1 - alpha_bar).sqrt().atan2(alpha_bar.sqrt())


def preserving(alpha_bar: Tensor) -> tuple[Tensor, Tensor]:
    """signal and noise, whose squares sum to 1 (Ho et al. 2020, eq. 4)."""
    return alpha_bar.sqrt(), (1 - alpha_bar).sqrt()


def always(of_x0: float, of_eps: float) -> Weights:
    """Weights that are the same at every time."""
    return lambda a: (torch.full_like(a, of_x0), torch.full_like(a, of_eps))


NOTATIONS = {
    # x = signal x0 + noise eps; the answer is eps (Ho et al. 2020)
    "DDPM": Notation(lambda a: a, preserving, always(0, 1)),
    # the same x; the answer is v = signal eps - noise x0 (Salimans & Ho 2022, appendix D)
    "v": Notation(angle, preserving, lambda a: (-(1 - a).sqrt(), a.sqrt())),
    # x0 + sigma eps; the answer is D, the guess of x0 (Karras et al. 2022)
    "EDM": Notation(sigma, lambda a: (torch.ones_like(a), sigma(a)), always(1, 0)),
    # tau x0 + (1 - tau) eps; the answer is the velocity x0 - eps (Liu et al. 2023; Lipman et al. 2023)
    "flow": Notation(tau, lambda a: (tau(a), 1 - tau(a)), always(1, -1)),
}


def mix(x0: Tensor, eps: Tensor, alpha_bar: Tensor, notation: str) -> Said:
    """What this notation makes of x0 and eps: its noisy picture, and what its network should answer."""
    (a, b), (p, q) = _weights(x0, alpha_bar, notation)
    return Said(a * x0 + b * eps, p * x0 + q * eps)


def unmix(x: Tensor, answer: Tensor, alpha_bar: Tensor, notation: str) -> Denoised:
    """The x0 and the eps of which both are mixtures: x = a x0 + b eps and answer = p x0 + q eps, by Cramer's rule.

    Its determinant a q - b p is the signal for DDPM and -sigma for EDM, which come near 0; for v it is 1, for flow -1.
    """
    (a, b), (p, q) = _weights(x, alpha_bar, notation)
    whole = a * q - b * p
    return Denoised((q * x - b * answer) / whole, (a * answer - p * x) / whole)


def translate(x: Tensor, answer: Tensor, alpha_bar: Tensor, source: str, target: str) -> Said:
    """The same picture and the same answer in the words of another notation; both names are of NOTATIONS."""
    return mix(*unmix(x, answer, alpha_bar, source), alpha_bar, target)


def _weights(x: Tensor, alpha_bar: Tensor, notation: str) -> list[tuple[Tensor, Tensor]]:
    """The weights of x and of the answer, shaped (B, 1, ..., 1) to multiply x, in x's dtype."""
    if notation not in NOTATIONS:
        raise ValueError(f"unknown notation {notation!r}; there are {', '.join(NOTATIONS)}")
    if not ((alpha_bar > 0) & (alpha_bar < 1)).all():
        raise ValueError(f"alpha_bar is {alpha_bar}; it must lie between 0 and 1, where x holds both x0 and eps")
    shape = (-1, *[1] * (x.ndim - 1))
    chosen = NOTATIONS[notation]
    return [tuple(w.to(x).view(shape) for w in weights(alpha_bar)) for weights in (chosen.x, chosen.answer)]
