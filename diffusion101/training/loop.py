"""Training as a generator of steps: the caller owns the loop, and can draw, stop and resume it."""

import ctypes
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from .muon import Muon
from .ranks import ALONE, Ranks
from .recipe import Recipe, Train


class Stream(Protocol):
    """What a model is shown: batch number `step` of an endless, seeded run, on the model's device."""

    def batch(self, step: int, size: int, seed: int = 0) -> tuple[Tensor, Tensor]: ...


@dataclass(frozen=True)
class TrainStep:
    """What happened in one step; `step` counts from 1. run.ema.module is the averaged model.

    Reading loss or grad_norm waits for the device; whoever reads them seldom does not slow a GPU down.
    """

    step: int
    steps: int
    images: int
    lr: float
    run: "Run"
    loss_tensor: Tensor
    norm_tensor: Tensor

    @property
    def loss(self) -> float:
        return self.loss_tensor.item()

    @property
    def grad_norm(self) -> float:
        return self.norm_tensor.item()


class Run:
    """All that a training run must remember, so that resumed equals uninterrupted, bit for bit on a CPU.

    model: a module with .loss(x0, cond, generator); if it has a .condition, that decides how often cond is dropped.
    ranks: the processes that share the work.
    """

    def __init__(self, model: nn.Module, recipe: Recipe, ranks: Ranks = ALONE):
        device, how = next(model.parameters()).device, recipe.train
        self.step = 0
        self.model, self.recipe, self.ranks = model, recipe, ranks
        self.generator = torch.Generator(device).manual_seed(how.seed)
        self.optimizers = OPTIMIZERS[how.optimizer](model, how.lr, how.weight_decay)
        for group in (group for optimizer in self.optimizers for group in optimizer.param_groups):
            group["initial_lr"] = group["lr"]
        half = precision(device) == torch.float16 and how.amp  # gradients below its range would be lost
        self.scaler = torch.amp.GradScaler(device.type, enabled=half)
        # parameters only: buffers are counters and tables, an average of which means nothing
        self.ema = AveragedModel(model, multi_avg_fn=_ema(how.ema, self), use_buffers=False)

    def state_dict(self) -> dict[str, Any]:
        parts = {"model": self.model.state_dict(), "ema": self.ema.state_dict()}
        parts |= {"optimizers": [optimizer.state_dict() for optimizer in self.optimizers]}
        parts |= {"scaler": self.scaler.state_dict()}
        generators = {"generator": self.generator.get_state(), "global_rng": torch.get_rng_state()}
        return parts | generators | {"step": self.step, "device": self.generator.device.type}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.model.load_state_dict(state["model"])
        self.ema.load_state_dict(state["ema"])
        for optimizer, kept in zip(self.optimizers, state["optimizers"]):
            optimizer.load_state_dict(kept)
        self.scaler.load_state_dict(state.get("scaler", {}))  # not in states kept before there was float16
        self.generator.set_state(state["generator"])
        torch.set_rng_state(state["global_rng"])
        self.step = state["step"]


def train(denoiser: nn.Module, data: Stream, recipe: Recipe, run: Run | None = None) -> Iterator[TrainStep]:
    """Train denoiser in place; yields after each update of weights and EMA.

    data on the denoiser's device; run: a Run to go on with. Stops with a ValueError when the loss is no number.
    """
    run, how = run or Run(denoiser, recipe), recipe.train
    device = run.generator.device
    dtype = precision(device) if how.amp else None
    autocast = torch.autocast(device.type, dtype or torch.bfloat16, enabled=dtype is not None)
    condition = getattr(denoiser, "condition", None)
    look = 1 if device.type == "cpu" else 100  # how often the loss is looked at
    if device.type == "cpu":
        keep_memory()
    denoiser.train()
    while run.step < recipe.steps:
        lr = learning_rate(how, recipe.steps, run.step)
        for optimizer in run.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = lr / how.lr * group["initial_lr"]
            optimizer.zero_grad(set_to_none=True)
        x0, cond = data.batch(run.step, how.batch, how.seed)
        if condition is not None:
            cond = condition.drop(condition.fit(cond), how.drop, run.generator)
        with autocast:
            loss = run.ranks.loss(run, x0, cond)
        run.scaler.scale(loss).backward()
        loss = run.ranks.mean(loss, denoiser)
        for optimizer in run.optimizers:
            run.scaler.unscale_(optimizer)
        norm = torch.nn.utils.clip_grad_norm_(denoiser.parameters(), how.clip)
        for optimizer in run.optimizers:
            run.scaler.step(optimizer)  # not at all where a scaled gradient is infinite
        run.scaler.update()
        run.ema.update_parameters(denoiser)
        run.step += 1
        if (run.step % look == 0 or run.step == recipe.steps) and not math.isfinite(loss.item()):
            raise ValueError(f"the loss is {loss.item()} at step {run.step}: lower the learning rate ({how.lr})")
        yield TrainStep(run.step, recipe.steps, run.step * how.batch, lr, run, loss, norm)


