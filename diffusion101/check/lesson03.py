"""Lesson 03: how far a network sees, what a convolution costs, what goes into the blocks on the way up."""

from collections.abc import Sequence

from .exercise import exercise

__all__ = ["macs", "receptive_field", "up_inputs"]


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
