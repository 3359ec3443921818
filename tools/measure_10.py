"""How good are lesson 10's photographs, and are they copies? Writes assets/measured/10_cifar10.json.

python -m tools.measure_10 [--samples 1000] [--steps 20] [--scales 1 2] [--state STATE]

Real test pictures come first, under the same judge: "real" is what all of them score, "floor" what as many score
against others. Each row of "rows" is kept as soon as it is measured; run it again to go on. 1,000 pictures in 20 steps
take 20,000 network evaluations at w = 1 and twice as many at w = 2: about five minutes of one core.

STATE: a copy of a run's state.pt, kept aside while cifar10 trained: how well its weights, and their average, do.
"""

import argparse
import json
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from diffusion101 import Request, checkpoint, data, drawing, writing
from diffusion101.core.denoiser import Denoiser
from diffusion101.data import Images
from diffusion101.scoring import score
from diffusion101.scoring.judge import Reference, reference
from diffusion101.scoring.metrics import nearest
from diffusion101.training.folder import version

from .repository import ROOT
from .strips_10 import both

PATH = ROOT / "assets" / "measured" / "10_cifar10.json"
KEPT = ["accuracy", "recognised", "frechet", "precision", "recall"]
CLOSE = 100  # pictures whose nearest training pictures are looked for


def rounded(values: dict) -> dict:
    return {name: round(values[name], 4) for name in KEPT}


def said(asked: Tensor, guesses: Tensor) -> list[list[int]]:
    """How often each kind that was asked for (a row) was judged to be each kind (a column)."""
    table = torch.zeros(10, 10, dtype=torch.int64)
    table.index_put_((asked.cpu(), guesses.cpu()), torch.ones(len(asked), dtype=torch.int64), accumulate=True)
    return table.tolist()


def away(pictures: Tensor, train: Images) -> dict:
    """RMS differences, a pixel's values from -1 to 1, to the nearest training picture, as it is or mirrored."""
    far = torch.minimum(nearest(pictures, train)[1], nearest(pictures.flip(3), train)[1])
    return {"median": round(far.median().item(), 4), "least": round(far.min().item(), 4)}


def measure(model: Denoiser, real: Reference, steps: int, w: float) -> tuple[dict, Tensor]:
    """A row, and its pictures."""
    cond, size = model.condition.spread(len(real)), tuple(real.test.images.shape[2:])
    request = Request(cond, guidance=w, steps=steps, size=size)
    drawn = drawing.pictures(model, request, lambda way, total: tqdm(way, total=total, leave=False, desc=f"w = {w:g}"))
    guesses = real.look(drawn)[0].argmax(1)
    return {"w": w} | rounded(score.score(drawn, cond, real)) | {"said": said(cond, guesses)}, drawn


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="10-cifar10")
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--scales", type=float, nargs="+", default=[1.0, 2.0])
    parser.add_argument("--state", type=Path)
    parser.add_argument("--out", type=Path, default=PATH)
    a = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = checkpoint.load(a.model, device)
    test, train = (data.load(model.about["data"], split, stand_in=False).to(device) for split in ("test", "train"))
    real = reference(test, a.samples)
    same = {"model": a.model, "fingerprint": model.about["fingerprint"], "samples": a.samples, "steps": a.steps}
    same |= {"seed": Request.seed, "sampler": Request.sampler, "data": test.name}
    found = json.loads(a.out.read_text(encoding="utf-8")) if a.out.exists() else same
    if different := [key for key in same if found.get(key) != same[key]]:
        raise ValueError(f"{a.out.name} was measured with another {', '.join(different)}: move it away first")

    def keep(**more) -> None:
        found.update({"hardware": score.hardware(device), "version": version()} | more)
        text = json.dumps(found, indent=1) + "\n"
        writing.whole(a.out, lambda file: file.write_text(text, encoding="utf-8"))

    if "real" not in found:
        guesses = torch.cat(
            [real.look(test.pictures(part))[0].argmax(1) for part in torch.arange(len(test)).split(500)]
        )
        accuracy = (guesses == test.labels).float().mean().item()
        few = test.pictures(torch.arange(CLOSE) * len(test) // CLOSE)
        judged = {"accuracy": round(accuracy, 4), "said": said(test.labels, guesses), "nearest": away(few, train)}
        keep(floor=rounded(real.floor), real=judged)
    if a.state:
        images, raw, average = both(a.state)
        losses = {name: round(score.test_loss(m, test), 5) for name, m in (("raw", raw), ("averaged", average))}
        keep(average={"images": images} | losses)
    for w in a.scales:
        if w not in [row["w"] for row in found.get("rows", [])]:
            row, drawn = measure(model, real, a.steps, w)
            row["nearest"] = away(drawn[:CLOSE], train)
            keep(rows=sorted([*found.get("rows", []), row], key=lambda row: row["w"]))
    print(a.out)


if __name__ == "__main__":
    main()
