"""Low-rank adapters (Hu et al. 2021): a frozen layer W plus alpha / rank · B A; A and B are thin, and only they learn.

A starts random and B at zero, so a fresh adapter changes nothing. For a convolution A is one with few outputs and B a
1x1 convolution. Several adapters, told apart by name, can sit on one model and be mixed by their strengths.
"""

import re
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

MATCH = r"to_(q|k|v|out)$"  # cross-attention's four projections


class Adapter(nn.Module):
    """alpha / rank · B A for one layer, times `strength`: 0 is nothing, 1 what was trained."""

    def __init__(self, layer: nn.Linear | nn.Conv2d, rank: int, alpha: float):
        super().__init__()
        self.alpha, self.strength = alpha, 1.0
        self.rank = rank
        if isinstance(layer, nn.Linear):
            self.down = nn.Linear(layer.in_features, rank, bias=False)
            self.up = nn.Linear(rank, layer.out_features, bias=False)
        else:
            same = {key: getattr(layer, key) for key in ("kernel_size", "stride", "padding", "dilation")}
            self.down = nn.Conv2d(layer.in_channels, rank, bias=False, **same)
            self.up = nn.Conv2d(rank, layer.out_channels, 1, bias=False)
        nn.init.zeros_(self.up.weight)
        self.to(layer.weight.device)

    @property
    def factor(self) -> float:
        return self.strength * self.alpha / self.rank

    def forward(self, x: Tensor) -> Tensor:
        return self.factor * self.up(self.down(x))

    def delta(self) -> Tensor:
        """What merging adds to the layer's weight, in its shape."""
        return self.factor * (self.up.weight.flatten(1) @ self.down.weight.flatten(1)).view(
            self.up.weight.shape[0], *self.down.weight.shape[1:]
        )


class LoRA(nn.Module):
    """Stands in a layer's place: base(x) plus all adapters' answers, or the base alone while they are merged."""

    def __init__(self, base: nn.Linear | nn.Conv2d):
        super().__init__()
        self.base, self.adapters, self.original = base, nn.ModuleDict(), None

    def forward(self, x: Tensor) -> Tensor:
        y = self.base(x)
        if self.original is not None:
            return y
        return y + sum(adapter(x) for adapter in self.adapters.values())


