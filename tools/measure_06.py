"""How many of the 100 numbers can be kept from training? For lesson 06: writes assets/measured/06_held_out.json.

python -m tools.measure_06 [--hidden 70 90] [--images 12000] [--samples 300]

Trains M6 once for each, every time from 04-cosine; about three minutes each on one CPU core.
"""

import argparse
import json

import torch
from tqdm import tqdm

from diffusion101 import checkpoint, train
from diffusion101.scoring.judge import reference
from diffusion101.scoring.score import hardware, score_numbers
from diffusion101.training import recipe, tasks
from diffusion101.training.folder import version

from .repository import ROOT

PATH = ROOT / "assets" / "measured" / "06_held_out.json"
HOW = recipe.Score()


def measure(hidden: int, images: int, samples: int, device: torch.device) -> dict:
    """One M6 that was never shown so many numbers: the shares of numbers with both digits right."""
    chosen = recipe.load("mnist-numbers", total=images, data__hidden=hidden)
    task = tasks.task(chosen)
    model, stream = task.build().to(device), task.stream(task.images("train", "mnist").to(device))
    for step in tqdm(train(model, stream, chosen), total=chosen.steps, desc=f"{hidden} hidden", unit="step"):
        pass
    how = recipe.Score(samples=samples)
    real = reference(task.images("test", "mnist").to(device), samples, how.seed)
    shares = score_numbers(step.run.ema.module.eval(), real, hidden, how)
    return shares | {"images": step.images, "training_seed": chosen.train.seed, "start": chosen.model.start}


def keep(text: str) -> None:
    checkpoint.whole(PATH, lambda file: file.write_text(text))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hidden", type=int, nargs="+", default=[70, 90])
    parser.add_argument("--images", type=int, default=12_000)
    parser.add_argument("--samples", type=int, default=300)
    args = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    about = {"seed": HOW.seed, "sampler": HOW.sampler, "steps": HOW.steps, "guidance": HOW.guidance, "data": "mnist"}
    about |= {"hardware": hardware(device), "version": version(), "rows": []}
    for hidden in args.hidden:
        row = measure(hidden, args.images, args.samples, device)
        about |= {key: row.pop(key) for key in ("samples", "images", "training_seed", "start", "real")}
        about["rows"].append(row)
        keep(json.dumps(about, indent=1) + "\n")  # after each: they are long
    print(PATH.relative_to(ROOT))


if __name__ == "__main__":
    main()
