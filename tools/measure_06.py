"""How many of the 100 numbers can be kept from training? For lesson 06: writes assets/measured/06_held_out.json.

python -m tools.measure_06 [--held-out 50 70 80 90] [--images 30000] [--samples 500]

Trains M6 once for each, every time from 05-guidance; about five minutes each on one CPU core.
"""

import argparse
import json
from pathlib import Path

import torch
from tqdm import tqdm

from diffusion101 import checkpoint, evaluate, recipe, runs
from diffusion101.train import train

from .repository import ROOT


def keep(path: Path, about: dict) -> None:
    checkpoint.whole(path, lambda file: file.write_text(json.dumps(about, indent=1) + "\n"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--held-out", type=int, nargs="+", default=[50, 70, 80, 90])
    parser.add_argument("--images", type=int, default=30_000)
    parser.add_argument("--samples", type=int, default=500)
    args = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    path = ROOT / "assets" / "measured" / "06_held_out.json"
    rows = []
    for held_out in args.held_out:
        chosen = recipe.load("mnist-pairs", held_out=held_out, images=args.images)
        model, shown = runs.build(chosen, device), runs.pictures(chosen, "train").to(device)
        for step in tqdm(train(model, shown, chosen), total=chosen.steps, desc=f"{held_out} held out", unit="step"):
            pass
        best, test = step.run.ema.module.eval(), runs.pictures(chosen, "test")
        rows.append(evaluate.evaluate_pairs(best, test, held_out, args.samples, scale=2.0))
        about = {name: rows[0][name] for name in ("samples", "seed", "sampler", "steps", "guidance")}
        about |= {"images": step.images, "training_seed": chosen.seed, "warm_start": chosen.warm_start}
        about |= {"data": test.name, "hardware": evaluate.hardware(device), "version": runs.version()}
        about |= {name: [row[name] for row in rows] for name in ("held_out", "seen", "unseen", "real")}
        keep(path, about)  # after each run: they are long
    print(path.relative_to(ROOT))


if __name__ == "__main__":
    main()
