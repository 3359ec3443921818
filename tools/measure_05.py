"""What guidance buys and costs, for lesson 05: writes assets/measured/05_guidance.json. About ten minutes on a CPU.

python -m tools.measure_05 [--model 05-guidance] [--samples 2000]
"""

import argparse
import json

import torch
from tqdm import tqdm

from diffusion101 import checkpoint, evaluate, runs

from .repository import ROOT

SCALES = [0, 0.5, 1, 1.15, 1.25, 1.5, 2, 3, 4, 6]
CURVES = ["accuracy", "recognised", "frechet", "precision", "recall"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="05-guidance")
    parser.add_argument("--samples", type=int, default=2000)
    args = parser.parse_args()
    denoiser = checkpoint.load(args.model, "cuda" if torch.cuda.is_available() else "cpu")
    test = evaluate.own_data(denoiser, "test")
    common = dict(samples=args.samples, seed=0, sampler="dpmpp_2m", steps=10, batch=50)
    rows = [evaluate.evaluate(denoiser, test, scale=w, **common) for w in tqdm(SCALES, unit="w")]
    about = {name: rows[0][name] for name in ("samples", "seed", "sampler", "steps", "data", "hardware", "floor")}
    about |= {"model": args.model, "version": runs.version(), "w": SCALES}
    about |= {name: [row[name] for row in rows] for name in CURVES}
    path = ROOT / "assets" / "measured" / "05_guidance.json"
    checkpoint.whole(path, lambda file: file.write_text(json.dumps(about, indent=1) + "\n"))
    print(path.relative_to(ROOT))


if __name__ == "__main__":
    main()
