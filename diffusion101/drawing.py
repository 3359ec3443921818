"""From a request to pictures: the one way that the command line, the notebooks, previews and scores all take."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from .core import guidance
from .core.denoiser import Denoiser
from .core.process import Denoised
from .core.samplers import SAMPLERS, Step

MOST_AT_ONCE = 100  # pictures in one network call: beyond that memory grows and a CPU gets no faster


@dataclass(frozen=True)
class Request:
    """What to draw, and how.

    cond      what each picture should show, as the network takes it: labels (B,), tokens (B, L), or None
    count     how many pictures, where cond does not tell
    guidance  w: 0 ignores cond, 1 obeys, above 1 insists
    sampler   "ddpm", "ddim" or "dpmpp_2m"; steps: network calls per picture
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
    seed: int = 0
    size: tuple[int, int] = (28, 28)
    clip: bool = True
    noise: Tensor | None = None

    def __post_init__(self):
        if self.sampler not in SAMPLERS:
            raise ValueError(f"unknown sampler {self.sampler!r}; there are {', '.join(SAMPLERS)}")
        if not math.isfinite(self.guidance):
            raise ValueError(f"the guidance is {self.guidance}; it must be a finite number")
        if len(self) < 1:
            raise ValueError(f"the count of pictures is {len(self)}; it must be at least 1")
        if min(self.size) < 1:
            raise ValueError(f"the size is {self.size[0]} x {self.size[1]}; both sides must be at least 1")
        if not -(2**63) <= self.seed < 2**63:
            raise ValueError(f"the seed is {self.seed}; it must fit into 64 bits")

    def __len__(self) -> int:
        return self.count if self.cond is None else len(self.cond)

    def start(self, model: Denoiser, generator: torch.Generator) -> Tensor:
        """The first noise (B, C, H, W), on the CPU, so that a seed means the same picture everywhere."""
        if self.noise is not None:
            return self.noise
        return torch.randn(len(self), model.network.config.channels, *self.size, generator=generator)

    def calls(self, model: Denoiser) -> int:
        """Pictures that go through the network for one step of one picture: 2 where guidance compares."""
        return 1 if self.cond is None or self.guidance in (0, 1) else 2


def draw(model: Denoiser, request: Request) -> Iterator[Step]:
    """The steps from noise to pictures; the last one's x is what was asked for.

    ValueError at once if the model cannot draw what is requested. At most MOST_AT_ONCE pictures go through the network
    at a time, whatever the request.
    """
    if request.cond is not None and model.condition is None:
        raise ValueError("this model takes no condition: it draws whatever comes")
    model.schedule.times(request.steps)
    generator = torch.Generator().manual_seed(request.seed)
    device = next(model.parameters()).device
    noise = request.start(model, generator).to(device)
    model.network.check(noise[:1])
    inner = in_parts(model, MOST_AT_ONCE)
    denoise = inner if request.cond is None else guidance.guide(inner, request.cond.to(device), request.guidance)
    if request.clip:
        denoise = guidance.clip(denoise, model.schedule)
    extra = {} if request.sampler == "dpmpp_2m" else {"generator": generator}
    return SAMPLERS[request.sampler](denoise, noise, model.schedule, steps=request.steps, **extra)


def pictures(model: Denoiser, request: Request, progress: Callable = lambda steps, total: steps) -> Tensor:
    """The finished pictures (B, C, H, W) in [-1, 1]; progress(steps, total) may wrap the steps in a bar."""
    for step in progress(draw(model, request), total=request.steps):
        pass
    return step.x.clamp(-1, 1)


class in_parts:
    """The model, called with at most `most` pictures at a time: memory stays bounded, the answer the same."""

    def __init__(self, model: Denoiser, most: int):
        self.model, self.most, self.condition = model, most, model.condition

    def __call__(self, x: Tensor, t: Tensor, cond: Tensor | None = None) -> Denoised:
        if len(x) <= self.most:
            return self.model(x, t, cond)
        conds = [None] * len(x) if cond is None else cond.split(self.most)
        answers = [self.model(*part) for part in zip(x.split(self.most), t.split(self.most), conds)]
        return Denoised(*(torch.cat(parts) for parts in zip(*answers)))
