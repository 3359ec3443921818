"""The page: models draw in the browser while you watch. Only here is gradio at home."""

import os
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # asked when it is imported: nothing is told to anybody
import gradio as gr  # noqa: E402

from . import checkpoint, commands  # noqa: E402
from .core.denoiser import Denoiser  # noqa: E402
from .core.samplers import SAMPLERS  # noqa: E402
from .data.captions import EXAMPLES  # noqa: E402
from .data.sources import kinds  # noqa: E402
from .drawing import draw  # noqa: E402
from .figures import files  # noqa: E402
from .networks import Labels, Tokens, Words  # noqa: E402
from .order import Order  # noqa: E402
from .reading import read  # noqa: E402

PICTURES, WORDS = 40, 2000  # the most that is drawn at once, and the most letters that ask for it
COLUMNS = 5  # of the grid
GUIDANCE, STEPS, SEED, SCALE = (0.0, 10.0), (1, 100), (0, 2**31 - 1), (-2.0, 2.0)
WIDTH = 840  # pixels of the screen that a grid may take
FONT = ["system-ui", "sans-serif"]  # every machine's own: none is fetched


@dataclass(frozen=True)
class Tab:
    """How a kind of condition is asked for: an example, a hint, and how a text is cut into words."""

    title: str
    example: str
    hint: str
    cut: Callable[[str], list[str]] = str.split


TABS = {  # a new kind of condition is a new entry; until it has one it is asked for by prompts
    Labels: Tab("Digits", "0 1 2 3 4 5 6 7 8 9", "digits, with spaces between them"),
    Tokens: Tab("Numbers", "42 27 10 7_ _7", "numbers of two digits, _ for any or none, with spaces between them"),
    Words: Tab("Sentences", "\n".join(EXAMPLES), "sentences, one in a line", str.splitlines),
}
PROMPTS = Tab("Prompts", "", "one prompt in a line", str.splitlines)


def tab_of(model: Denoiser) -> Tab:
    """The tab in which a model draws: by the names of its labels, if its data set has some."""
    if names := kinds(model.about.get("data")):
        return Tab("Photographs", " ".join(names), f"some of {', '.join(names)}, with spaces between them")
    return TABS.get(type(model.condition), PROMPTS)


@dataclass(frozen=True)
class Wish:
    """What a browser may ask for. Anybody can send anything: so it is checked here, whatever the sliders allow."""

    text: Annotated[str, Field(max_length=WORDS)]
    guidance: Annotated[float, Field(ge=GUIDANCE[0], le=GUIDANCE[1])]
    steps: Annotated[int, Field(ge=STEPS[0], le=STEPS[1])]
    sampler: Literal[tuple(SAMPLERS)]
    seed: Annotated[int, Field(ge=SEED[0], le=SEED[1])]
    model: str
    lora: str
    scale: Annotated[float, Field(ge=SCALE[0], le=SCALE[1])]

    __pydantic_config__ = {"extra": "forbid", "allow_inf_nan": False}


@dataclass(frozen=True)
class Offer:
    """A tab, the models that draw in it (name: height of their pictures), and the adapters for them."""

    tab: Tab
    models: dict[str, int]
    adapters: list[str]

    def order(self, wish: Wish) -> Order:
        """ValueError where the wish is for what this tab does not offer."""
        for name, known in ((wish.model, [*self.models]), (wish.lora, ["", *self.adapters])):
            if name not in known:
                raise ValueError(f"{name!r} is not offered here; there are {', '.join(filter(None, known))}")
        words = [word for word in map(str.strip, self.tab.cut(wish.text)) if word]
        if not 1 <= len(words) <= PICTURES:
            raise ValueError(f"this asks for {len(words)} pictures; write {self.tab.hint}, for 1 to {PICTURES} of them")
        how = dict(guidance=wish.guidance, sampler=wish.sampler, steps=wish.steps, seed=wish.seed)
        how |= {"lora": wish.lora, "lora_scale": wish.scale} if wish.lora else {}
        return Order(wish.model, tuple(words), size=self.models[wish.model], grid=COLUMNS, **how)


def offers() -> list[Offer]:
    """What the weight files at hand can be told: a tab for each way to ask."""
    found: dict[str, Offer] = {}
    adapters, by_base = checkpoint.kept("lora"), {}
    for name, about in adapters.items():
        by_base.setdefault((about.get("base") or {}).get("fingerprint"), []).append(name)
    for name in checkpoint.kept("denoiser"):
        model = checkpoint.load(name)
        if model.condition is not None:
            tab = tab_of(model)
            offer = found.setdefault(tab.title, Offer(tab, {}, []))
            offer.models[name] = commands.trained_size(model)
            offer.adapters.extend(by_base.get(model.about["fingerprint"], []))
    return list(found.values())


