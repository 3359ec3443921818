"""Every figure of the course, each one call. Figures come back as a Picture, which Jupyter shows and a slider swaps."""

import textwrap
from collections.abc import Sequence
from io import BytesIO

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import imread
from torch import Tensor

from .picture import COLOURS, DATA, DPI, LETTERS, MODELS, NOISE, PIXELS, PREDICTION, Picture, figure, inches, plain
from .tiling import tile


def image(ax: Axes, x: Tensor, title: str = "", limits: tuple[float, float] = (-1, 1), cmap: str = "gray") -> None:
    """One picture x (1 or 3, H, W) or (H, W) on axes without ticks; limits are fixed, never those of the picture."""
    x = x.detach().float().cpu()
    x = x.movedim(0, -1).squeeze(-1) if x.ndim == 3 else x
    if x.ndim == 3:
        x = ((x - limits[0]) / (limits[1] - limits[0])).clamp(0, 1)
    ax.imshow(x.numpy(), cmap=cmap, vmin=limits[0], vmax=limits[1], interpolation="nearest", gid=PIXELS)
    ax.set(xticks=[], yticks=[], title=title)


def filmstrip(
    rows: Tensor | dict[str, Tensor],
    titles: Sequence[str] = (),
    limits: tuple[float, float] = (-1, 1),
    cmap: str = "gray",
) -> Picture:
    """Rows of pictures (N, C, H, W), N at most about 11, titles above the first row, names of rows at the left."""
    rows = {"": rows} if isinstance(rows, Tensor) else rows
    columns = max(len(row) for row in rows.values())
    first = max(rows.values(), key=lambda row: row.shape[2] / row.shape[3])
    ratio = first.shape[2] / first.shape[3]  # of a panel's height to its width
    side = inches(first.shape[3], min(1.4 / ratio, 9.6 / columns))
    width, height = (side + 0.1) * columns + 0.7 * any(rows), (side * ratio + 0.1) * len(rows)
    if titles:
        height += 0.1 + 0.2 * max(title.count("\n") + 1 for title in titles)
    fig, axes = figure(len(rows), columns, width, height)
    for i, (name, row) in enumerate(rows.items()):
        if "\n" not in name:
            letters = max(6, int(12 * side * ratio))  # so many fit beside a panel
            name = textwrap.fill(name, letters, break_long_words=False)
        for j, ax in enumerate(axes[i]):
            if j >= len(row):
                ax.set_axis_off()
                continue
            image(ax, row[j], titles[j] if i == 0 and j < len(titles) else "", limits, cmap)
        axes[i][0].set_ylabel(name)
    return Picture(fig)


def both_ways(x: Tensor, titles: Sequence[str], above: str, below: str) -> Picture:
    """Pictures (N, C, H, W) in a row, an arrow to the left with its name above them, one to the right below."""
    side = inches(x.shape[3], min(1.3, 9.0 / len(x)))
    fig, axes = figure(3, len(x), width=(side + 0.1) * len(x), height=side + 1.4)
    places = axes[0][0].get_gridspec()
    places.set_height_ratios([0.5, side, 0.5])
    for ax, picture, title in zip(axes[1], x, titles):
        image(ax, picture, title)
    for row, name, ends in ((axes[0], above, (1, 0)), (axes[2], below, (0, 1))):
        for ax in row:
            ax.remove()
        ax = fig.add_subplot(places[axes.index(row), :], frameon=False, xticks=[], yticks=[])
        ax.annotate("", (ends[1], 0.2), (ends[0], 0.2), arrowprops=dict(arrowstyle="-|>", color=DATA, linewidth=2.5))
        ax.text(0.5, 0.45, name, ha="center", fontsize=LETTERS)
    return Picture(fig)


def grid(x: Tensor, columns: int = 10, title: str = "", width: float = 6.0) -> Picture:
    """Many small pictures (N, C, H, W) side by side, `columns` to a row."""
    tiled = tile(x.detach().float().cpu(), columns)
    width = inches(tiled.shape[2], width)
    height = width * tiled.shape[1] / tiled.shape[2] + 0.3 * bool(title)
    fig, [[ax]] = figure(width=width + 0.1, height=height + 0.1)
    image(ax, tiled, title)
    return Picture(fig)


