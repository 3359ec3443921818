"""What a training run drew on its way. For lesson 10: writes assets/measured/10_epochs.png and 10_average.png.

python -m tools.strips_10 RUN [--state STATE]

10_epochs.png: a row for each preview that the run left in RUN/samples, always from the same noise, one picture of each
kind. 10_average.png: what a copy of the run's state.pt draws, STATE, with its raw weights and with their average.
The pictures are as the network drew them, 32 pixels wide, in a palette of 256 colours; a note in the file says what the
rows are (diffusion101.figures.files.note).
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from torch import Tensor

from diffusion101 import Request, pictures, writing
from diffusion101.core.denoiser import Denoiser
from diffusion101.figures import files
from diffusion101.training import tasks
from diffusion101.training.folder import Folder
from diffusion101.training.loop import Run

from .repository import ROOT

FOLDER = ROOT / "assets" / "measured"
KINDS = 10
SCALE = 2  # how many times a preview repeats each pixel


def preview(path: Path, side: int) -> Tensor:
    """The first picture of each kind in a run's preview: (10, 3, side, side) in [-1, 1]."""
    array = np.asarray(Image.open(path).convert("RGB"))[::SCALE, ::SCALE]
    x = torch.from_numpy(array.copy()).movedim(-1, 0).float() / 127.5 - 1  # (3, rows side, columns side)
    cells = x.unfold(1, side, side).unfold(2, side, side).flatten(1, 2)  # (3, pictures, side, side)
    return cells.movedim(0, 1)[:KINDS]


def both(state: Path) -> tuple[int, Denoiser, Denoiser]:
    """How many pictures a run had seen when this state was kept beside its run.yaml; raw weights, and their average."""
    recipe, _ = Folder(state.parent).kept()
    run = Run(tasks.task(recipe).build(), recipe)
    run.load_state_dict(torch.load(state, map_location="cpu", weights_only=True))
    return run.step * recipe.train.batch, run.model.eval(), run.ema.module.eval()


def write(rows: dict[str, Tensor], path: Path, how: str) -> None:
    """Rows of ten pictures as one small file."""
    note = PngInfo()
    note.add_text(files.KEY, json.dumps({"rows": [*rows], "how": how}))
    picture = files.grid(torch.cat([*rows.values()]), KINDS, 1).quantize(256, Image.Quantize.MEDIANCUT)
    writing.whole(path, lambda beside: picture.save(beside, "png", optimize=True, pnginfo=note))
    print(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--state", type=Path)
    a = parser.parse_args()
    recipe, _ = Folder(a.run).kept()
    shown = {f"{int(path.stem[5:]) * recipe.train.batch:,}": path for path in sorted(a.run.glob("samples/step-*.png"))}
    if shown:
        rows = {name: preview(path, recipe.data.size) for name, path in shown.items()}
        write(rows, FOLDER / "10_epochs.png", "previews of the run: w = 2, 25 steps of ddim, averaged weights")
    if a.state:
        images, raw, average = both(a.state)
        asked = Request(torch.arange(KINDS), guidance=2.0, steps=20, size=(recipe.data.size,) * 2)
        rows = {"raw": pictures(raw, asked), "averaged": pictures(average, asked)}
        write(rows, FOLDER / "10_average.png", f"after {images:,} pictures: w = 2, 20 steps of dpmpp_2m, seed 0")


if __name__ == "__main__":
    main()
