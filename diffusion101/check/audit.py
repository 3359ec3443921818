"""An audit of any diffusion code, ours or yours: a table of what holds, and named suspicions where it does not."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from .invariants import INVARIANTS, Invariant, Subject

__all__ = ["audit"]

PASSES, SUSPICION, STOPPED, NOT_ASKED = "passes", "suspicion", "stopped", "not asked"
WIDTH = max(len(invariant.asserts) for invariant in INVARIANTS) + 2


@dataclass(frozen=True)
class Row:
    """One invariant's verdict ("passes", "suspicion", "stopped" or "not asked"), and what was found."""

    invariant: Invariant
    verdict: str
    found: str = ""

    def __str__(self) -> str:
        suspected = f"{self.invariant.suspicion}: {self.found}" if self.verdict == SUSPICION else self.found
        return f"{self.verdict:<11}{self.invariant.asserts:<{WIDTH}}{suspected}".rstrip()


@dataclass(frozen=True)
class Audit:
    """Rows in the order of the invariants; printed, an aligned table."""

    rows: tuple[Row, ...]

    @property
    def suspicions(self) -> list[str]:
        """The names of the mistakes that are likely, each once; see diffusion101.bugs for those of the museum."""
        return list(dict.fromkeys(row.invariant.suspicion for row in self.rows if row.verdict == SUSPICION))

    @property
    def failing(self) -> list[Row]:
        """The rows with a suspicion, or in which the code stopped."""
        return [row for row in self.rows if row.verdict not in (PASSES, NOT_ASKED)]

    @property
    def passed(self) -> bool:
        """Whether all that was asked holds."""
        return not self.failing

    def __repr__(self) -> str:
        return "\n".join(map(str, self.rows))


def audit(
    schedule: Any,
    denoiser: Callable,
    sampler: Callable[..., Iterable],
    *,
    shape: tuple[int, ...] = (1, 28, 28),
    steps: int = 10,
    loss: Callable[[Callable, Tensor], Any] | None = None,
    data: Tensor | None = None,
    guide: Callable | None = None,
    ema: Callable | None = None,
    lora: Callable | None = None,
    network: nn.Module | None = None,
    cond: Tensor | None = None,
) -> Audit:
    """Ask an implementation what must hold in any. In our notation: t = 0 is data and T noise, x0 lies in [-1, 1].

    schedule   anything with .alpha_bar (T+1,), perhaps .beta (T+1,), or the tensor alpha_bar itself
    denoiser   (x (B, *shape), t (B,) int64) -> Denoised (or a pair x0, eps), or eps alone; as the sampler gets it,
               so with its clipping, and in evaluation
    sampler    (denoise, x, schedule, steps=n) -> iterable of (t reached, x there, guess of x0); denoise answers as
               denoiser does
    shape      of one picture; steps: how many you draw it with
    loss       (network, x0) -> anything: your training loss of these pictures; network is called as (x, t, ...)
    data       a batch of pictures as your network is shown them
    guide      (model, cond, scale) -> denoise, as guidance.guide; the label 10 says nothing
    ema        (module, steps) -> averaged module: go through steps, each changes the module, and average after each
    lora       (model, rank, alpha) -> model with adapters on all its linear layers; only they require gradients
    network    fresh, called as (x, t) or, if cond is given, as (x, t, cond); a copy of it is trained for ten steps
    cond       (B,) or (B, L), what the network may be told

    What is missing is not asked. An invariant that your code stops in is a row of its own; it is no suspicion.
    All tensors are on the CPU; random numbers outside are left as they were.
    ValueError if schedule, shape or steps cannot be meant.
    """
    subject = Subject(schedule, denoiser, sampler, tuple(shape), steps, loss, data, guide, ema, lora, network, cond)
    table = subject.alpha_bar
    if table.ndim != 1 or len(table) < 2 or not table.isfinite().all():
        raise ValueError(f"alpha_bar is {tuple(table.shape)}; it must be (T+1,), numbers from clean data to noise")
    if not shape or min(shape) < 1:
        raise ValueError(f"shape is {shape}; it must be that of one picture, as (1, 28, 28)")
    if not 1 <= steps <= subject.T:
        raise ValueError(f"steps is {steps}; it must lie from 1 to T = {subject.T}")
    with torch.random.fork_rng():
        return Audit(tuple(_row(invariant, subject) for invariant in INVARIANTS))


def _row(invariant: Invariant, subject: Subject) -> Row:
    missing = [need for need in invariant.needs if not _has(subject, need)]
    if missing:
        return Row(invariant, NOT_ASKED, f"needs {', '.join(missing)}")
    torch.manual_seed(0)
    try:
        found = invariant.broken(subject)
    except Exception as error:  # the audited code's own: say it, whatever it is
        return Row(invariant, STOPPED, f"{type(error).__name__}: {' '.join(str(error).split())[:100]}")
    return Row(invariant, SUSPICION if found else PASSES, found)


def _has(subject: Subject, path: str) -> bool:
    """Whether there is, say, a subject.loss, or a subject.schedule.beta."""
    found = subject
    for name in path.split("."):
        found = getattr(found, name, None)
    return found is not None