def paint(offer: Offer, device: str, *values: Any) -> Iterator[tuple[Any, str, Any]]:
    """The picture at every step, a line about it, and at last the file; values: a Wish's, in its order."""
    try:
        wish = read(Wish, dict(zip(Wish.__annotations__, values)), offer.tab.title)
        order = offer.order(wish)
        model = commands.opened(order, device)
        request = commands.asked(order, model)
        scale = max(1, WIDTH // (min(order.grid, request.shape[0]) * request.shape[2]))
        closed = gr.update(value=None, interactive=False)
        for number, step in enumerate(draw(model, request), start=1):
            yield files.grid(step.x, order.grid, scale), f"Step {number} of {request.steps}, t = {step.t}", closed
        with tempfile.TemporaryDirectory() as folder:
            path, signed = Path(folder) / f"{order.model}-{order.seed}.png", order.signed(model, request)
            files.save([step.x], path, files.kind(path), signed.json(), order.grid, scale)
            done = "Done. The file knows how it was drawn: `sample --again` draws it once more."
            yield str(path), done, gr.update(value=str(path), interactive=True)
    except ValueError as error:
        raise gr.Error(str(error), print_exception=False) from None


def page(device: str = "cpu") -> gr.Blocks:
    """One tab per offer. One picture is drawn at a time, whoever asks; the others wait in a queue."""
    with gr.Blocks(title="diffusion101", analytics_enabled=False, delete_cache=(3600, 3600)) as blocks:
        gr.Markdown("# diffusion101\nAsk, and watch noise become what you asked for.")
        for offer in offers():
            with gr.Tab(offer.tab.title):
                _fill(offer, device)
    return blocks.queue(max_size=20)


def _fill(offer: Offer, device: str) -> None:
    models = list(offer.models)
    with gr.Row():
        with gr.Column(scale=2):
            text = gr.Textbox(offer.tab.example, lines=2, label="Draw", info=offer.tab.hint.capitalize())
            guidance = gr.Slider(*GUIDANCE, value=2.0, step=0.1, label="Guidance", info="1 obeys, more insists")
            steps = gr.Slider(*STEPS, value=10, step=1, label="Steps")
            sampler = gr.Dropdown([*SAMPLERS], value=Order.sampler, label="Sampler")
            seed = gr.Number(3, minimum=SEED[0], maximum=SEED[1], precision=0, label="Seed")
            model = gr.Dropdown(models, value=models[-1], label="Model", visible=len(models) > 1)
            some = bool(offer.adapters)
            lora = gr.Dropdown([("none", ""), *offer.adapters], value="", label="Adapter (LoRA)", visible=some)
            scale = gr.Slider(*SCALE, value=1.0, step=0.05, label="Its strength", visible=some)
            button = gr.Button("Draw", variant="primary")
        with gr.Column(scale=5):
            picture = gr.Image(format="png", label="Drawn", show_label=False, interactive=False, buttons=[])
            line = gr.Markdown()
            file = gr.DownloadButton("Download PNG", interactive=False)
    gr.on(
        [button.click, text.submit],
        partial(paint, offer, device),
        [text, guidance, steps, sampler, seed, model, lora, scale],
        [picture, line, file],
        api_name=offer.tab.title.lower(),
        preprocess=False,  # Wish checks, with one sentence for whatever is wrong
        show_progress="minimal",
        concurrency_limit=1,
        concurrency_id="draw",
    )


def serve(device: str, port: int | None = None, share: bool = False, wait: bool = True) -> str:
    """Serve the page on 127.0.0.1 until Ctrl-C, and publicly if share says so; its address, where wait is False."""
    if port is not None and not 1 <= port <= 65_535:
        raise ValueError(f"--port is {port}; it must lie from 1 to 65535")
    commands.usable(device)
    blocks = page(device)
    _, address, _ = blocks.launch(
        server_name="127.0.0.1",
        server_port=port,
        share=share,
        prevent_thread_lock=not wait,
        show_error=True,
        ssr_mode=False,
        footer_links=[],
        theme=gr.themes.Default(font=FONT, font_mono=["monospace"]),
    )
    return address
