"""Low-rank adapters (Hu et al. 2021): a frozen layer W plus scale · B A, where A and B are thin and only they learn.

A starts random and B at zero, so a fresh adapter changes nothing. For a convolution A is one with few outputs and B a
1x1 convolution. Several adapters, told apart by name, can sit on one model and be mixed by their scales.
"""

import re

import torch
from torch import Tensor, nn

MATCH = r"to_(q|k|v|out)$"  # cross-attention's four projections


class Adapter(nn.Module):
    """B A for one layer; `scale` is alpha / rank at first."""

    def __init__(self, layer: nn.Linear | nn.Conv2d, rank: int, alpha: float):
        super().__init__()
        self.alpha, self.scale = alpha, alpha / rank
        if isinstance(layer, nn.Linear):
            self.down = nn.Linear(layer.in_features, rank, bias=False)
            self.up = nn.Linear(rank, layer.out_features, bias=False)
        else:
            same = {key: getattr(layer, key) for key in ("kernel_size", "stride", "padding", "dilation")}
            self.down = nn.Conv2d(layer.in_channels, rank, bias=False, **same)
            self.up = nn.Conv2d(rank, layer.out_channels, 1, bias=False)
        nn.init.zeros_(self.up.weight)
        self.to(layer.weight.device)

    def forward(self, x: Tensor) -> Tensor:
        return self.scale * self.up(self.down(x))

    def delta(self) -> Tensor:
        """What merging adds to the layer's weight, in its shape."""
        return self.scale * (self.up.weight.flatten(1) @ self.down.weight.flatten(1)).view(
            self.up.weight.shape[0], *self.down.weight.shape[1:]
        )


class LoRA(nn.Module):
    """Stands in a layer's place: base(x) plus all adapters' answers, or the base alone while they are merged."""

    def __init__(self, base: nn.Linear | nn.Conv2d):
        super().__init__()
        self.base, self.adapters, self.original = base, nn.ModuleDict(), None
        base.requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        y = self.base(x)
        if self.original is not None:
            return y
        return y + sum(adapter(x) for adapter in self.adapters.values())


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
    model.requires_grad_(False)
    for path, layer in list(model.named_modules()):
        inside = path.removesuffix(".base") if path.endswith(".base") else path
        if not isinstance(layer, (nn.Linear, nn.Conv2d)) or not re.search(match, inside) or ".adapters." in path:
            continue
        holder = model.get_submodule(inside)
        if not isinstance(holder, LoRA):
            holder = LoRA(layer)
            model.set_submodule(inside, holder)
        if name in holder.adapters:
            raise ValueError(f"{inside} already has an adapter named {name!r}")
        holder.adapters[name] = Adapter(layer, rank, rank if alpha is None else alpha)
    if not any(name in holder.adapters for holder in layers(model).values()):
        raise ValueError(f"no linear or convolution layer's name matches {match!r}")
    return model


def scale(model: nn.Module, value: float, name: str = "default") -> None:
    """Set one adapter's scale: 0 is the base, alpha / rank what was trained; negative goes the other way."""
    for holder in layers(model).values():
        if holder.original is not None:
            raise ValueError("unmerge first: the adapters are part of the weights now")
        if name in holder.adapters:
            holder.adapters[name].scale = value


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
    plan = {}
    for path in sorted({key.rsplit(".", 1)[0] for key in tensors}):
        down, up = tensors[f"{path}.down"], tensors[f"{path}.up"]
        try:
            layer = model.get_submodule(path)
        except AttributeError:
            raise ValueError(f"this adapter was made for another model: there is no layer {path} here") from None
        weight = (layer.base if isinstance(layer, LoRA) else layer).weight
        if (up.shape[0], *down.shape[1:]) != tuple(weight.shape):
            theirs = (up.shape[0], *down.shape[1:])
            raise ValueError(
                f"this adapter was made for another model: its {path} is {theirs}, here it is {tuple(weight.shape)}"
            )
        plan[path] = (down, up, float(tensors[f"{path}.alpha"]))
    for path, (down, up, alpha) in plan.items():
        wrap(model, down.shape[0], alpha, f"^{re.escape(path)}$", name)
        adapter = model.get_submodule(path).adapters[name]
        adapter.down.weight.copy_(down)
        adapter.up.weight.copy_(up)
    return model
