"""Who listens to whom in a UNet with tokens: watch it, or change it for as long as a `with` block lasts.

Afterwards, however the block ends, the network is as it was. Hertz et al. 2022 edit pictures by such changes.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from .attention import TokenBlock
from .unet import Stage, UNet


def blocks(network: UNet) -> dict[str, TokenBlock]:
    """All blocks that ask the tokens, in the order in which a picture passes them: "1 down", "2 down", ... "6 up"."""

    def passed(stage: Stage) -> Iterator[tuple[str, TokenBlock]]:
        yield from (("down", block) for block in stage.down_ask or ())
        if stage.inner is not None:
            yield from passed(stage.inner)
        yield from (("up", block) for block in stage.up_ask or ())

    return {f"{number} {way}": block for number, (way, block) in enumerate(passed(network.body), start=1)}


@contextmanager
def recorded(blocks: dict[str, TokenBlock]) -> Iterator[dict[str, list[Tensor]]]:
    """What each block's pixels take from each token: the weights (B, heads, N, L) of every call, by the block's name.

    Under guidance the first half of B belongs to the empty condition. Weights are those of the softmax: `mixed` is
    without effect while they are recorded.
    """
    found = {name: [] for name in blocks}

    def keep(name: str) -> Callable:
        return lambda attend, inputs, answer: found[name].append(attend.maps)

    hooks = [block.attend.register_forward_hook(keep(name)) for name, block in blocks.items()]
    with _set([block.attend for block in blocks.values()], keep=True, maps=None):
        try:
            yield found
        finally:
            for hook in hooks:
                hook.remove()


@contextmanager
def mixed(blocks: Iterable[TokenBlock], mix: Callable[[Tensor, Tensor, Tensor, Tensor | None], Tensor]) -> Iterator:
    """These blocks attend by mix(q, k, v, mask) in the place of softmax(Q Kᵀ / sqrt(d)) V.

    q (B, heads, N, d); k, v (B, heads, L, d); the answer is (B, heads, N, d). mask: None, or which tokens are read.
    """
    with _set([block.attend for block in blocks], mix=mix):
        yield


def each(attention: Callable[[Tensor, Tensor, Tensor], Tensor]) -> Callable[..., Tensor]:
    """A `mix` out of attention(q (N, d), k (L, d), v (L, d)) -> (N, d) of one head of one picture. It knows no mask."""

    def mix(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
        heads = zip(*(z.flatten(0, 1) for z in (q, k, v)))
        return torch.stack([attention(*head) for head in heads]).unflatten(0, q.shape[:2])

    return mix


@contextmanager
def told(network: UNet, blocks: Iterable[TokenBlock], instead: Callable[[Tensor], Tensor]) -> Iterator:
    """These blocks hear instead(cond), and all others cond (B, L), the condition that the network is asked for.

    Under guidance cond holds the empty conditions too; instead should leave them empty.
    """
    heard = []

    def hear(network: UNet, inputs: tuple) -> None:
        x, _, cond = inputs
        heard[:] = [network.config.condition.hear(network.condition, instead(network.check(x, cond)))]

    def swap(block: TokenBlock, inputs: tuple) -> tuple:
        return inputs[0], heard[0].tokens, heard[0].there

    hooks = [network.register_forward_pre_hook(hear), *(block.register_forward_pre_hook(swap) for block in blocks)]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


@contextmanager
def placeless(blocks: Iterable[TokenBlock]) -> Iterator:
    """The pixels of these blocks ask without being told their places."""
    with _set(blocks, placed=False):
        yield


@contextmanager
def _set(modules: Iterable[nn.Module], **values) -> Iterator:
    before = [(module, name, getattr(module, name)) for module in modules for name in values]
    try:
        for module, name, _ in before:
            setattr(module, name, values[name])
        yield
    finally:
        for module, name, value in before:
            setattr(module, name, value)
