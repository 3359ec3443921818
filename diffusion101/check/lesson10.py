"""Lesson 10: a block that resizes, adaptive group norm, a variance between two bounds, both sides of a picture."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .exercise import exercise, normal

__all__ = ["adaptive_norm", "both_sides", "resizing_block", "variance_between"]


def _halve(x: Tensor) -> Tensor:
    return F.avg_pool2d(x, 2)


def _double(x: Tensor) -> Tensor:
    return x.repeat_interleave(2, 2).repeat_interleave(2, 3)


def _layers(width: int, wider: int, seed: int) -> nn.ModuleDict:
    """The layers of a block, none of them at zero."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        made = nn.ModuleDict(
            {
                "norm1": nn.GroupNorm(1, width),
                "conv1": nn.Conv2d(width, wider, 3, padding=1),
                "norm2": nn.GroupNorm(1, wider),
                "conv2": nn.Conv2d(wider, wider, 3, padding=1),
                "skip": nn.Conv2d(width, wider, 1),
            }
        )
        for parameter in made.parameters():
            nn.init.normal_(parameter, std=0.5)
    return made.requires_grad_(False)


@exercise(
    cases=lambda: [
        (normal(2, 4, 8, 8), *_layers(4, 6, 0).values(), _halve),
        (normal(1, 3, 4, 4, seed=1), *_layers(3, 2, 1).values(), _double),
    ],
    done="Correct: this is how BigGAN shrinks and grows, and with nothing to resize it is lesson 01's residual block.",
    within=2e-3,
    mistakes={
        "Resize before the first convolution, not after it: so that it works on what the block hands on.": dict(
            when="conv1"
        ),
        "Resize after the SiLU: the mean of SiLUs is not the SiLU of the mean.": dict(when="norm1"),
        "Resize inside the block, after norm and SiLU; x itself is resized only on the way around.": dict(when="x"),
        "Resize at the beginning of the block: you did it at its end, after the second convolution.": dict(when="end"),
        "The way around is missing: add skip(resize(x)).": dict(around=False),
        "The way around must not be normalised: skip(resize(x)) takes x as it came.": dict(around="normed"),
        "The first SiLU is missing.": dict(first=False),
        "The second SiLU is missing.": dict(second=False),
        "The first norm is missing.": dict(norms="second"),
        "The second norm is missing.": dict(norms="first"),
        "Both norms are missing.": dict(norms=""),
        "Norm first, then SiLU: you exchanged the two.": dict(turned=True),
    },
)
def resizing_block(
    x: Tensor,
    norm1: Callable,
    conv1: Callable,
    norm2: Callable,
    conv2: Callable,
    skip: Callable,
    resize: Callable,
    when="silu",
    around: bool | str = True,
    first=True,
    second=True,
    norms="first second",
    turned=False,
) -> Tensor:
    """resizing_block(x, norm1, conv1, norm2, conv2, skip, resize): a residual block that resizes, inside and around it.

    x (B, C, H, W); resize halves or doubles height and width.
    """

    def same(h: Tensor) -> Tensor:
        return h

    def early(h: Tensor, norm: Callable, silu: bool) -> Tensor:
        act = F.silu if silu else same
        return norm(act(h)) if turned else act(norm(h))

    def at(place: str) -> Callable:
        return resize if when == place else same

    before = norm1 if "first" in norms else same
    if when == "norm1":
        h = F.silu(resize(before(x))) if first else resize(before(x))
    else:
        h = at("silu")(early(at("x")(x), before, first))
    h = at("conv1")(conv1(h))
    h = at("end")(conv2(early(h, norm2 if "second" in norms else same, second)))
    if not around:
        return h
    return skip(resize(norm1(x) if around == "normed" else x)) + h


