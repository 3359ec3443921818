"""Scores of pictures, of models, and the scoreboard. Every score stands beside what real pictures score."""

import platform
from collections.abc import Callable, Iterable
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from .. import checkpoint
from ..core.denoiser import Denoiser
from ..data.images import Images
from ..data.numbers import Numbers, seen, unseen
from ..drawing import Request, pictures
from .judge import DIGITS, JUDGES, Reference, reference
from .metrics import frechet, frechet_ratio, nearest, precision_recall


def score(drawn: Tensor, asked: Tensor | None, real: Reference) -> dict:
    """Scores of any pictures (N, C, H, W) in [-1, 1], ours or a peer's, and under "floor" what as many real ones score.

    frechet: lower is better; n matters, so drawn and real should be as many. recognised: share of which the judge is
    more than 90 % sure. precision, recall: Kynkäänniemi et al. 2019. accuracy: share judged to be what was asked for.
    """
    probabilities, features = real.look(drawn)
    precision, recall = precision_recall(real.features, features)
    scores = {
        "samples": len(drawn),
        "data": real.test.name,
        "frechet": frechet(real.features, features),
        "recognised": (probabilities.amax(1) > 0.9).float().mean().item(),
        "precision": precision,
        "recall": recall,
    }
    if asked is not None:
        scores["accuracy"] = real.right(drawn, asked).float().mean().item()
    return scores | {"floor": dict(real.floor)}


def score_model(
    model: Denoiser,
    test: Images,
    how,
    hidden: int | None = None,
    train: Images | None = None,
    bar: Callable[..., Iterable] = lambda steps, total=0: steps,
) -> dict:
    """Scores of a model's pictures, drawn as `how` says (samples, sampler, steps, spacing, guidance, seed, against).

    Labels or single tokens are asked for equally often. hidden: also two-digit numbers, as many of each kind. train:
    also the median RMS difference of 100 pictures to the nearest training picture; far below the floor: copies.
    """
    device = next(model.parameters()).device
    real = reference(test.to(device), how.samples, how.seed)
    cond = model.condition.spread(how.samples) if model.condition else None
    options = how.options(asked=cond is not None)
    size = tuple(test.images.shape[2:])
    request = Request(cond, how.samples, size=size, **options)
    drawn = pictures(model, request, bar)
    asked = None if cond is None else cond.reshape(len(cond), -1)[:, 0]
    scores = options | score(drawn, asked, real) | {"hardware": hardware(device)}
    if how.against:
        base = pictures(model, replace(request, sampler="ddpm", steps=how.against, spacing="uniform"), bar)
        far, near = real.look(drawn)[1], real.look(base)[1]
        compared = {"sampler": "ddpm", "steps": how.against, "frechet": frechet(real.features, near)}
        scores["against"] = compared | frechet_ratio(real.features, far, near)
    if train is not None:
        train, few = train.to(device), torch.arange(100) * len(test) // 100
        scores["nearest"] = nearest(drawn[:100], train)[1].median().item()
        scores["floor"]["nearest"] = nearest(test.to(device).pictures(few), train)[1].median().item()
    if hidden is not None:
        scores["numbers"] = score_numbers(model, real, hidden, how, bar)
    return scores


def score_numbers(
    model: Denoiser, real: Reference, hidden: int, how, bar: Callable[..., Iterable] = lambda steps, total=0: steps
) -> dict:
    """Share of two-digit numbers with both digits right: seen, unseen, and real ones; how.samples of each kind."""
    height, width = real.test.images.shape[2:]
    kinds = {"seen": seen(hidden)} | ({"unseen": unseen(hidden)} if hidden else {})
    options = how.options() | {"size": (height, 2 * width)}
    shares = {}
    for kind, numbers in kinds.items():
        asked = torch.tensor(numbers)[torch.arange(how.samples) % len(numbers)]  # (N, 2)
        shares[kind] = real.right(pictures(model, Request(asked, **options), bar), asked).float().mean().item()
    every = torch.tensor(seen(0))[torch.arange(how.samples) % 100]
    x, _ = Numbers(real.test).draw(every, torch.Generator().manual_seed(how.seed))
    return {"samples": how.samples, "hidden": hidden} | shares | {"real": real.right(x, every).float().mean().item()}


@torch.no_grad()
def test_loss(model: nn.Module, test: Images, count: int = 2000, size: int = 100) -> float:
    """The loss on the first `count` test pictures, with the same times and noise whenever it is asked."""
    generator = torch.Generator().manual_seed(0)
    parts = [slice(i, i + size) for i in range(0, min(count, len(test)), size)]
    losses = [model.loss(test.pictures(part), test.labels[part], generator) for part in parts]
    return torch.stack(losses).mean().item()


def cost(model: Denoiser, size: int = 28) -> float:
    """Millions of multiply-adds of one network call on one picture."""
    x = torch.zeros(1, model.network.config.channels, size, size, device=next(model.parameters()).device)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(x, torch.ones(1, dtype=torch.int64, device=x.device))
    return counter.get_total_flops() / 2e6


def hardware(device: torch.device) -> str:
    """The device's name, for the record of what was measured where."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    if device.type == "mps":
        return f"MPS {platform.machine()}"
    return f"CPU {platform.processor() or platform.machine()}, {torch.get_num_threads()} threads"


def scoreboard(names: list[str] | None = None) -> str:
    """One row per pretrained model of digits, from the scores in its weight file: other judges have other scales."""
    rows = ["model         params  MMACs  pictures seen  Fréchet (real)  recognised (real)  precision  recall"]
    for name, about in checkpoint.kept("denoiser").items():
        s = about.get("scores") or {}
        if names and name not in names or "frechet" not in s or JUDGES.get(about["data"]) is not DIGITS:
            continue  # not asked for, or no pictures of single digits
        f = s["floor"]
        rows.append(
            f"{name:13} {about['parameters'] / 1e6:5.2f}M {about['mmacs']:6.1f} {about['images']:14,} "
            f"{s['frechet']:8.2f} ({f['frechet']:.2f}) {s['recognised']:11.3f} ({f['recognised']:.3f}) "
            f"{s['precision']:10.2f} {s['recall']:7.2f}"
        )
    return "\n".join(rows)
