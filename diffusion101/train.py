"""Training as a generator of steps: the caller owns the loop, and can draw, stop and resume it."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel

from .data import Images
from .denoiser import Denoiser
from .recipe import Recipe


@dataclass(frozen=True)
class TrainStep:
    """What happened in one step; `step` counts from 1. run.ema.module is the averaged Denoiser."""

    step: int
    steps: int
    images: int
    loss: float
    grad_norm: float
    lr: float
    run: "Run"


class Run:
    """All that a training run must remember, so that resumed equals uninterrupted, bit for bit on a CPU."""

    def __init__(self, denoiser: Denoiser, recipe: Recipe):
        device = next(denoiser.parameters()).device
        self.step = 0
        self.denoiser, self.recipe = denoiser, recipe
        self.generator = torch.Generator(device).manual_seed(recipe.seed)
        self.optimizer = torch.optim.AdamW(denoiser.parameters(), lr=recipe.lr, weight_decay=recipe.weight_decay)
        # parameters only: buffers are counters and tables, an average of which means nothing
        self.ema = AveragedModel(denoiser, multi_avg_fn=_ema(recipe.ema), use_buffers=False)

    def state_dict(self) -> dict[str, Any]:
        parts = {name: getattr(self, name).state_dict() for name in ("denoiser", "optimizer", "ema")}
        generators = {"generator": self.generator.get_state(), "global_rng": torch.get_rng_state()}
        return parts | generators | {"step": self.step}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for name in ("denoiser", "optimizer", "ema"):
            getattr(self, name).load_state_dict(state[name])
        self.generator.set_state(state["generator"])
        torch.set_rng_state(state["global_rng"])
        self.step = state["step"]


def train(denoiser: Denoiser, data: Images, recipe: Recipe, run: Run | None = None) -> Iterator[TrainStep]:
    """Train denoiser in place; yields after each update of weights and EMA.

    data on the denoiser's device; run: a Run to go on with. Stops with a ValueError when the loss is no number.
    """
    run = run or Run(denoiser, recipe)
    device = run.generator.device
    autocast = torch.autocast(device.type, torch.bfloat16, enabled=recipe.amp and has_bf16(device))
    denoiser.train()
    while run.step < recipe.steps:
        lr = learning_rate(recipe, run.step)
        for group in run.optimizer.param_groups:
            group["lr"] = lr
        x0, labels = data.batch(run.step, recipe.batch, recipe.seed)
        cond = drop_labels(labels, denoiser.null, recipe.label_dropout, run.generator) if denoiser.null else None
        with autocast:
            loss = denoiser.loss(x0, cond, run.generator)
        run.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(denoiser.parameters(), recipe.clip)
        run.optimizer.step()
        run.ema.update_parameters(denoiser)
        run.step += 1
        if not math.isfinite(loss.item()):
            raise ValueError(f"the loss is {loss.item()} at step {run.step}: lower the learning rate ({recipe.lr})")
        yield TrainStep(run.step, recipe.steps, run.step * recipe.batch, loss.item(), norm.item(), lr, run)


def learning_rate(recipe: Recipe, step: int) -> float:
    """A straight rise over the first share `warmup` of the run, then half a cosine down to 0."""
    warmup = max(1, round(recipe.warmup * recipe.steps))
    if step < warmup:
        return recipe.lr * (step + 1) / warmup
    if not recipe.decay:
        return recipe.lr
    return recipe.lr * (1 + math.cos(math.pi * (step - warmup) / max(1, recipe.steps - warmup))) / 2


def drop_labels(labels: Tensor, null: int, rate: float, generator: torch.Generator) -> Tensor:
    """Replace each picture's label (or all its tokens) by null with this probability."""
    dropped = torch.rand(len(labels), generator=generator, device=labels.device) < rate
    return torch.where(dropped.view(-1, *[1] * (labels.ndim - 1)), null, labels)


def has_bf16(device: torch.device) -> bool:
    """Whether bfloat16 is faster here: on CUDA since Ampere, on CPUs with AVX512-BF16 (measured 1.3 to 1.9 times)."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return device.type == "cpu" and getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)()


def _ema(decay: float):
    """avg += (1 - d) (new - avg), with d growing as (1 + n) / (10 + n) so that the start is forgotten soon."""

    @torch.no_grad()
    def update(averages: list[Tensor], new: list[Tensor], count: Tensor) -> None:
        d = min(decay, (1 + int(count)) / (10 + int(count)))
        torch._foreach_lerp_(averages, new, 1 - d)

    return update
