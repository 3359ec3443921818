"""The trajectory microscope: one picture, several samplers from the same noise, and every step seen closely."""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from .. import drawing
from ..core import guidance
from ..core.denoiser import Denoiser
from ..core.process import q_sample
from ..core.samplers import full
from . import plot, widgets
from .plot import Picture

ERROR = (-0.05, 0.05)  # colours of a step's error; pictures go from -1 to 1
THREE = ("ddpm", "ddim", "dpmpp_2m")  # who is looked at unless told otherwise


class Look(NamedTuple):
    """One step of S samplers, from time t to r < t. All pictures are (S, C, H, W), one of each sampler.

    x      where they stand at t
    x0     the guess of the clean picture there, guided and clipped as the request says; eps: of the noise
    push   c - u, eps with the condition minus eps without: guidance adds w times that to u
    error  where the step landed, minus where the same way taken in steps of 1 lands from the same x
    """

    t: int
    r: int
    x: Tensor
    x0: Tensor
    eps: Tensor
    push: Tensor
    error: Tensor

    def rms(self) -> list[float]:
        """The size of each sampler's error: its root mean square over the pixels."""
        return self.error.square().flatten(1).mean(1).sqrt().tolist()


@torch.no_grad()
def look(model: Denoiser, request: drawing.Request, names: Sequence[str] = THREE) -> list[Look]:
    """Every step of the request's one picture, drawn by each of these samplers; request.sampler is not looked at.

    The reference of `error` is DDIM in single steps: T network calls on S pictures, guided, for the whole way.
    ddpm draws fresh noise in every step; so its "error" is mostly that noise.
    """
    if request.cond is None or len(request.cond) != 1:
        raise ValueError(f"the microscope looks at one picture with a condition, not at cond = {request.cond}")
    s, start = model.schedule, request.start(model, torch.Generator().manual_seed(request.seed))
    ways = [drawing.draw(model, replace(request, sampler=name)) for name in names]
    ways = torch.stack([torch.cat([start, *(step.x.cpu() for step in way)]) for way in ways], 1)  # (N + 1, S, C, H, W)
    cond = request.cond.expand(len(names), *request.cond.shape[1:])
    unconditional, conditional, denoise = (guidance.guide(model, cond, w) for w in (0, 1, request.guidance))
    if request.clip:
        denoise = guidance.clip(denoise, s)
    looks, times = [], s.times(request.steps, request.spacing)
    for t, r, x, landed in zip(times, times[1:], ways.to(next(model.parameters()).device), ways[1:]):
        now, best = full(x, t), x
        for time in range(t, r, -1):
            x0, eps = denoise(best, full(x, time))
            if time == t:
                seen = x, x0, eps, conditional(x, now).eps - unconditional(x, now).eps
            best = q_sample(x0, full(x, time - 1), eps, s)  # a step of DDIM
        looks.append(Look(t, r, *(part.cpu() for part in seen), landed - best.cpu()))
    return looks


def explore(looks: Sequence[Look], names: Sequence[str] = THREE) -> None:
    """A slider over the steps; viewers without a kernel see the guesses and errors of six of them."""
    widgets.explore(lambda step: show(looks[step - 1], names), film(looks, names), step=(1, len(looks), 1, 1))


def show(now: Look, names: Sequence[str] = THREE) -> Picture:
    """One step: a row for each sampler, and beside the pictures the RMS of the error."""
    fig, axes = plot.figure(len(names), 5, width=9.4, height=1.95 * len(names))
    grey, eps, error = ((-1, 1), "gray"), ((-3, 3), "RdBu"), (ERROR, "RdBu")
    columns = {
        f"x at t = {now.t}": (now.x, grey),
        "guess of x0": (now.x0, grey),
        "guess of eps": (now.eps, eps),
        "c - u": (now.push, ((-0.5, 0.5), "RdBu")),
        f"error at t = {now.r}": (now.error, error),
    }
    for i, (name, row, rms) in enumerate(zip(names, axes, now.rms())):
        for ax, (title, (x, (limits, cmap))) in zip(row, columns.items()):
            plot.image(ax, x[i], title if i == 0 else "", limits, cmap)
        row[0].set_ylabel(name)
        row[-1].set_xlabel(f"RMS {rms:.3f}", fontsize=9)
    return Picture(fig)


def film(looks: Sequence[Look], names: Sequence[str] = THREE, panels: int = 6) -> Picture:
    """Some steps side by side: two rows for each sampler, its guess of x0 and the error of the step that it made."""
    last = len(looks) - 1
    chosen = [looks[i] for i in sorted({round(j * last / (panels - 1)) for j in range(panels)})]
    fig, axes = plot.figure(2 * len(names), len(chosen), width=1.3 * len(chosen) + 0.9, height=2.7 * len(names) + 0.3)
    for j, now in enumerate(chosen):
        for i, (name, rms) in enumerate(zip(names, now.rms())):
            guess, error = axes[2 * i][j], axes[2 * i + 1][j]
            plot.image(guess, now.x0[i], f"t = {now.t} to {now.r}" if i == 0 else "")
            plot.image(error, now.error[i], "", ERROR, "RdBu")
            error.set_xlabel(f"{rms:.3f}", fontsize=9)
            if j == 0:
                guess.set_ylabel(f"{name}\nx0")
                error.set_ylabel("error")
    return Picture(fig)
