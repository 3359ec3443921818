"""Of the schedule, the denoiser and the sampler, which every diffusion model has; and of guidance."""

import torch
from torch import Tensor

from ...core.process import Denoised
from ...networks.conditions import Labels
from .entry import invariant, most, not_normal
from .subject import Subject


@invariant("alpha_bar[0] is 1: index 0 is clean data", "betas one off")
def clean_start(a: Subject) -> str:
    first = a.alpha_bar[0].item()
    return "" if abs(first - 1) < 1e-6 else f"alpha_bar[0] is {first:.6g}"


@invariant("alpha_bar is the product of 1 - beta", "betas one off", "schedule.beta")
def product(a: Subject) -> str:
    betas = torch.as_tensor(a.schedule.beta).double().cpu()
    off = (torch.cumprod(1 - betas, 0) - a.alpha_bar).abs().max().item() if betas.shape == a.alpha_bar.shape else 1.0
    return "" if off < 1e-4 else f"they differ by up to {off:.2g}"


@invariant("alpha_bar falls, and stays in [0, 1]", "a table that does not fall")
def falls(a: Subject) -> str:
    rises = int((a.alpha_bar.diff() >= 0).sum())
    inside = a.alpha_bar.min() >= 0 and a.alpha_bar.max() <= 1
    return "" if rises == 0 and inside else f"{rises} of {a.T} steps do not fall"


@invariant("hardly any picture is left at T", "a schedule that ends too early")
def ends_in_noise(a: Subject) -> str:
    """Lin et al. 2023, "Common diffusion noise schedules and sample steps are flawed", section 3.1."""
    left = a.alpha_bar[-1].sqrt().item()
    return "" if left < 0.05 else f"signal[T] is {left:.3f}"


@invariant("x = signal x0 + noise eps", "x0 and eps that contradict each other")
def explains(a: Subject) -> str:
    x, t = a.mixed
    x0, eps = a.ask(x, t)
    signal, noise = a.levels(t, x)
    off = most(signal * x0 + noise * eps - x)
    return "" if off < 1e-3 else f"off by {off:.2g}"


@invariant("a picture's answer depends on its own t alone", "time along the batch axis")
def own_time(a: Subject) -> str:
    x, t = a.mixed
    together = a.ask(x, t)
    off = max(
        _apart(a.ask(x[i : i + 1], t[i : i + 1]), Denoised(*(z[i : i + 1] for z in together))) for i in (0, -1 % a.few)
    )
    return "" if off < 0.01 else f"alone and in a batch differ by {off:.2g}"


@invariant("the same question has the same answer", "dropout in evaluation")
def repeats(a: Subject) -> str:
    off = _apart(a.ask(*a.mixed), a.ask(*a.mixed))
    return "" if off < 1e-3 else f"two answers differ by {off:.2g}"


@invariant("no guess is larger than data can be", "no clipping with eps")
def in_range(a: Subject) -> str:
    """Pictures in [-1, 1] have a root mean square of at most 1."""
    most = max(step.x0.square().mean().sqrt().item() for step in a.drawn)
    return "" if most < 1.5 else f"a guess of size {most:.3g} where 1 is the most"


@invariant("no step believes a guess made from pure noise", "eps from pure noise in few steps")
def first_guess(a: Subject) -> str:
    """At T nothing is known, so all guesses should agree; where they do not, the first step puts that into x."""
    first = a.drawn[0]
    spread = first.x0.clamp(-1, 1).std(0).square().mean().sqrt().item()
    heard = a.alpha_bar[first.t].sqrt().item() * spread
    return "" if heard < 0.05 else f"chance of size {heard:.2f} in x after step 1 of {a.steps}"


@invariant("sampling starts at T", "a sampler that starts too late")
def starts_at_T(a: Subject) -> str:
    """Lin et al. 2023, section 3.3."""
    first = a.known[1][0].asked
    return "" if first == a.T else f"its first t is {first} of {a.T}"


@invariant("sampling ends at t = 0, on the last guess itself", "noise at the last step")
def ends_clean(a: Subject) -> str:
    x0, path = a.known
    if path[-1].t != 0:
        return f"its last t is {path[-1].t}"
    off = (path[-1].x - x0).square().mean().sqrt().item()
    return "" if off < 2e-3 else f"noise of {off:.2g} on the finished picture"


@invariant("on the way x_t holds as much noise as t says", "variance for standard deviation")
def right_spread(a: Subject) -> str:
    """Of data that is one picture, x_t - signal x0 is noise eps; larger variances than the posterior's hardly show."""
    x0, path = a.known
    for step in path:
        if 0.25 * a.T <= step.t <= 0.75 * a.T:
            signal, noise = a.levels(torch.tensor([step.t]), step.x)
            ratio = ((step.x - signal * x0) / noise).square().mean().sqrt().item()
            if not 0.85 < ratio < 1.2:
                return f"{ratio:.2f} times as much at t = {step.t}"
    return ""


@invariant("a step's fresh noise is normal", "uniform noise")
def normal_steps(a: Subject) -> str:
    """All pixels start at 0 and the data is 0, so after one step they hold nothing but fresh noise."""
    zero = torch.zeros(a.many, *a.shape)
    x = next(a.run(a.knows(zero[0]), zero, min(50, a.T))).x
    return not_normal(x) if most(x) > 0 else ""


@invariant("guidance goes towards the condition", "guidance with the wrong sign", "guide")
def right_way(a: Subject) -> str:
    w = _guided(a, 3.0).median().item()
    return "" if w > 0 else f"w = 3 goes {w:.3g} (c - u)"


@invariant("guidance is u + w (c - u): w = 1 is the condition", "w against 1 + w", "guide")
def from_u(a: Subject) -> str:
    w = abs(_guided(a, 3.0).median().item())
    return "" if abs(w - 3) < 1e-3 else f"w = 3 counts as {w:.3g}"


@invariant("every picture hears its condition", "label dropout while sampling", "guide")
def all_hear(a: Subject) -> str:
    deaf = int((_guided(a, 3.0).abs() < 1e-3).sum())
    return "" if deaf == 0 else f"{deaf} of 250 hear nothing"


def _apart(a: Denoised, b: Denoised) -> float:
    """The largest difference of two answers, of what x0 and eps usually are (1)."""
    return max(most((p - q) / (1 + p.abs())) for p, q in zip(a, b))


class _Mock:
    """Answers with a tenth of the label, and -1 to the label 10, that of nobody."""

    condition = Labels(10)

    def __call__(self, x: Tensor, t: Tensor, cond: Tensor | None = None) -> Denoised:
        cond = self.condition.empty(len(x)) if cond is None else cond
        value = torch.where(cond == 10, -1.0, cond / 10).view(-1, *[1] * (x.ndim - 1)).expand_as(x)
        return Denoised(value, value)


def _guided(a: Subject, scale: float) -> Tensor:
    """How often c - u was added to u in each of 250 pictures (250,): scale, if all is well."""
    cond, model = torch.arange(250) % 10, _Mock()
    x, t = torch.zeros(250, *a.shape), torch.ones(250, dtype=torch.int64)
    answer = a.guide(model, cond, scale)(x, t)
    got = (answer if isinstance(answer, Tensor) else answer[1]).flatten(1).mean(1)
    return (got + 1) / (cond / 10 + 1)