def captioned(x: Tensor, captions: Sequence[str], columns: int = 5) -> Picture:
    """Pictures (N, C, H, W) with a sentence under each."""
    columns = min(columns, len(x))
    rows, side = -(-len(x) // columns), inches(x.shape[3], 9.6 / max(columns, 5))
    lines = [textwrap.fill(caption, int(11 * side)) for caption in captions]  # so many letters fit below a picture
    below = 0.19 * max(line.count("\n") + 1 for line in lines) + 0.2
    fig, axes = figure(rows, columns, (side + 0.1) * columns, (side * x.shape[2] / x.shape[3] + below) * rows)
    for i, ax in enumerate(sum(axes, [])):
        if i < len(x):
            image(ax, x[i])
            ax.set_xlabel(lines[i])
        else:
            ax.set_axis_off()
    return Picture(fig)


def panels(pictures: dict[str, tuple[Tensor, tuple[float, float], str]], bar: str = "", side: float = 2.2) -> Picture:
    """Pictures that need limits and colours of their own: title -> (picture, (low, high), cmap).

    bar: what the last one's colours mean; it gets a colour bar.
    """
    ratio = min(1, max(x.shape[-2] / x.shape[-1] for x, _, _ in pictures.values()))  # of a panel's height to its width
    width, height = side * len(pictures) + 0.9 * bool(bar), side * ratio + 0.3
    fig, [axes] = figure(1, len(pictures), width, height)
    for ax, (title, (x, limits, cmap)) in zip(axes, pictures.items()):
        image(ax, x, title, limits, cmap)
    if bar:
        fig.colorbar(axes[-1].images[0], ax=axes[-1], label=bar, shrink=0.9)
    return Picture(fig)


def lines(
    x: Sequence[float] | Tensor,
    curves: dict[str, Sequence[float] | Tensor],
    xlabel: str,
    ylabel: str,
    title: str = "",
    log: str = "",
    marks: dict[str, float] | None = None,
    points: bool = False,
    width: float = 6.5,
    falling: bool = False,
    aside: bool = False,
    legend: bool = True,
) -> Picture:
    """Curves over one x, a legend if there are several. log: "x", "y" or "xy"; marks: names of vertical lines.

    A curve of a model in MODELS has its colour; a second one of the same model is dashed.
    falling: x goes down from left to right, as t does when sampling. aside: the legend stands beside the axes;
    without legend its curves are named elsewhere.
    """
    fig, [[ax]] = figure(width=width, height=3.2)
    named, used = {name: MODELS.get(name.split(",")[0]) for name in curves}, set()
    free = iter([colour for colour in COLOURS if colour not in named.values()])
    for name, y in curves.items():
        colour = named[name] or next(free)
        how = dict(color=colour, label=name, linewidth=1.8, linestyle="--" if colour in used else "-")
        ax.plot(x, y, **how, marker="o" if points else None, markersize=4)
        used.add(colour)
    for name, place in (marks or {}).items():
        ax.axvline(place, color=NOISE, linestyle=":")
        ax.annotate(name, (place, 1), xycoords=("data", "axes fraction"), rotation=90, va="top", ha="right", fontsize=9)
    ax.set(xlabel=xlabel, ylabel=ylabel, title=title)
    for axis in log:
        getattr(ax, f"set_{axis}scale")("log")
        plain(getattr(ax, f"{axis}axis"))
    if "x" in log and points and all(b > 1.4 * a for a, b in zip(x, x[1:])):  # far enough apart to be written
        ax.set_xticks([*x], [f"{float(value):g}" for value in x])
        ax.set_xticks([], minor=True)
    if falling:
        ax.invert_xaxis()
    if legend and len(curves) > 1:
        beside = dict(loc="center left", bbox_to_anchor=(1, 0.5)) if aside else {"ncols": 1 + (len(curves) > 4)}
        ax.legend(frameon=False, **beside)
    ax.grid(alpha=0.25)
    return Picture(fig)


def heatmap(
    values: Tensor,
    xlabel: str,
    ylabel: str,
    title: str = "",
    extent=None,
    diverging: bool = False,
    names: Sequence[str] = (),
) -> Picture:
    """A matrix (rows, columns) in viridis, or red-blue around 0; extent: (left, right, bottom, top) of its axes.

    names: of the rows of a square matrix, from below, and of its columns.
    """
    fig, [[ax]] = figure(width=5.0 + bool(names), height=4.0 + 0.8 * bool(names))
    most = values.abs().max().item()
    colours = dict(cmap="RdBu", vmin=-most, vmax=most) if diverging else dict(cmap="viridis")
    shown = ax.imshow(values.numpy(), interpolation="nearest", aspect="auto", origin="lower", extent=extent, **colours)
    fig.colorbar(shown, ax=ax)
    ax.set(xlabel=xlabel, ylabel=ylabel, title=title)
    if names:
        ax.set_xticks(range(len(names)), names, rotation=45, ha="right", rotation_mode="anchor")
        ax.set_yticks(range(len(names)), names)
    return Picture(fig)


def points(sets: dict[str, Tensor], limit: float = 2.5, colours: Sequence[str] = (DATA,)) -> Picture:
    """Clouds of 2-D points (N, 2), a panel each."""
    fig, [axes] = figure(1, len(sets), width=min(2.3 * len(sets), 11), height=2.6)
    for i, (ax, (name, xy)) in enumerate(zip(axes, sets.items())):
        ax.scatter(*xy.detach().cpu().T, s=3, alpha=0.5, color=colours[i % len(colours)], linewidths=0)
        ax.set(xlim=(-limit, limit), ylim=(-limit, limit), xticks=[], yticks=[], aspect="equal")
        ax.set_title(name)
    return Picture(fig)


def arrows(sets: dict[str, tuple[Tensor, Tensor, Tensor]], columns: int = 4, limit: float = 2.5) -> Picture:
    """Fields of arrows, a panel each: name -> (places (N, 2), arrows (N, 2), cloud of points (M, 2) beneath).

    Arrows are drawn at a quarter of their length.
    """
    columns = min(columns, len(sets))
    rows = -(-len(sets) // columns)
    fig, axes = figure(rows, columns, width=min(3.4 * columns, 10), height=min(3.4, 10 / columns) * rows + 0.3)
    for ax, (name, (places, along, cloud)) in zip(sum(axes, []), sets.items()):
        ax.scatter(*cloud.T, s=4, alpha=0.5, color=DATA, linewidths=0)
        ax.quiver(*places.T, *along.detach().T, color=PREDICTION, angles="xy", scale_units="xy", scale=4, width=0.006)
        ax.set(xlim=(-limit, limit), ylim=(-limit, limit), xticks=[], yticks=[], aspect="equal")
        ax.set_title(name)
    return Picture(fig)


def paths(sets: dict[str, Tensor], cloud: Tensor, limit: float = 2.5) -> Picture:
    """Ways of points through the plane, a panel each: name -> (times, N, 2); beneath them a cloud (M, 2), the data."""
    fig, [axes] = figure(1, len(sets), width=min(3.4 * len(sets), 11), height=3.4)
    for ax, (name, way) in zip(axes, sets.items()):
        ax.scatter(*cloud.T, s=3, alpha=0.25, color=DATA, linewidths=0)
        ax.plot(*way.movedim(2, 0), color=PREDICTION, linewidth=0.9, marker="o" * (len(way) < 40), markersize=2)
        ax.scatter(*way[0].T, s=22, color=NOISE, zorder=3)
        ax.scatter(*way[-1].T, s=22, color="black", zorder=3)
        ax.set(xlim=(-limit, limit), ylim=(-limit, limit), xticks=[], yticks=[], aspect="equal")
        ax.set_title(name)
    return Picture(fig)


def running_mean(history: Sequence[float], keep: float = 0.97) -> list[float]:
    """Means of the values so far, each weighing `keep` of the next; no start at 0 pulls them (Kingma & Ba 2015, 3)."""
    means, total = [], 0.0
    for step, value in enumerate(history, 1):
        total = keep * total + (1 - keep) * value
        means.append(total / (1 - keep**step))
    return means


def loss(history: Sequence[float], title: str = "", log: bool = True) -> Picture:
    """A training curve: each step's loss in grey, its running mean in black."""
    fig, [[ax]] = figure(width=6.5, height=2.8)
    ax.plot(range(1, len(history) + 1), history, color=NOISE, alpha=0.4, linewidth=0.7, label="each step")
    ax.plot(range(1, len(history) + 1), running_mean(history), color="black", linewidth=1.8, label="running mean")
    ax.set(xlabel="step", ylabel="loss", title=title)
    if log:
        ax.set_yscale("log")
        plain(ax.yaxis)
    ax.legend(frameon=False)
    ax.grid(alpha=0.25, which="both")
    return Picture(fig)


def turns(angles: dict[str, Tensor], every: int = 50) -> Picture:
    """x on its way round a quarter circle, a panel each: name -> angle at t = 0..T. Dots every so many t; arrows: v."""
    fig, [axes] = figure(1, len(angles), width=4.0 * len(angles), height=4.1)
    for ax, (name, angle) in zip(axes, angles.items()):
        x, v = torch.stack([angle.cos(), angle.sin()]), torch.stack([-angle.sin(), angle.cos()])  # (2, T+1) each
        ax.plot(*x, color=NOISE, linewidth=0.8, zorder=0)
        shown = ax.scatter(*x[:, ::every], c=torch.arange(len(angle))[::every], cmap="viridis", s=40)
        far = slice(None, None, 5 * every)
        ax.quiver(*x[:, far], *v[:, far], color=PREDICTION, angles="xy", scale_units="xy", scale=4, width=0.008)
        ax.set(xlim=(-0.3, 1.1), ylim=(-0.1, 1.3), xlabel="signal: the part along x0", aspect="equal", title=name)
    axes[0].set_ylabel("noise: the part along eps")
    fig.colorbar(shown, ax=axes, label="t", shrink=0.9)
    return Picture(fig)


def clocks(faces: dict[str, Tensor], t: int, every: int = 40) -> Picture:
    """Clock faces, a panel each: name -> a hand's angle at t = 0..T. Dots every so many t; the hand stands at t."""
    fig, [axes] = figure(1, len(faces), width=2.1 * len(faces) + 0.9, height=2.5)
    for ax, (name, angle) in zip(axes, faces.items()):
        x, y = angle.cos(), angle.sin()  # (T+1,) each
        shown = ax.scatter(x[::every], y[::every], c=torch.arange(len(angle))[::every], cmap="viridis", s=30)
        ax.plot([0, x[t].item()], [0, y[t].item()], color=PREDICTION, linewidth=2.2)
        ax.set(xlim=(-1.2, 1.2), ylim=(-1.2, 1.2), xticks=[], yticks=[], aspect="equal", xlabel=f"at t = {t}")
        ax.set_title(name)
    fig.colorbar(shown, ax=axes, label="t", shrink=0.9)
    return Picture(fig)


def stack(*rows: Sequence[Picture]) -> Picture:
    """Finished pictures as one: rows of pictures side by side, from top to bottom."""
    pixels = [[imread(BytesIO(picture.png)) for picture in row] for row in rows]  # (H, W, 4) each
    heights = [max(p.shape[0] for p in row) for row in pixels]
    width = max(sum(p.shape[1] for p in row) for row in pixels)
    fig = Figure(figsize=(width / DPI, sum(heights) / DPI))
    for i, row in enumerate(pixels):
        left, bottom = 0, sum(heights[i + 1 :])
        for p in row:
            fig.figimage(p, left, bottom + heights[i] - p.shape[0])
            left += p.shape[1]
    return Picture(fig)


def clouds(sets: dict[str, Tensor], data: Tensor, limit: float = 3.0) -> Picture:
    """Clouds of 2-D points (N, 2), a panel each, and the data (M, 2) beneath every one of them."""
    fig, [axes] = figure(1, len(sets), width=min(2.7 * len(sets), 11), height=3.0)
    for ax, (name, xy) in zip(axes, sets.items()):
        ax.scatter(*data.T, s=3, alpha=0.35, color=DATA, linewidths=0, label="data")
        ax.scatter(*xy.T, s=3, alpha=0.5, color=PREDICTION, linewidths=0, label="samples")
        ax.set(xlim=(-limit, limit), ylim=(-limit, limit), xticks=[], yticks=[], aspect="equal", title=name)
    axes[0].legend(frameon=False, loc="upper left", markerscale=4)
    return Picture(fig)
