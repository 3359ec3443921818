"""Drawing that starts from a picture: back to its noise, between two noises, and around what is to be kept.

denoise is any function (x, t) -> Denoised, as for the samplers; every loop is a generator of their steps.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from .process import q_sample
from .samplers import Denoise, Step, ancestral, draw_noise, full
from .schedules import Schedule


@torch.no_grad()
def invert(denoise: Denoise, x0: Tensor, s: Schedule, steps: int = 50, spacing: str = "uniform") -> Iterator[Step]:
    """The noise from which ddim draws x0 (B, ...): its steps run backwards (Song et al. 2021, section 4.3).

    The last step's x, at t = T, is that noise. A step back would need the eps at its end and takes the one at its
    start; so the way there and back errs by less the more steps. A picture without noise is shown as if t were 1.
    """
    x, times = x0, s.times(steps, spacing)[::-1]
    for r, t in zip(times, times[1:]):
        guess, eps = denoise(x, full(x, max(r, 1)))
        signal, noise = s.exact[t].item() ** 0.5, (1 - s.exact[t].item()) ** 0.5
        x = signal * guess + noise * eps
        yield Step(t, x, guess)


def slerp(a: Tensor, b: Tensor, share: float | Tensor) -> Tensor:
    """From noise a (share 0) to noise b (share 1), both (B, ...), on the arc between them (Shoemake 1985).

    share: a number, or one for each picture (B,). Half of two noises added up is a noise too weak for T; on the arc
    the length stays. Where a and b point the same way, or opposite ways and no arc is the shortest, a straight line.
    """
    share = torch.as_tensor(share, dtype=a.dtype, device=a.device).reshape(-1, *[1] * (a.ndim - 1))
    flat_a, flat_b = a.flatten(1), b.flatten(1)
    cosine = (flat_a * flat_b).sum(1) / (flat_a.norm(dim=1) * flat_b.norm(dim=1))
    angle = cosine.clamp(-1, 1).acos().view(-1, *[1] * (a.ndim - 1))
    arc = (((1 - share) * angle).sin() * a + (share * angle).sin() * b) / angle.sin()
    return torch.where(angle.sin() > 1e-3, arc, a.lerp(b, share))


@torch.no_grad()
def inpaint(
    denoise: Denoise,
    x: Tensor,
    s: Schedule,
    known: Tensor,
    mask: Tensor,
    steps: int = 250,
    resample: int = 10,
    jump: int = 1,
    generator: torch.Generator | None = None,
    spacing: str = "uniform",
) -> Iterator[Step]:
    """RePaint (Lugmayr et al. 2022, algorithm 1): draws where mask is 0, and keeps known where it is 1.

    After each step of ddpm the kept part is replaced by known, noised as much as the rest; so the rest hears of it in
    the next step only, too late to fit. Hence every `jump` steps are drawn `resample` times: noise is added until the
    time before them, and they are drawn again. The last ones, which end at t = 0, are drawn once. It stays an
    approximation: what is drawn early has heard a noisy known part only, and cannot change its mind later.

    x       (B, ...) standard normal noise
    known   (B, ...) what is to be kept; what it holds elsewhere is ignored
    mask    True or 1 where known is kept; any shape that broadcasts to x

    With jump = 1 the network is called resample (steps - 1) + 1 times.
    """
    for name, value in (("resample", resample), ("jump", jump)):
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ValueError(f"{name} is {value!r}; it must be a whole number of at least 1")
    times, keep, known = s.times(steps, spacing), mask.to(x.device).bool(), known.to(x)
    for first in range(0, steps, jump):
        stretch = times[first : first + jump + 1]
        for again in range(resample if stretch[-1] > 0 else 1):
            if again:
                share = s.exact[stretch[0]].item() / s.exact[stretch[-1]].item()
                x = share**0.5 * x + (1 - share) ** 0.5 * draw_noise(x, generator)
            for t, r in zip(stretch, stretch[1:]):
                x, x0 = ancestral(denoise, x, s, t, r, generator)[1:]
                noised = q_sample(known, full(x, r), draw_noise(x, generator), s)
                x = torch.where(keep, noised, x)
                yield Step(r, x, x0)
