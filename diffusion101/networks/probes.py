"""Looking into a UNet: what its parts answer, what one pixel of its answer depends on, what a cut path takes away."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor, nn

from .blocks import Down, ResBlock, Up
from .unet import UNet


@torch.no_grad()
def answers(network: UNet, x: Tensor, t: Tensor) -> dict[str, Tensor]:
    """What each part answered, by name ("down.0", "inner.shrink", ...), in the order of computation; x, t as UNet's.

    A forward hook is a function that PyTorch calls when a module has answered.
    """
    kept: dict[str, Tensor] = {}

    def keep(name: str, module: nn.Module, args: tuple, answer: Tensor) -> None:
        kept[name] = answer

    parts = {name.removeprefix("body."): module for name, module in network.named_modules()}
    parts = {name: part for name, part in parts.items() if isinstance(part, ResBlock | Down | Up)}
    parts |= {"conv_in": network.conv_in, "conv_out": network.conv_out}
    hooks = [part.register_forward_hook(partial(keep, name)) for name, part in parts.items()]
    try:
        network(x, t)
    finally:
        for hook in hooks:
            hook.remove()
    return kept


@contextmanager
def paths(network: UNet, inner: float = 1.0, past: float = 1.0, skip: float = 1.0) -> Iterator[None]:
    """While the block lasts, factors on the three paths into the first block up at full size; 0 cuts a path.

    That block reads h + grow(...) and the skip, which is the same h: inner is for grow(...), all that comes from the
    smaller stages; past for the h that it is added to; skip for the skip.
    """

    def weigh(block: nn.Module, args: tuple) -> tuple:
        both, h = args[0].chunk(2, dim=1)  # (B, C, H, W) each
        return torch.cat([past * h + inner * (both - h), skip * h], dim=1), *args[1:]

    hook = network.body.up[0].register_forward_pre_hook(weigh)
    try:
        yield
    finally:
        hook.remove()


class StillNorm(nn.Module):
    """nn.GroupNorm with the same values, but no gradient through its means and variances."""

    def __init__(self, norm: nn.GroupNorm):
        super().__init__()
        self.norm = norm

    def forward(self, h: Tensor) -> Tensor:
        groups = h.unflatten(1, (self.norm.num_groups, -1))  # (B, G, C/G, H, W)
        variance, mean = torch.var_mean(groups.detach(), (2, 3, 4), correction=0, keepdim=True)
        h = ((groups - mean) / (variance + self.norm.eps).sqrt()).flatten(1, 2)  # (B, C, H, W)
        return h * self.norm.weight[:, None, None] + self.norm.bias[:, None, None]


def sensitivity(network: UNet, x: Tensor, t: int, row: int, column: int, norms: bool = True) -> Tensor:
    """x (B, C, H, W) -> (B, H, W): size of the gradient of one pixel of the answer with respect to each pixel of x.

    norms=False sees the convolutions alone: the statistics of the norms, which are those of the whole picture, count
    as constants. In float64, so that a zero is a zero.
    """
    network = copy.deepcopy(network).double()
    if not norms:
        for module in list(network.modules()):
            for name, child in module.named_children():
                if isinstance(child, nn.GroupNorm):
                    setattr(module, name, StillNorm(child))
    x = x.double().requires_grad_()
    answer = network(x, torch.full((len(x),), t, device=x.device))
    return torch.autograd.grad(answer[..., row, column].sum(), x)[0].abs().sum(1)
