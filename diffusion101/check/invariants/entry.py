"""What an invariant is, and the list that audit goes through."""

from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor

from .subject import Subject


class Invariant(NamedTuple):
    """asserts what; the suspicion if it fails; the parts of a Subject that it needs.

    broken(subject) is "" if it holds, else what was found instead.
    """

    asserts: str
    suspicion: str
    needs: tuple[str, ...]
    broken: Callable[[Subject], str]


INVARIANTS: list[Invariant] = []


def invariant(asserts: str, suspicion: str, *needs: str) -> Callable:
    """Enters a function (Subject) -> str into the list."""

    def enter(broken: Callable[[Subject], str]) -> Callable[[Subject], str]:
        INVARIANTS.append(Invariant(asserts, suspicion, needs, broken))
        return broken

    return enter


def most(z: Tensor) -> float:
    return z.abs().max().item()


def not_normal(z: Tensor) -> str:
    """Whether these numbers, in whatever unit, are not N(0, 1): by their mean and their excess kurtosis."""
    unit = z / z.std()
    mean, kurtosis = unit.mean().item(), (unit - unit.mean()).pow(4).mean().item() - 3
    if abs(mean) < 0.1 and abs(kurtosis) < 0.3:
        return ""
    return f"in deviations its mean is {mean:.2f}; excess kurtosis {kurtosis:.2f} (normal 0, uniform -1.2)"
