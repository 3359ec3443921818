"""Lesson 03: how far a network sees, what a convolution costs, what goes into the blocks on the way up."""

from collections.abc import Callable, Sequence
from functools import partial

from .verdict import compare

__all__ = ["macs", "receptive_field", "up_inputs"]


def receptive_field(yours: Callable) -> bool | None:
    """receptive_field([(kernel, stride), ...]) -> side of the square of input pixels behind one output pixel."""

    def right(layers: Sequence, start=1, less=1, strides=True, late=False, added=False, last=False) -> int:
        field, step = start, 1
        for kernel, stride in layers:
            after = step * stride if strides else step
            after = stride if last else after
            after = step + stride - 1 if added else after
            field += (kernel - less) * (after if late else step)
            step = after
        return field

    mistakes = {
        "You left the strides out: after a stride of 2, one step on the grid is two pixels.": partial(
            right, strides=False
        ),
        "A stride counts only for what comes after: first widen the field, then the step.": partial(right, late=True),
        "A convolution adds kernel - 1 steps, not kernel: its middle was in the field.": partial(right, less=0),
        "One is missing: before the first convolution the field is one pixel, not none.": partial(right, start=0),
        "Strides multiply: after two strides of 2 a step is four pixels. You added.": partial(right, added=True),
        "Every stride so far counts, not only that of the layer before: multiply them up.": partial(right, last=True),
    }
    inputs = [[(3, 1)] * 6, [(3, 1), (3, 2), (3, 1)], [(3, 2), (5, 2), (3, 2), (7, 1)]]
    done = "Correct. A stride doubles what every convolution after it adds."
    return compare(yours, right, mistakes, *[(layers,) for layers in inputs], done=done)


def macs(yours: Callable) -> bool | None:
    """macs(a, b, kernel, side, level) -> multiply-adds of a convolution, a to b channels, `level` halvings down."""

    def right(a: int, b: int, kernel: int, side: int, level: int) -> int:
        return kernel**2 * a * b * (side // 2**level) ** 2

    mistakes = {
        "Halving the side quarters the pixels: divide the side before you square it.": (
            lambda a, b, kernel, side, level: kernel**2 * a * b * side**2 // 2**level
        ),
        "A picture has side * side places, on every level: square the side.": (
            lambda a, b, kernel, side, level: kernel**2 * a * b * (side // 2**level)
        ),
        "You left the level out: the side is halved `level` times first.": (
            lambda a, b, kernel, side, level: kernel**2 * a * b * side**2
        ),
        "Each level halves again: divide the side by 2 ** level, not by 2 * level.": (
            lambda a, b, kernel, side, level: kernel**2 * a * b * (side // max(1, 2 * level)) ** 2
        ),
        "A kernel is a square: every value sums over kernel ** 2 places.": (
            lambda a, b, kernel, side, level: kernel * a * b * (side // 2**level) ** 2
        ),
        "Every output value sums over all `a` input channels too.": (
            lambda a, b, kernel, side, level: kernel**2 * b * (side // 2**level) ** 2
        ),
        "You counted multiplications and additions apart: one multiply-add is one of each.": (
            lambda a, b, kernel, side, level: 2 * kernel**2 * a * b * (side // 2**level) ** 2
        ),
        "Those are the layer's weights: each of them is used once per pixel.": (
            lambda a, b, kernel, side, level: kernel**2 * a * b
        ),
    }
    inputs = [(32, 32, 3, 28, 0), (64, 64, 3, 28, 1), (64, 32, 5, 32, 3)]
    done = "Correct. Your first two answers are equal: half the side and twice the width, at the same price."
    return compare(yours, right, mistakes, *inputs, done=done)


def up_inputs(yours: Callable) -> bool | None:
    """up_inputs(widths, side) -> [(channels, side), ...]: what the first block up takes in, full size first."""

    def right(widths: Sequence[int], side: int, skip: Callable = lambda widths, k: widths[k], halve=2) -> list:
        return [(width + skip(widths, k), side // halve**k) for k, width in enumerate(widths)]

    mistakes = {
        "You forgot the skip: as many channels as were pushed here join what comes from below.": partial(
            right, skip=lambda widths, k: 0
        ),
        "`grow` has already brought what comes from below to this level's own width.": partial(
            right, skip=lambda widths, k: widths[min(k + 1, len(widths) - 1)]
        ),
        "A level pops what it pushed itself, not what the level above it pushed.": partial(
            right, skip=lambda widths, k: widths[max(k - 1, 0)]
        ),
        "The smallest resolution pops a skip too: its block down pushed one.": lambda widths, side: [
            *right(widths, side)[:-1],
            (widths[-1], side // 2 ** (len(widths) - 1)),
        ],
        "The channels are right; the side halves with every level.": partial(right, halve=1),
        "Right, but upside down: start at the full size.": lambda widths, side: right(widths, side)[::-1],
    }
    inputs = [((16, 32, 64), 28), ((16, 48), 32), ((8, 32, 16, 16), 64)]
    done = "Correct. A skip needs no arithmetic of its own, but it doubles what the block after it reads."
    return compare(yours, right, mistakes, *inputs, done=done)
