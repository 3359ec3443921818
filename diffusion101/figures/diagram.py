"""Drawings of networks: boxes and the ways between them."""

from collections.abc import Sequence

import torch

from . import plot
from .plot import Picture


def ways(blocks: dict[str, tuple[Sequence[str], Sequence[str]]], marked: str = "") -> Picture:
    """Residual blocks: name -> (boxes inside, boxes on the way around). Boxes that say `marked` stand out."""
    fig, axes = plot.figure(len(blocks), 1, width=9.4, height=1.6 * len(blocks))
    for [ax], (name, (inside, around)) in zip(axes, blocks.items()):
        ax.set(xlim=(0, 1), ylim=(-0.5, 1.5))
        ax.set_axis_off()
        ax.set_title(name, fontsize=11, loc="left")
        ax.plot([0.03, 0.97], [1, 1], color="black", linewidth=1, zorder=0)
        ax.plot([0.07, 0.07, 0.93, 0.93], [1, 0, 0, 1], color="black", linewidth=1, zorder=0)
        for y, boxes in ((1, ["x", *inside, "+"]), (0, ["", *around, ""])):
            for x, text in zip(torch.linspace(0.07, 0.93, len(boxes)).tolist(), boxes):
                stands_out = bool(marked) and marked in text
                face, ink = (plot.PREDICTION, "white") if stands_out else ("white", "black")
                box = dict(boxstyle="round,pad=0.35", facecolor=face, edgecolor="black") if text else None
                ax.text(x, y, text, ha="center", va="center", fontsize=9, color=ink, bbox=box)
    return Picture(fig)
