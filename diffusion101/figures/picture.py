"""A finished figure as a PNG: twice as fine as it is shown, and every pixel of a small picture equally large."""

from io import BytesIO

import matplotlib
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatter

DATA, NOISE, PREDICTION = "#0072B2", "#999999", "#D55E00"  # the same three colours in the whole course
COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#F0E442", "#000000"]  # Okabe & Ito
MODELS = {"M1": "#E69F00", "M2": "#009E73", "M3": "#CC79A7", "M5": "#56B4E9"}  # of a curve named so, or "M1, ..."
MODELS |= {"ddpm": "#E69F00", "ddim": "#56B4E9", "dpmpp_2m": "#CC79A7", "dpmpp_2m_sde": "#009E73"}  # of samplers
DPI = 144  # shown at half size: sharp on fine screens
LETTERS = 11  # points
PIXELS = "pixels"  # marks a picture whose pixels are all to be equally large
matplotlib.rcParams.update({"font.size": LETTERS, "axes.titlesize": "medium"})


class Picture:
    """A finished figure as PNG bytes: .png, width pixels wide; notebooks show it half as wide."""

    def __init__(self, figure: Figure):
        buffer = BytesIO()
        _whole_pixels(figure)
        figure.savefig(buffer, format="png", dpi=DPI, metadata={"Software": None})
        self.png, self.width = buffer.getvalue(), round(figure.get_figwidth() * DPI)
        panels = len(figure.axes) or len(figure.images)
        self._about = f"{panels} panel{'s' * (panels != 1)}"

    @property
    def shown(self) -> dict[str, int]:
        """What a notebook is told of its size."""
        return {"width": self.width // 2}

    def _repr_png_(self) -> tuple[bytes, dict[str, int]]:
        return self.png, self.shown

    def __repr__(self) -> str:
        return f"<picture, {self._about}>"


def _whole_pixels(fig: Figure) -> None:
    """Shrink the axes of marked pictures until each of their pixels is a whole number of the figure's."""
    marked = [(ax, x.get_array().shape) for ax in fig.axes for x in ax.images if x.get_gid() == PIXELS]
    if not marked:
        return
    fig.set_size_inches(*(round(inches * DPI) / DPI for inches in fig.get_size_inches()))
    fig.set_dpi(DPI)
    fig.get_layout_engine().execute(fig)
    fig.set_layout_engine("none")
    for ax, (high, wide, *_) in marked:
        ax.apply_aspect()
        box = ax.get_window_extent()
        times = int(min(box.width / wide, box.height / high) + 0.01)
        if times:
            w, h = times * wide, times * high
            left, bottom = round(box.x0 + (box.width - w) / 2), round(box.y0 + (box.height - h) / 2)
            ax.set_position((left / fig.bbox.width, bottom / fig.bbox.height, w / fig.bbox.width, h / fig.bbox.height))


class _Plain(LogFormatter):
    """Labels where matplotlib puts them on a logarithmic axis, but 0.6 in the place of 6 x 10^-1."""

    def __call__(self, value: float, position: int | None = None) -> str:
        return f"{value:g}" if super().__call__(value, position) else ""


def plain(axis: Axis) -> None:
    """Write the numbers out on a logarithmic axis that spans less than three powers of ten."""
    low, high = sorted(axis.get_view_interval())
    if high < 1000 * low:
        axis.set_major_formatter(_Plain())
        axis.set_minor_formatter(_Plain())


def inches(pixels: int, wanted: float) -> float:
    """The whole multiple of so many pixels that comes nearest to `wanted` inches."""
    return max(1, round(wanted * DPI / pixels)) * pixels / DPI


def figure(rows: int = 1, columns: int = 1, width: float = 9.0, height: float = 3.0) -> tuple[Figure, list[list[Axes]]]:
    """An empty figure, sizes in inches, and its axes as rows of columns."""
    fig = Figure(figsize=(width, height), layout="constrained")
    return fig, fig.subplots(rows, columns, squeeze=False).tolist()