@exercise(
    cases=lambda: [
        (2 * normal(2, 6, 3, 2) + 1, normal(2, 6, seed=1), normal(2, 6, seed=2), 2),
        (normal(3, 4, 2, 2, seed=3) - 2, normal(3, 4, seed=4), normal(3, 4, seed=5), 4),
    ],
    done="Correct: the norm brings every group to one size, and the embedding decides the size of every channel.",
    mistakes={
        "That is a norm over the whole picture: each group of channels has its own mean and spread.": dict(
            over="picture"
        ),
        "That is a norm of every channel by itself (instance norm): a group has several.": dict(over="channel"),
        "That is a norm over the batch: no picture may depend on the others beside it.": dict(over="batch"),
        "Divide by the root of the variance, not by the variance.": dict(root=False),
        "The spread alone is brought to 1: the mean of the group stays; take it away.": dict(centred=False),
        "The means are gone, but the spread is what it was: divide by the root of the variance.": dict(divided=False),
        "1 + scale, not scale: at birth scale is 0, and the block would be closed.": dict(one=0),
        "scale and shift have changed places.": dict(swap=True),
        "Multiply first, then add: the shift must not be scaled.": dict(late=False),
        "The shift is missing.": dict(shifts=0),
        "The scale is missing.": dict(scales=0),
        "You scaled before the norm, which takes it away again: the norm comes first.": dict(before=True),
        "The variance is the mean of the squares: divide by their number, not by one less (unbiased=False).": dict(
            less=True
        ),
    },
)
def adaptive_norm(
    h: Tensor,
    scale: Tensor,
    shift: Tensor,
    groups: int,
    over="group",
    root=True,
    centred=True,
    divided=True,
    one=1,
    swap=False,
    late=True,
    shifts=1,
    scales=1,
    before=False,
    less=False,
) -> Tensor:
    """adaptive_norm(h, scale, shift, groups): group norm of h (B, C, H, W), then h (1 + scale) + shift, both (B, C).

    1e-5 is added to the variance, which no test here can see.
    """
    scale, shift = (shift, scale) if swap else (scale, shift)
    scale, shift = scales * scale[:, :, None, None], shifts * shift[:, :, None, None]
    if before:
        h = h * (one + scale) + shift
    kept = {"picture": 1, "channel": h.shape[1]}.get(over, groups)
    parts = h.reshape(len(h), kept, -1)  # (B, groups, the group's values)
    dims = (0, 2) if over == "batch" else 2
    mean, var = parts.mean(dims, keepdim=True), parts.var(dims, keepdim=True, unbiased=less)
    size = (var + 1e-5) ** (0.5 if root else 1.0) if divided else 1.0
    parts = (parts - mean) / size if centred else (parts - mean) / size + mean
    h = parts.reshape(h.shape)
    if before:
        return h
    return h * (one + scale) + shift if late else (h + shift) * (one + scale)


@exercise(
    cases=lambda: [
        (torch.tensor([0.0, 0.25, 0.5, 1.0]), 0.02, 0.005),
        (torch.tensor([[0.9, 0.1], [0.3, 0.6]]), 0.5, 0.4),
    ],
    done="Correct: half way between two variances is the root of their product.",
    mistakes={
        "Half way in the logarithm, not in the variance itself: mix the logs, then take exp.": dict(scale="plain"),
        "You mixed the roots of the two; mix their logarithms.": dict(scale="root"),
        "That is the logarithm of the variance: exp is missing.": dict(scale="log"),
        "The ends are exchanged: share 1 is beta, share 0 the posterior's variance.": dict(turned=True),
        "That is the spread: the variance is its square.": dict(power=0.5),
        "exp undoes log; 10 to the power of it does not.": dict(scale="ten"),
        "You multiplied the two weighted logarithms: add them.": dict(scale="product"),
    },
)
def variance_between(share: Tensor, beta: float, tilde: float, scale="", turned=False, power=1.0) -> Tensor:
    """variance_between(share, beta, tilde): exp(share log beta + (1 - share) log tilde)."""
    share = 1 - share if turned else share
    b, a = torch.tensor(beta, dtype=torch.float64), torch.tensor(tilde, dtype=torch.float64)
    mixed = {
        "plain": share * b + (1 - share) * a,
        "root": (share * b.sqrt() + (1 - share) * a.sqrt()).square(),
        "log": share * b.log() + (1 - share) * a.log(),
        "ten": 10 ** (share * b.log() + (1 - share) * a.log()),
        "product": (share * b.log() * (1 - share) * a.log()).exp(),
    }
    return mixed.get(scale, (share * b.log() + (1 - share) * a.log()).exp()) ** power


def _lopsided(x: Tensor) -> Tensor:
    """Some denoiser's guess: it depends on where a pixel stands, and in which picture and colour."""
    weights = torch.linspace(0.2, 1.4, x.numel()).view(x.shape)
    return (x * weights).tanh() + 0.3 * x.roll(1, -1)


@exercise(
    cases=lambda: [(_lopsided, normal(2, 3, 4, 4)), (_lopsided, normal(3, 1, 2, 6, seed=1))],
    done="Correct: whatever it says of a picture, it says of the mirrored picture mirrored.",
    mistakes={
        "You forgot to mirror the second answer back.": dict(back=False),
        "You mirrored the answer, but the network must be shown the mirrored picture.": dict(there=False),
        "That is the sum of the two answers: take their mean.": dict(share=1.0),
        "Left and right, not up and down: the last dimension is the width.": dict(dim=2),
        "You mirrored both ways, which turns the picture upside down: only the last dimension.": dict(dim=(2, 3)),
        "You turned the batch round: the last dimension is the width.": dict(dim=0),
        "You exchanged the colours: the last dimension is the width.": dict(dim=1),
        "That is the mirrored way alone: take the mean with the answer to x itself.": dict(own=0.0, share=1.0),
        "That is the answer to x alone: the mirrored one is missing.": dict(other=0.0, share=1.0),
        "Their difference shows how lopsided the network is; you want the mean.": dict(other=-1.0, share=1.0),
    },
)
def both_sides(
    guess: Callable[[Tensor], Tensor], x: Tensor, back=True, there=True, share=0.5, dim=3, own=1.0, other=1.0
) -> Tensor:
    """both_sides(guess, x): the mean of guess(x), and of the mirrored guess of the mirrored x; x (B, C, H, W)."""
    seen = guess(x.flip(dim) if there else x)
    return share * (own * guess(x) + other * (seen.flip(dim) if back else seen))