def adamw(model: nn.Module, lr: float, weight_decay: float) -> list[torch.optim.Optimizer]:
    """AdamW (Loshchilov & Hutter 2019) for everything that is trained."""
    return [_adamw([p for p in model.parameters() if p.requires_grad], lr, weight_decay)]


def muon(model: nn.Module, lr: float, weight_decay: float) -> list[torch.optim.Optimizer]:
    """Muon for the weights inside the network; AdamW, at 0.4 of the rate, for tables, biases, norms, and both ends."""
    tables = {id(m.weight) for m in model.modules() if isinstance(m, nn.Embedding)}
    named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    edge = ("conv_in.", "conv_out.")
    inside = [p for name, p in named if p.ndim >= 2 and id(p) not in tables and not any(e in name for e in edge)]
    chosen = {id(p) for p in inside}
    rest = [p for _, p in named if id(p) not in chosen]
    ours = [Muon(inside, lr, weight_decay=weight_decay)] if inside else []
    return ours + ([_adamw(rest, 0.4 * lr, weight_decay)] if rest else [])


def _adamw(parameters: list[nn.Parameter], lr: float, weight_decay: float) -> torch.optim.AdamW:
    fused = all(p.device.type != "mps" for p in parameters)
    return torch.optim.AdamW(parameters, lr=lr, weight_decay=weight_decay, fused=fused)


OPTIMIZERS = {"adamw": adamw, "muon": muon}


def learning_rate(how: Train, steps: int, step: int) -> float:
    """A straight rise over the first share `warmup` of the run, then half a cosine down to 0."""
    warmup = max(1, round(how.warmup * steps))
    if step < warmup:
        return how.lr * (step + 1) / warmup
    if not how.decay:
        return how.lr
    return how.lr * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup))) / 2


@cache
def keep_memory() -> bool:
    """Let freed memory stay with this process; False where the C library cannot be asked (it is not glibc).

    glibc hands large blocks back to Linux and asks for them anew, emptied, at every step: 11 % of a step's time here.
    """
    try:
        tune = ctypes.CDLL(None).mallopt
    except (OSError, TypeError, AttributeError):
        return False
    mmap_threshold, trim_threshold = -3, -1
    return bool(tune(mmap_threshold, 2**30) and tune(trim_threshold, 2**31 - 1))


def precision(device: torch.device) -> torch.dtype | None:
    """What mixed precision computes in here: bfloat16, on CUDA without it float16; None where neither is faster."""
    if has_bf16(device):
        return torch.bfloat16
    return torch.float16 if device.type == "cuda" else None


def has_bf16(device: torch.device) -> bool:
    """Whether bfloat16 is faster here: on CUDA since Ampere, on CPUs with AVX512-BF16 (elsewhere ten times slower)."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return device.type == "cpu" and getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)()


def _ema(decay: float, run: Run):
    """avg += (1 - d) (new - avg), with d growing as (1 + n) / (10 + n) so that the start is forgotten soon.

    n: the steps of the run. PyTorch's own count is on the device, and to read it would wait for it at every step.
    """

    @torch.no_grad()
    def update(averages: list[Tensor], new: list[Tensor], count: Tensor) -> None:
        d = min(decay, (1 + run.step) / (10 + run.step))
        torch._foreach_lerp_(averages, new, 1 - d)

    return update
