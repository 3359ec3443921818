"""From a request to pictures: the one way that the command line, the notebooks, previews and scores all take."""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from .core import guidance
from .core.denoiser import Denoiser
from .core.process import Denoised
from .core.samplers import SAMPLERS, Step
from .core.schedules import known

PIXELS_AT_ONCE = 100 * 28 * 28  # in one network call: beyond that memory grows and a CPU gets no faster
LARGEST = 2**20, 2**26  # pixels of one picture, and of all that are asked for at once


@dataclass(frozen=True)
class Request:
    """What to draw, and how.

    cond      what each picture should show, as the network takes it: labels (B,), tokens (B, L), or None
    count     how many pictures, where cond does not tell
    guidance  w: 0 ignores cond, 1 obeys, above 1 insists
    interval  (low, high): guidance only at times low < t <= high, and w = 1 elsewhere; None: all the way
    sampler   a name in samplers.SAMPLERS; steps: how many; spacing: where, of schedules.SPACINGS
    seed      of the first noise and of the fresh noise of every step
    size      height and width
    clip      whether every guess of x0 is kept in [-1, 1]
    noise     (B, C, H, W) to start from, in the place of noise made from seed
    """

    cond: Tensor | None = None
    count: int = 10
    guidance: float = 1.0
    sampler: str = "dpmpp_2m"
    steps: int = 10
    spacing: str = "uniform"
    seed: int = 0
    size: tuple[int, int] = (28, 28)
    clip: bool = True
    noise: Tensor | None = None
    interval: tuple[int, int] | None = None

    def __post_init__(self):
        if self.sampler not in SAMPLERS:
            raise ValueError(f"unknown sampler {self.sampler!r}; there are {', '.join(SAMPLERS)}")
        known(self.spacing)
        if not math.isfinite(self.guidance):
            raise ValueError(f"the guidance is {self.guidance}; it must be a finite number")
        guidance.check_interval(self.interval)
        count, height, width = self.shape
        if count < 1:
            raise ValueError(f"the count of pictures is {count}; it must be at least 1")
        if min(height, width) < 1:
            raise ValueError(f"the size is {height} x {width}; both sides must be at least 1")
        if height * width > LARGEST[0] or count * height * width > LARGEST[1]:
            most = f"{LARGEST[0]:,} pixels a picture and {LARGEST[1]:,} in all is the most"
            raise ValueError(f"{count:,} pictures of {height} x {width} are too much: {most}")
        if self.cond is not None and len(self.cond) != count:
            raise ValueError(f"the noise is for {count} pictures, the condition for {len(self.cond)}")
        if not -(2**63) <= self.seed < 2**63:
            raise ValueError(f"the seed is {self.seed}; it must fit into 64 bits")

    @property
    def shape(self) -> tuple[int, int, int]:
        """How many pictures, their height and width."""
        if self.noise is not None:
            return len(self.noise), *self.noise.shape[-2:]
        return self.count if self.cond is None else len(self.cond), *self.size

    def start(self, model: Denoiser, generator: torch.Generator) -> Tensor:
        """The first noise (B, C, H, W), on the CPU, so that a seed means the same picture everywhere."""
        if self.noise is not None:
            return self.noise
        count, *size = self.shape
        return torch.randn(count, model.network.config.channels, *size, generator=generator)

    def evaluations(self, model: Denoiser) -> int:
        """How often one picture goes through the network: at every step, and again where guidance compares."""
        if self.cond is None or self.guidance in (0, 1):
            return self.steps
        low, high = self.interval or (0, model.schedule.T)
        return sum(1 + (low < t <= high) for t in model.schedule.times(self.steps, self.spacing)[:-1])


def draw(model: Denoiser, request: Request) -> Iterator[Step]:
    """The steps from noise to pictures; the last one's x is what was asked for.

    ValueError at once if the model cannot draw what is requested. At most PIXELS_AT_ONCE go through the network at a
    time, whatever the request.
    """
    if request.cond is not None and model.condition is None:
        raise ValueError("this model takes no condition: it draws whatever comes")
    model.schedule.times(request.steps, request.spacing)
    generator = torch.Generator().manual_seed(request.seed)
    device = next(model.parameters()).device
    noise = request.start(model, generator).to(device)
    model.network.check(noise[:1])
    inner = in_parts(model, at_once(request))
    denoise = inner if request.cond is None else guidance.guide(inner, request.cond.to(device), request.guidance)
    if request.cond is not None and request.interval:
        plain = guidance.guide(inner, request.cond.to(device), 1.0)
        denoise = guidance.interval(denoise, plain, *request.interval)
    if request.clip:
        denoise = guidance.clip(denoise, model.schedule)
    path = {"steps": request.steps, "spacing": request.spacing, "generator": generator}
    return SAMPLERS[request.sampler](denoise, noise, model.schedule, **path)


def pictures(model: Denoiser, request: Request, progress: Callable = lambda steps, total: steps) -> Tensor:
    """The finished pictures (B, C, H, W) in [-1, 1]; progress(steps, total) may wrap the steps in a bar."""
    for step in progress(draw(model, request), total=request.steps):
        pass
    return step.x.clamp(-1, 1)


def at_once(request: Request) -> int:
    """How many pictures go through the network in one call."""
    _, height, width = request.shape
    return max(1, PIXELS_AT_ONCE // (height * width))


@torch.no_grad()
def seconds(model: Denoiser, request: Request) -> float:
    """About how long it will take to draw this, from one timed network call."""
    count, *size = request.shape
    few = min(count, at_once(request))
    device = next(model.parameters()).device
    x = torch.zeros(few, model.network.config.channels, *size, device=device)
    t = torch.ones(few, dtype=torch.int64, device=device)
    for _ in range(2):  # the first warms up
        began = time.perf_counter()
        model(x, t).x0.sum().item()  # waits for the device
    return (time.perf_counter() - began) * request.evaluations(model) * count / few


class in_parts:
    """The model, called with at most `most` pictures at a time: memory stays bounded, the answer the same."""

    def __init__(self, model: Denoiser, most: int):
        self.model, self.most, self.condition = model, most, model.condition

    def __call__(self, x: Tensor, t: Tensor, cond: Tensor | None = None) -> Denoised:
        if len(x) <= self.most:
            return self.model(x, t, cond)
        conds = [None] * len(x) if cond is None else cond.split(self.most)
        answers = [self.model(*part) for part in zip(x.split(self.most), t.split(self.most), conds)]
        shares = [answer.share for answer in answers]
        whole = Denoised(*(torch.cat(parts) for parts in zip(*answers)))
        return whole if shares[0] is None else whole.sharing(torch.cat(shares))