class ByHand(nn.Module):
    """A layer with one adapter, asked through answer(x (N, in), W (out, in), A (rank, in), B (out, rank), scale).

    answer gives (N, out). To it a convolution is a matrix too: a row of x is then all that its kernel covers at one
    pixel, in = channels * height * width of the kernel, and N counts the pixels of all pictures.
    """

    def __init__(self, layer: LoRA, answer: Callable):
        super().__init__()
        self.layer, self.answer = layer, answer

    def forward(self, x: Tensor) -> Tensor:
        base, (adapter,) = self.layer.base, self.layer.adapters.values()
        W, A, B = (layer.weight.flatten(1) for layer in (base, adapter.down, adapter.up))
        if isinstance(base, nn.Linear):
            y = self.answer(x.flatten(0, -2), W, A, B, adapter.factor).unflatten(0, x.shape[:-1])
            return y if base.bias is None else y + base.bias
        seen = F.unfold(x, base.kernel_size, base.dilation, base.padding, base.stride).mT  # (B, pixels, in)
        y = self.answer(seen.flatten(0, 1), W, A, B, adapter.factor).unflatten(0, seen.shape[:2]).mT
        y = y.unflatten(2, (-1, x.shape[3] // base.stride[1]))  # (B, out, H, W), as paddings keep or halve a picture
        return y if base.bias is None else y + base.bias.view(-1, 1, 1)


def by_hand(model: nn.Module, answer: Callable) -> nn.Module:
    """Let answer (see ByHand) take the place of every adapted layer's forward; in place, returns the model."""
    for path, layer in layers(model).items():
        model.set_submodule(path, ByHand(layer, answer))
    return model


def layers(model: nn.Module) -> dict[str, LoRA]:
    """The adapted layers by their name in the model without adapters."""
    return {name: module for name, module in model.named_modules() if isinstance(module, LoRA)}


def wrap(
    model: nn.Module, rank: int = 4, alpha: float | None = None, match: str = MATCH, name: str = "default"
) -> nn.Module:
    """Freeze the model and give every linear and convolution layer whose name matches the pattern an adapter.

    In place; returns the model. alpha: rank if None. Call again with another name for a second adapter.
    """
    if not isinstance(rank, int) or rank < 1:
        raise ValueError(f"rank is {rank!r}; it must be a whole number of at least 1")
    try:
        wanted = re.compile(match)
    except re.error as error:
        raise ValueError(f"match is {match!r}, which is no regular expression: {error}") from None
    found = {path: layer for path, layer in plain_layers(model).items() if wanted.search(path)}
    if not found:
        raise ValueError(f"no linear or convolution layer's name matches {match!r}")
    _put(model, {path: (rank, rank if alpha is None else alpha) for path in found}, name)
    return model


def plain_layers(model: nn.Module) -> dict[str, nn.Linear | nn.Conv2d]:
    """The linear and convolution layers by their name in the model without adapters."""
    named = ((path.removesuffix(".base"), module) for path, module in model.named_modules() if ".adapters." not in path)
    return {path: module for path, module in named if isinstance(module, (nn.Linear, nn.Conv2d))}


def _put(model: nn.Module, plan: dict[str, tuple[int, float]], name: str) -> None:
    """New adapters of (rank, alpha) on these layers; all of them or, with a ValueError, none."""
    there = layers(model)
    for path in plan:
        if path in there and name in there[path].adapters:
            raise ValueError(f"{path} already has an adapter named {name!r}")
    _not_merged(model)
    plain = plain_layers(model)
    for path, parameter in model.named_parameters():
        if ".adapters." not in path:
            parameter.requires_grad_(False)
    for path, (rank, alpha) in plan.items():
        holder = there.get(path) or LoRA(plain[path])
        model.set_submodule(path, holder)
        holder.adapters[name] = Adapter(plain[path], rank, alpha)


def _not_merged(model: nn.Module) -> None:
    if any(holder.original is not None for holder in layers(model).values()):
        raise ValueError("unmerge first: the adapters are part of the weights now")


def scale(model: nn.Module, value: float, name: str = "default") -> None:
    """Set one adapter's strength: 0 is the base, 1 what was trained; negative goes the other way."""
    _not_merged(model)
    found = [holder.adapters[name] for holder in layers(model).values() if name in holder.adapters]
    if not found:
        raise ValueError(f"this model has no adapter named {name!r}")
    for adapter in found:
        adapter.strength = value


@torch.no_grad()
def merge(model: nn.Module) -> nn.Module:
    """Add every adapter to its layer's weight: same output, no extra cost. The original weight is kept aside."""
    for holder in layers(model).values():
        if holder.original is None:
            holder.original = holder.base.weight.detach().clone()
            for adapter in holder.adapters.values():
                holder.base.weight += adapter.delta()
    return model


@torch.no_grad()
def unmerge(model: nn.Module) -> nn.Module:
    """Undo merge, bit for bit."""
    for holder in layers(model).values():
        if holder.original is not None:
            holder.base.weight.copy_(holder.original)
            holder.original = None
    return model


def state(model: nn.Module, name: str = "default") -> dict[str, Tensor]:
    """One adapter's tensors: "layer.down" (A), "layer.up" (B) and "layer.alpha"."""
    found = {}
    for path, holder in layers(model).items():
        if name in holder.adapters:
            a = holder.adapters[name]
            found |= {f"{path}.down": a.down.weight, f"{path}.up": a.up.weight, f"{path}.alpha": torch.tensor(a.alpha)}
    return {key: value.detach().clone().contiguous() for key, value in found.items()}


@torch.no_grad()
def load(model: nn.Module, tensors: dict[str, Tensor], name: str = "default") -> nn.Module:
    """Put an adapter's tensors on a model, in place; ValueError names the first layer that does not fit."""
    plan, plain = {}, plain_layers(model)
    strange = [key for key in tensors if key.rsplit(".", 1)[-1] not in ("down", "up", "alpha")]
    if strange:
        raise ValueError(f"this adapter is damaged: nobody knows what {strange[0]} is")
    for path in sorted({key.rsplit(".", 1)[0] for key in tensors}):
        missing = [part for part in ("down", "up", "alpha") if f"{path}.{part}" not in tensors]
        if missing:
            raise ValueError(f"this adapter is damaged: {path}.{missing[0]} is missing")
        if path not in plain:
            raise ValueError(f"this adapter was made for another model: there is no layer {path} here")
        down, up, alpha = (tensors[f"{path}.{part}"] for part in ("down", "up", "alpha"))
        ours = tuple(plain[path].weight.shape)
        theirs = (*up.shape[:1], *down.shape[1:])
        if theirs != ours:
            raise ValueError(f"this adapter was made for another model: its {path} is {theirs}, here it is {ours}")
        if up.numel() != ours[0] * len(down) or len(down) < 1 or alpha.numel() != 1 or not alpha.isfinite():
            raise ValueError(f"this adapter is damaged: the tensors of {path} do not belong together")
        plan[path] = (down, up, alpha.item())
    if not plan:
        raise ValueError("this adapter is empty")
    _put(model, {path: (len(down), alpha) for path, (down, _, alpha) in plan.items()}, name)
    for path, (down, up, _) in plan.items():
        adapter = model.get_submodule(path).adapters[name]
        adapter.down.weight.copy_(down.reshape(adapter.down.weight.shape))
        adapter.up.weight.copy_(up.reshape(adapter.up.weight.shape))
    return model
