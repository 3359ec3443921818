"""Of training: the loss, the data, the averaged weights, adapters, and fresh networks."""

import copy
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .entry import invariant, most, not_normal
from .subject import Subject


@invariant("the noise in training is normal", "uniform noise", "loss")
def normal_training(a: Subject) -> str:
    return not_normal(torch.cat([eps for eps, _ in a.shown]))


@invariant("in training x_t holds as much noise as t says", "variance for standard deviation", "loss")
def training_spread(a: Subject) -> str:
    size = torch.cat([eps for eps, _ in a.shown]).square().mean().sqrt().item()
    return "" if 0.95 < size < 1.05 else f"{size:.2f} times as much"


@invariant("training asks for every t from 1 to T", "times of training that miss some", "loss")
def all_times(a: Subject) -> str:
    t = torch.cat([t for _, t in a.shown])
    low, high = t.min().item(), t.max().item()
    reach = max(1.0, 12 * a.T / len(t))  # missed once in e^12 runs
    return "" if 1 <= low <= reach and a.T - reach < high <= a.T else f"they went from {low} to {high}, T = {a.T}"


@invariant("data reaches from -1 to 1", "normalisation to [0, 1]", "data")
def data_range(a: Subject) -> str:
    low, high = a.data.min().item(), a.data.max().item()
    return "" if -1.01 < low < -0.5 and 0.5 < high < 1.01 else f"it reaches from {low:.3g} to {high:.3g}"


@invariant("an average forgets its first weights in 200 steps", "cold average", "ema")
def forgets(a: Subject) -> str:
    weight = a.ema(*_changing())
    kept = 1 - weight.weight.mean().item()
    return "" if kept < 0.5 else f"{kept:.0%} are left"


@invariant("an average copies buffers", "averaged buffers", "ema")
def copies_buffers(a: Subject) -> str:
    table = a.ema(*_changing()).table.mean().item()
    return "" if table == 200 else f"a buffer at 200 is {table:.4g} in the average"


@invariant("an adapter's effect grows as alpha", "LoRA scaled twice", "lora")
def adapter_factor(a: Subject) -> str:
    one, three = (_effect(a, alpha) for alpha in (2.0, 6.0))
    times = (three.norm() / one.norm()).item()
    return "" if abs(times - 3) < 0.01 else f"three times the alpha has {times:.3g} times the effect"


@invariant("a fresh adapter changes nothing", "an adapter that is not born the identity", "lora")
def adapter_born_zero(a: Subject) -> str:
    off = most(_effect(a, 4.0, fresh=True))
    return "" if off < 1e-6 else f"it changes answers by {off:.2g}"


@invariant("every parameter gets a gradient within ten steps", "zero behind a zero", "network")
def all_learn(a: Subject) -> str:
    network = copy.deepcopy(a.network).train()
    learned = {name: p for name, p in network.named_parameters() if p.requires_grad}
    n = 4 if a.cond is None else len(a.cond)
    x, wanted, told = torch.randn(n, *a.shape), torch.randn(n, *a.shape), () if a.cond is None else (a.cond,)
    t, silent = torch.linspace(1, a.T, n).long(), set(learned)
    for _ in range(10):
        F.mse_loss(network(x, t, *told), wanted).backward()
        for name, p in learned.items():
            if p.grad is not None and p.grad.any():
                silent.discard(name)
                p.data -= 1e-3 * p.grad.sign()
            p.grad = None
    return f"none for {', '.join(sorted(silent)[:3])}{' ...' if len(silent) > 3 else ''}" if silent else ""


def _changing() -> tuple[nn.Module, Iterator[int]]:
    """A module, and 200 steps that change it: its weight is 0 in the first and 1 ever after, its table counts."""
    module = nn.Linear(4, 4, bias=False)
    module.register_buffer("table", torch.zeros(4))

    def steps() -> Iterator[int]:
        for step in range(1, 201):
            with torch.no_grad():
                module.weight.fill_(float(step > 1))
                module.table.fill_(float(step))
            yield step

    return module, steps()


def _effect(a: Subject, alpha: float, fresh: bool = False) -> Tensor:
    """What an adapter of rank 2 adds to a layer's answer, with the same random values in it each time."""
    g = torch.Generator().manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 8))
    x = torch.randn(5, 8, generator=g)
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(torch.randn(p.shape, generator=g))
        before = model(x)
        adapted = a.lora(model, 2, alpha)
        for p in adapted.parameters():
            if p.requires_grad and not fresh:
                p.copy_(torch.randn(p.shape, generator=g))
        return adapted(x) - before
