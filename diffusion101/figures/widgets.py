"""Sliders over the figures of `plot`. Each is one display: alive with a kernel, a still picture without."""

import time
from base64 import b64encode
from collections.abc import Callable, Iterator, Sequence
from html import escape

import ipywidgets
import torch
from IPython.display import display
from torch import Tensor
from tqdm.auto import tqdm

from ..core.process import Denoised, q_sample
from ..core.samplers import Step
from ..core.schedules import Schedule
from ..training.loop import TrainStep
from . import plot
from .plot import Picture
from .tiling import tile


def explore(draw: Callable[..., Picture], still: Picture | None = None, slow: bool = False, **controls) -> None:
    """Show draw(**values) under one control per keyword, and draw again when one moves.

    controls: name=(low, high, step, start) for a slider (floats give a float slider), name=[choices] for a button
    each, name="words" for a line to write in, which is read when Enter is pressed. still: what viewers without
    a kernel see (default: the first drawing). slow=True redraws only when the slider is let go.

    Where draw raises a ValueError later on, its sentence is shown and the picture stays.
    """
    parts = {name: _control(name, values, slow) for name, values in controls.items()}
    first = draw(**{name: part.value for name, part in parts.items()})
    layout = ipywidgets.Layout(align_self="flex-start", max_width="100%")
    picture, wrong = ipywidgets.Image(value=first.png, format="png", layout=layout, **first.shown), ipywidgets.HTML()

    def redraw(_) -> None:
        try:
            new = draw(**{name: part.value for name, part in parts.items()})
            picture.value, picture.width, wrong.value = new.png, new.shown["width"], ""
        except ValueError as error:
            wrong.value = escape(str(error))

    for part in parts.values():
        part.observe(redraw, names="value")
    bundle(ipywidgets.VBox([*parts.values(), wrong, picture]), still or first)


def bundle(widget: ipywidgets.Widget, still: Picture) -> None:
    """Display a widget and a still PNG of the same thing as one output."""
    view = {"version_major": 2, "version_minor": 0, "model_id": widget.model_id}
    png = b64encode(still.png).decode()
    view = {"application/vnd.jupyter.widget-view+json": view, "image/png": png, "text/plain": repr(still)}
    display(view, raw=True, metadata={"image/png": still.shown})


def _control(name: str, values, slow: bool) -> ipywidgets.Widget:
    options = dict(
        description=name.replace("_", " "),
        continuous_update=not slow,
        layout=ipywidgets.Layout(width="440px"),
        style={"description_width": "90px"},
    )
    if isinstance(values, str):
        options |= {"continuous_update": False, "layout": ipywidgets.Layout(width="600px")}
        return ipywidgets.Text(value=values, **options)
    if isinstance(values, list):
        buttons = {"description": options["description"], "style": options["style"] | {"button_width": "auto"}}
        return ipywidgets.ToggleButtons(options=values, value=values[0], **buttons)
    low, high, step, start = values
    kind = ipywidgets.FloatSlider if any(isinstance(v, float) for v in values) else ipywidgets.IntSlider
    return kind(min=low, max=high, step=step, value=start, **options)


