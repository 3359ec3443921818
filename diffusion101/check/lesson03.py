"""Lesson 03: how far a network sees, the U, what a convolution costs, what goes into the blocks on the way up."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .exercise import exercise, normal

__all__ = ["macs", "receptive_field", "stage", "up_inputs"]


@exercise(
    cases=lambda: [([(3, 1)] * 6,), ([(3, 1), (3, 2), (3, 1)],), ([(3, 2), (5, 2), (3, 2), (7, 1)],)],
    done="Correct. A stride doubles what every convolution after it adds.",
    within=0,
    mistakes={
        "You left the strides out: after a stride of 2, one step on the grid is two pixels.": dict(steps="one"),
        "A stride counts only for what comes after: first widen the field, then the step.": dict(late=True),
        "A convolution adds kernel - 1 steps, not kernel: its middle was in the field.": dict(less=0),
        "A convolution adds kernel - 1 steps, on both sides together: you counted one side.": dict(sides=0.5),
        "One is missing: before the first convolution the field is one pixel, not none.": dict(start=0),
        "You added strides, but they multiply: after two of 2 a step is four pixels.": dict(steps="added"),
        "Every stride so far counts, not only that of the layer before: multiply them up.": dict(steps="last"),
        "That is the square's area: its side is asked for.": lambda layers: receptive_field.right(layers) ** 2,
    },
)
def receptive_field(layers: Sequence[tuple[int, int]], steps="", late=False, less=1, sides=1, start=1) -> int:
    """receptive_field([(kernel, stride), ...]): the side of the square of input pixels behind one output pixel."""
    field, step = start, 1
    for kernel, stride in layers:
        after = {"one": 1, "added": step + stride - 1, "last": stride}.get(steps, step * stride)
        field += sides * (kernel - less) * (after if late else step)
        step = after
    return field


@dataclass
class Part:
    """A block, shrink or grow of a toy stage: it mixes channels, and says so if it is given too few or too many."""

    name: str
    reads: int
    gives: int
    resize: Callable[[Tensor], Tensor] | None = None  # None: a block, which must be told the time

    def __call__(self, h: Tensor, embs: Sequence[Tensor] = ()) -> Tensor:
        if h.shape[1] != self.reads:
            raise ValueError(f"{self.name} reads {self.reads} channels, and you gave it {h.shape[1]}. {self.hint(h)}")
        mix = normal(self.gives, self.reads, seed=self.reads + len(self.name)) / self.reads**0.5
        h = torch.einsum("oc,bchw->bohw", mix, h)
        if self.resize:
            return self.resize(h)
        if not len(embs):
            raise ValueError(f"{self.name} was not told the time: block(h, embs)")
        return (h + embs[0].mean()).tanh()

    def hint(self, h: Tensor) -> str:
        if self.name.startswith("up") and 2 * h.shape[1] == self.reads:
            return "It reads h and a skip side by side: torch.cat([h, skip], dim=1)."
        if self.name.startswith("up") and 2 * h.shape[1] == 3 * self.reads:
            return "Only the skip is laid beside h; what grow answers is added."
        return ""


@dataclass
class Toy:
    """A networks.unet.Stage of parts that need no training."""

    down: list[Part]
    up: list[Part]
    shrink: Part | None = None
    inner: Toy | None = None
    grow: Part | None = None

    def __call__(self, h: Tensor, embs: Sequence[Tensor]) -> Tensor:
        return stage.right(self, h, embs)


def toy(*levels: tuple[int, int]) -> Toy:
    """levels: (channels, blocks), full size first."""
    (width, blocks), *deeper = levels
    down = [Part(f"down[{i}]", width, width) for i in range(blocks)]
    up = [Part(f"up[{i}]", 2 * width, width) for i in range(blocks)]
    if not deeper:
        return Toy(down, up)
    shrink = Part("shrink", width, deeper[0][0], lambda h: h[..., ::2, ::2])
    grow = Part("grow", deeper[0][0], width, lambda h: h.repeat_interleave(2, 2).repeat_interleave(2, 3))
    return Toy(down, up, shrink, toy(*deeper), grow)


@exercise(
    cases=lambda: [
        (toy(*levels), normal(2, 4, 8, 8), [normal(2, 5, seed=1)])
        for levels in ([(4, 1)], [(4, 2)], [(4, 1), (6, 1)], [(4, 1), (6, 2), (10, 3)])
    ],
    done="Correct: that is the whole U, for any number of resolutions.",
    mistakes={
        "The two are exchanged: first h, then the skip.": dict(order=-1),
        "The skips come from the wrong end: the one pushed last is popped first.": dict(end=0),
        "You use one skip again and again: pop takes it off the pile.": dict(end="last"),
        "What you lay beside h is h itself: pop a skip.": dict(end="h"),
        "You pushed what went into the block: push what it answers.": dict(push="before"),
        "You wrote into h (h += ...), and the skip is the same tensor: write h = h + ...": dict(push="in place"),
        "h got lost: the smaller stage computes a change, and the change is added to h.": dict(past=0),
        "The smaller stage is left out: it stands between the way down and the way up.": dict(inner="out"),
        "You shrink and grow, but nothing happens between: go through stage.inner there.": dict(inner="empty"),
        "The smaller stage comes too early: after the last block down.": dict(when="early"),
        "The smaller stage comes too late: before the first block up.": dict(when="late"),
        "The way down is missing: every block of stage.down in turn.": dict(down=0),
        "The way up is missing: every block of stage.up in turn.": dict(up=0),
    },
)
def stage(
    parts: Toy, h: Tensor, embs: Sequence[Tensor], order=1, end=-1, push="", past=1, inner="", when="", down=1, up=1
) -> Tensor:
    """stage(stage, h, embs): h (B, C, H, W) through this resolution of a UNet and all smaller ones; the same shape."""
    slips = dict(order=order, end=end, push=push, past=past, inner=inner, when=when, down=down, up=up)

    def below(h: Tensor, now: str) -> Tensor:
        if parts.inner is None or inner == "out" or now != when:
            return h
        small = parts.shrink(h)
        small = small if inner == "empty" else stage.right(parts.inner, small, embs, **slips)
        return past * h + parts.grow(small)

    skips, h = [], below(h, "early")
    for block in parts.down:
        before, h = h, block(h, embs) if down else h
        skips.append(before if push == "before" else h)
    h = below(h, "")
    skips[-1] = h if push == "in place" else skips[-1]
    for block in parts.up if up else ():
        skip = {"last": skips[-1:], "h": [h]}.get(end) or [skips.pop(end)]
        h = block(torch.cat([h, *skip][::order], dim=1), embs)
    return below(h, "late")


@exercise(
    cases=lambda: [(32, 32, 3, 28, 0), (64, 64, 3, 28, 1), (64, 32, 5, 32, 3)],
    done="Correct. Your first two answers are equal: half the side and twice the width, at the same price.",
    within=0,
    mistakes={
        "Halving the side quarters the pixels: divide the side before you square it.": dict(halved="late"),
        "A picture has side * side places, on every level: square the side.": dict(square=1),
        "You left the level out: the side is halved `level` times first.": dict(halved="never"),
        "Each level halves again: divide the side by 2 ** level, not by 2 * level.": dict(halved="2 * level"),
        "On the way down the side shrinks: divide by 2 ** level, do not multiply.": dict(halved="doubled"),
        "A kernel is a square: every value sums over kernel ** 2 places.": dict(kernels=1),
        "Every output value sums over all `a` input channels too.": dict(inputs=0),
        "Every one of the `b` output channels is summed up anew.": dict(outputs=0),
        "You counted multiplications and additions apart: one multiply-add is one of each.": dict(each=2),
        "Those are the layer's weights: each of them is used once per pixel.": dict(square=0),
    },
)
def macs(
    a: int, b: int, kernel: int, side: int, level: int, kernels=2, inputs=1, outputs=1, square=2, each=1, halved=""
) -> int:
    """macs(a, b, kernel, side, level): multiply-adds of a convolution from a to b channels, `level` halvings down."""
    sides = {"late": side, "never": side, "2 * level": side // max(1, 2 * level), "doubled": side * 2**level}
    cost = each * kernel**kernels * a**inputs * b**outputs * sides.get(halved, side // 2**level) ** square
    return cost // 2**level if halved == "late" else cost


@exercise(
    cases=lambda: [((16, 32, 64), 28), ((16, 48), 32), ((8, 32, 16, 16), 64)],
    done="Correct. A skip needs no arithmetic of its own, but it doubles what the block after it reads.",
    within=0,
    mistakes={
        "You forgot the skip: as many channels as were pushed here join what comes from below.": dict(skip="none"),
        "`grow` has already brought what comes from below to this level's own width.": dict(skip="below"),
        "A level pops what it pushed itself, not what the level above it pushed.": dict(skip="above"),
        "The smallest resolution pops a skip too: its block down pushed one.": dict(skip="not at the bottom"),
        "The channels are right; the side halves with every level.": dict(halve=1),
        "The full size comes first, not halved yet: level 0 is side / 2 ** 0.": dict(first=1),
        "Right, but upside down: start at the full size.": lambda widths, side: up_inputs.right(widths, side)[::-1],
    },
)
def up_inputs(widths: Sequence[int], side: int, skip="", halve=2, first=0) -> list[tuple[int, int]]:
    """up_inputs(widths, side): (channels, side) of what the first block up takes in, on each level, full size first."""
    skips = {"none": [0] * len(widths), "below": [*widths[1:], widths[-1]], "above": [widths[0], *widths]}
    skips["not at the bottom"] = [*widths[:-1], 0]
    pairs = zip(widths, skips.get(skip, widths))
    return [(own + pushed, side // halve**k) for k, (own, pushed) in enumerate(pairs, start=first)]
