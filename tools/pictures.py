"""The README's pictures, drawn anew from the committed weights: assets/*.gif, assets/*.png.

python -m tools.pictures      under a minute on one CPU core
"""

import torch
from torch import Tensor
from torch.nn.functional import pad

import diffusion101
from diffusion101 import Request, draw, pictures, writing
from diffusion101.core.denoiser import Denoiser
from diffusion101.figures import files, plot

from .repository import ROOT

FILM, MILESTONES = (ROOT / "assets" / name for name in ("digits_and_scenes.gif", "milestones.png"))

STEPS, COLUMNS, SCALE, SIDE = 20, 5, 3, 36  # of the film; each picture stands in a black square of SIDE pixels
SCENES = (
    "a small red four, top left",
    "a big yellow zero in the middle",
    "a tiny white 8 at the bottom",
    "a bold purple 2 on the right",
    "a green three, bottom left",
    "a big blue seven",
    "a small white six, top right",
    "a big red nine",
    "a slanted green five",
    "a bold yellow one",
)

WANTED = {  # of the milestones: a digit, and words for 08
    3: "a big red three in the middle",
    5: "a big green five in the middle",
    8: "a big thin blue eight in the middle",
}
LESSONS = ("01-basic", "02-time", "03-scales", "04-cosine", "05-guidance", "06-attention", "08-text")


def way(model: Denoiser, request: Request) -> list[Tensor]:
    """From the noise to the pictures, STEPS + 1 frames (N, 3, SIDE, SIDE)."""
    start = request.start(model, torch.Generator().manual_seed(request.seed))
    frames = [start, *(step.x for step in draw(model, request))]
    edge = (SIDE - request.size[0]) // 2
    return [pad(x.expand(-1, 3, -1, -1), (edge,) * 4, value=-1.0) for x in frames]


def digits() -> list[Tensor]:
    """The digits 0 to 9 by lesson 05's network."""
    return way(diffusion101.load("05-guidance"), Request(torch.arange(10), guidance=2.0, steps=STEPS, seed=9))


def scenes() -> list[Tensor]:
    """Ten sentences by lesson 08's network."""
    model = diffusion101.load("08-text")
    request = Request(model.condition.parse(SCENES), guidance=3.0, steps=STEPS, seed=1, size=(32, 32))
    return way(model, request)


def milestones() -> dict[str, Tensor]:
    """Each lesson's network (rows of WANTED x columns of LESSONS), all from one noise: 08's has 32 x 32 pixels in
    three colours, the others start from the middle of its first colour."""
    noise = torch.randn(len(WANTED), 3, 32, 32, generator=torch.Generator().manual_seed(10))
    columns = []
    for name in LESSONS:
        model = diffusion101.load(name)
        asked = list(WANTED.values()) if name == "08-text" else [str(digit) for digit in WANTED]
        cond = model.condition and model.condition.parse(asked)
        start = noise if model.network.config.channels == 3 else noise[:, :1, 2:-2, 2:-2]
        drawn = pictures(model, Request(cond, guidance=3.0, sampler="ddim", steps=50, noise=start))
        edge = (32 - drawn.shape[-1]) // 2
        columns.append(pad(drawn.expand(-1, 3, -1, -1), (edge,) * 4, value=-1.0))
    return {str(digit): torch.stack(row) for digit, row in zip(WANTED, zip(*columns))}


def main() -> None:
    frames = [torch.cat(parts) for parts in zip(digits(), scenes())]
    files.save(frames, FILM, files.kind(FILM), columns=COLUMNS, scale=SCALE)
    still = plot.filmstrip(milestones(), LESSONS)
    writing.whole(MILESTONES, lambda file: file.write_bytes(still.png))
    for path in (FILM, MILESTONES):
        print(f"{path.relative_to(ROOT)}: {path.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
