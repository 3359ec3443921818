"""Somebody's implementation under audit: what was handed over, and the experiments that several invariants look at.

The few formulas that are needed are written out here, in float64: an audit does not trust the code that it audits.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ...core.process import Denoised

ENOUGH = 20_000  # random numbers behind every statistic: its own noise is then about 1 %
TIMES = 2_000  # at least so many times t are drawn in training


class Reached(NamedTuple):
    """One step of a sampler: the time it was asked to leave, the time reached, x there, the guess that led there."""

    asked: int
    t: int
    x: Tensor
    x0: Tensor


@dataclass(frozen=True)
class Subject:
    """What `audit` was given; see there. The rest is measured when it is first needed."""

    schedule: Any
    denoiser: Callable
    sampler: Callable[..., Iterable]
    shape: tuple[int, ...]
    steps: int
    loss: Callable | None
    data: Tensor | None
    guide: Callable | None
    ema: Callable | None
    lora: Callable | None
    network: nn.Module | None
    cond: Tensor | None

    @cached_property
    def alpha_bar(self) -> Tensor:
        """(T+1,) float64, on the CPU."""
        return torch.as_tensor(getattr(self.schedule, "alpha_bar", self.schedule)).double().cpu()

    @property
    def T(self) -> int:
        return len(self.alpha_bar) - 1

    def levels(self, t: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        """signal and noise at t (B,), shaped (B, 1, ..., 1) to multiply x."""
        share = self.alpha_bar[t.cpu()].view(-1, *[1] * (x.ndim - 1))
        return share.sqrt().to(x), (1 - share).sqrt().to(x)

    def pictures(self, n: int) -> Tensor:
        """n clean pictures (n, *shape) of independent pixels, uniform in [-1, 1]."""
        return 2 * torch.rand(n, *self.shape) - 1

    @property
    def few(self) -> int:
        """As many pictures as one is wide: then a table along the wrong axis fits, and is found out."""
        return self.shape[-1]

    @property
    def many(self) -> int:
        """So many pictures that they have ENOUGH pixels."""
        return -(-ENOUGH // torch.Size(self.shape).numel())

    @cached_property
    def mixed(self) -> tuple[Tensor, Tensor]:
        """x (few, *shape) at times (few,) that all differ, from a tenth of T to nine."""
        t = torch.linspace(self.T / 10, 0.9 * self.T, self.few).round().long().clamp(min=1)
        x0 = self.pictures(self.few)
        signal, noise = self.levels(t, x0)
        return signal * x0 + noise * torch.randn_like(x0), t

    @torch.no_grad()
    def ask(self, x: Tensor, t: Tensor) -> Denoised:
        """The denoiser's answer; if it tells only eps, x0 follows."""
        answer = self.denoiser(x, t)
        if not isinstance(answer, Tensor):
            return Denoised(*answer)
        signal, noise = self.levels(t, x)
        return Denoised((x - noise * answer) / signal, answer)

    @cached_property
    def _tells_eps(self) -> bool:
        x, t = self.mixed
        with torch.no_grad():
            return isinstance(self.denoiser(x[:1], t[:1]), Tensor)

    @torch.no_grad()
    def run(self, denoise: Callable, x: Tensor, steps: int) -> Iterator[Reached]:
        """The sampler's steps from x, with the time that it asked each of them for."""
        asked = []

        def noted(x: Tensor, t: Tensor) -> Denoised | Tensor:
            asked.append(int(t.flatten()[0]))
            return denoise(x, t)

        for step in self.sampler(noted, x, self.schedule, steps=steps):
            yield Reached(asked[-1], int(step[0]), step[1], step[2])

    def knows(self, x0: Tensor) -> Callable:
        """The perfect denoiser of data that is nothing but x0 (*shape); it answers as the audited one does."""

        def denoise(x: Tensor, t: Tensor) -> Denoised | Tensor:
            signal, noise = self.levels(t, x)
            eps = (x - signal * x0) / noise
            return eps if self._tells_eps else Denoised(x0.expand_as(x), eps)

        return denoise

    @cached_property
    def known(self) -> tuple[Tensor, list[Reached]]:
        """A picture (*shape), and the sampler's way to it in up to 50 steps, told the truth at each."""
        x0 = self.pictures(1)[0]
        signal, noise = self.levels(torch.tensor([self.T]), x0[None])
        x = signal * x0 + noise * torch.randn(self.many, *self.shape)
        return x0, list(self.run(self.knows(x0), x, min(50, self.T)))

    @cached_property
    def drawn(self) -> list[Reached]:
        """The sampler and the denoiser under audit, together, in `steps` steps."""
        return list(self.run(self.denoiser, torch.randn(self.few, *self.shape), self.steps))

    @cached_property
    def shown(self) -> list[tuple[Tensor, Tensor]]:
        """The noise in training as it must have been, (few, *shape) in units of its right deviation, and its t."""
        found, x0 = [], None

        def spy(x: Tensor, t: Tensor, cond: Any = None) -> Tensor:
            signal, noise = self.levels(t, x)
            found.append(((x - signal * x0) / noise, t))
            return torch.zeros_like(x)

        for _ in range(-(-max(self.many, TIMES) // self.few)):
            x0 = self.pictures(self.few)
            self.loss(spy, x0)
        return found
