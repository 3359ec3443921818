"""Which of the two changes does it? For lesson 04: writes assets/measured/04_schedule_and_target.json.

python -m tools.measure_04 [--images 24000] [--samples 250]

Trains M4 from scratch four times, on the linear and the cosine schedule, with eps and with v as its target; about
six minutes of CPU.
"""

import argparse
import json

import torch
from tqdm import tqdm

from diffusion101 import Denoiser, checkpoint, data, evaluate, recipe, runs
from diffusion101.train import train

from .repository import ROOT


def fit(schedule: str, predict: str, images: int, shown: data.Images) -> tuple[Denoiser, recipe.Recipe]:
    changes = dict(schedule={"kind": schedule}, predict=predict, warm_start="", images=images, batch=64)
    chosen = recipe.load("mnist-cosine", **changes)
    for step in tqdm(train(runs.build(chosen, shown.images.device), shown, chosen), total=chosen.steps, unit="step"):
        pass
    return step.run.ema.module.eval(), chosen


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=24_000)
    parser.add_argument("--samples", type=int, default=250)
    args = parser.parse_args()
    shown = data.load("mnist", "train").to("cuda" if torch.cuda.is_available() else "cpu")
    test, rows = data.load("mnist", "test"), []
    for schedule in ("linear", "cosine"):
        for predict in ("eps", "v"):
            model, chosen = fit(schedule, predict, args.images, shown)
            for steps in (5, 20):
                scores = evaluate.evaluate(model, test, args.samples, sampler="ddim", steps=steps, batch=125)
                row = {name: scores[name] for name in ("frechet", "recognised")}
                rows.append({"schedule": schedule, "predict": predict, "steps": steps, **row})
    about = {name: scores[name] for name in ("samples", "seed", "sampler", "data", "hardware", "floor")}
    about |= {"images": chosen.steps * chosen.batch, "training_seed": chosen.seed, "version": runs.version()}
    about["rows"] = rows
    path = ROOT / "assets" / "measured" / "04_schedule_and_target.json"
    checkpoint.whole(path, lambda file: file.write_text(json.dumps(about, indent=1) + "\n"))
    print(path.relative_to(ROOT))


if __name__ == "__main__":
    main()
