"""Drawings of the networks."""

from collections.abc import Sequence

from .plot import DATA, PREDICTION, Picture, figure


def unet(levels: Sequence[tuple[int, int]], side: int = 28) -> Picture:
    """A drawing of a UNet; levels: (channels, blocks down) of each resolution, full size first.

    Parts stand in the order of computation from left to right, each resolution a row lower; boxes say the channels
    that go in and come out. Dashed: skips.
    """
    fig, [[ax]] = figure(width=9.6, height=0.3 + 1.19 * len(levels))
    box = dict(boxstyle="round,pad=0.35", facecolor="#EEEEEE", edgecolor="black", linewidth=0.8)
    lefts, before, inside = [], 1, sum(blocks for _, blocks in levels)
    for channels, blocks in levels:
        lefts.append([before + i for i in range(blocks)])
        before += blocks
    last = 2 * inside + 1  # the column of conv_out

    def arrow(start: tuple, end: tuple, **how) -> None:
        ax.annotate("", end, start, arrowprops=dict(arrowstyle="-|>", shrinkA=0, shrinkB=0) | how)

    for k, ((channels, blocks), left) in enumerate(zip(levels, lefts)):
        y, right = -k, [last - column for column in reversed(left)]
        columns = [0] * (k == 0) + left + right + [last] * (k == 0)
        reach = []  # half the width of each box
        for column in columns:
            end = {0: "conv_in\n→ {}", last: "conv_out\n{} →"}.get(column, "block\n{} → {}")
            reads = channels if column in left else 2 * channels
            told = end.format(channels) if column in (0, last) else end.format(reads, channels)
            reach.append(0.36 if max(map(len, told.split("\n"))) < 8 else 0.41)
            ax.text(column, y, told, ha="center", va="center", fontsize=9, bbox=box)
        for one, two, near, far in zip(columns, columns[1:], reach, reach[1:]):
            arrow((one + near, y), (two - far, y), color="black")
        for number, (one, two) in enumerate(zip(reversed(left), right)):
            over = y + 0.42 + 0.13 * number  # skips lie inside each other
            ax.plot([one, one, two], [y + 0.22, over, over], color=DATA, linestyle="--", linewidth=1.4)
            arrow((two, over), (two, y + 0.22), color=DATA, linestyle="--")
        ax.text(last / 2, over, "skip", color=DATA, ha="center", va="bottom", fontsize=9)
        where = min(columns) - 0.5
        ax.text(where, y, f"{side >> k} x {side >> k}", ha="right", va="center", fontsize=11, weight="bold")
        if k + 1 < len(levels):
            plus = right[0] - 0.68
            arrow((left[-1], y - 0.22), (left[-1] + 0.9, y - 0.78), color=PREDICTION)
            ax.text(left[-1] + 0.35, y - 0.58, "shrink", color=PREDICTION, ha="right", fontsize=9)
            arrow((last - left[-1] - 0.9, y - 0.78), (plus, y - 0.1), color=PREDICTION)
            ax.text(right[0] - 0.62, y - 0.58, "grow", color=PREDICTION, ha="left", fontsize=9)
            ax.text(plus, y, "+", ha="center", va="center", fontsize=12, bbox=box | dict(boxstyle="circle,pad=0.1"))
    ax.set(xlim=(-1.6, last + 0.7), ylim=(0.6 - len(levels), 0.75))
    ax.set_axis_off()
    return Picture(fig)