def explore_noising(x0: Tensor, s: Schedule, seed: int = 0) -> None:
    """A slider over t: the pictures x0 (N, C, H, W), the same noise, and the x_t between them."""
    eps = torch.randn(x0.shape, generator=torch.Generator().manual_seed(seed))

    def at(t: int) -> Tensor:
        return q_sample(x0, torch.full((len(x0),), t), eps, s)

    def draw(t: int) -> Picture:
        title = f"t = {t}: {s.signal[t]:.2f} signal, {s.noise[t]:.2f} noise"
        return plot.grid(at(t), columns=len(x0), title=title, width=min(9.0, 1.6 * len(x0) + 1))

    times = list(range(0, s.T + 1, max(1, s.T // 10)))
    still = plot.filmstrip(torch.stack([at(t)[0] for t in times]), [f"t = {t}" for t in times])
    explore(draw, still, t=(0, s.T, 1, s.T // 2))


def explore_steps(steps: Sequence[Step], columns: int = 8, panels: int = 8, which: Sequence[int] = (0,)) -> None:
    """A slider over the steps of a sampler: x on the way, and the guess of x0 that led there.

    The still picture shows so many moments (panels) of these pictures (which).
    """

    def draw(step: int) -> Picture:
        now = steps[step - 1]
        ratio = now.x.shape[2] / now.x.shape[3] * -(-len(now.x) // columns) / columns
        fig, [[left, right]] = plot.figure(1, 2, width=9.4, height=4.7 * ratio + 0.5)
        for ax, x, name in ((left, now.x, f"x at t = {now.t}"), (right, now.x0, "guess of x0 that led there")):
            plot.image(ax, tile(x.cpu(), columns), name)
        return Picture(fig)

    explore(draw, plot_steps(steps, panels, which), step=(1, len(steps), 1, len(steps)))


def plot_steps(steps: Sequence[Step], panels: int = 8, which: Sequence[int] = (0,)) -> Picture:
    """The filmstrip of pictures on their way from noise to data: of each in `which` x, and below it the guess of x0."""
    chosen = [steps[round(i * (len(steps) - 1) / (panels - 1))] for i in range(panels)] if len(steps) > 1 else steps
    rows = {}
    for i in which:
        name = f"{i}: " if len(which) > 1 else ""
        rows[f"{name}x"] = torch.stack([s.x[i] for s in chosen])
        rows[f"{name}guess of x0"] = torch.stack([s.x0[i] for s in chosen])
    return plot.filmstrip(rows, [f"t = {s.t}" for s in chosen])


def watch(steps: Iterator[TrainStep], total: int, title: str = "") -> Iterator[TrainStep]:
    """Pass training steps through, with a progress bar and a loss curve that is redrawn every second."""
    history, shown, drawn = [], display({"text/plain": "loss curve"}, raw=True, display_id=True), time.monotonic()

    def show() -> None:
        curve = plot.loss(history, title)
        png = b64encode(curve.png).decode()
        shown.update({"image/png": png, "text/plain": "loss curve"}, raw=True, metadata={"image/png": curve.shown})

    for step in tqdm(steps, total=total, desc=title, unit="step"):
        history.append(step.loss)
        if time.monotonic() - drawn > 1:
            show()
            drawn = time.monotonic()
        yield step
    show()


def explore_prediction(
    denoise: Callable[[Tensor, Tensor], Denoised], x0: Tensor, s: Schedule, seed: int = 0, told: bool = False
) -> None:
    """A slider over t: a noisy digit, the network's guess of x0 and eps, and the truth. x0 (1, C, H, W).

    told=True adds a second slider: the time that the network is told, which need not be the true one; the still
    picture then shows the guesses of x0 for five told times.
    """
    eps = torch.randn(x0.shape, generator=torch.Generator().manual_seed(seed))

    def draw(t: int, told_t: int | None = None) -> Picture:
        x = q_sample(x0, torch.tensor([t]), eps, s)
        with torch.no_grad():
            guess = denoise(x, torch.tensor([t if told_t is None else told_t]))
        panels = {f"x at t = {t}": x, "guess of x0": guess.x0, "x0": x0, "guess of eps": guess.eps, "eps": eps}
        fig, [axes] = plot.figure(1, 5, width=9.0, height=2.1)
        for ax, (name, picture) in zip(axes, panels.items()):
            noise = "eps" in name
            plot.image(ax, picture[0], name, (-3, 3) if noise else (-1, 1), "RdBu" if noise else "gray")
        return Picture(fig)

    if not told:
        return explore(draw, t=(1, s.T, 1, s.T // 2))
    true = torch.full((5,), s.T // 5)
    times = true * torch.tensor([1, 2, 4, 6, 10]) // 4
    with torch.no_grad():
        guesses = denoise(q_sample(x0.expand(5, *x0.shape[1:]), true, eps, s), times).x0
    still = plot.filmstrip({f"x at t = {true[0]}": guesses}, [f"told {r}" for r in times.tolist()])
    explore(draw, still, t=(1, s.T, 1, s.T // 5), told_t=(1, s.T, 1, s.T // 5))
