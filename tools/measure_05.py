"""What lesson 05 reports: writes assets/measured/05_guidance.json, 05_interval.json and 05_birth.json.

python -m tools.measure_05 curve [--model 05-guidance] [--samples 1000]    what guidance buys and costs
python -m tools.measure_05 interval [--model 05-guidance] [--samples 1000]    guidance for a part of the way
python -m tools.measure_05 birth [--images 12800] [--samples 1000]         how the label's path is born
python -m tools.measure_05 birth --only 2                                  one of the three births anew
"""

import argparse
import json
import time

import torch
from torch import nn
from tqdm import tqdm

import diffusion101
from diffusion101 import Request, checkpoint, data, guidance, samplers, writing
from diffusion101.core.denoiser import Denoiser
from diffusion101.drawing import at_once, in_parts
from diffusion101.networks.blocks import Modulation
from diffusion101.scoring import score
from diffusion101.scoring.judge import Reference, reference
from diffusion101.training import recipe, tasks
from diffusion101.training.folder import version

from .repository import ROOT

FOLDER = ROOT / "assets" / "measured"
SCALES = [0, 0.5, 1, 1.15, 1.5, 2, 3, 4]
CURVES = ["accuracy", "recognised", "frechet", "precision", "recall"]
UNCLIPPED = [4]  # drawn once more without clipping
PARTS = {"the first step": (900, 1000), "the next four": (500, 900), "the last five": (0, 500)}  # low < t <= high
STRONG = 4  # the w of these parts; outside of them it is 1
BIRTHS = {"table N(0, 1), projection 0": (1, 0), "table 0, projection random": (0, 1), "table 0, projection 0": (0, 0)}


def scores(model: Denoiser, real: Reference, w: float, clip: bool = True) -> dict:
    """What as many pictures as the reference has score, each label asked for equally often."""
    asked = model.condition.spread(len(real))
    drawn = diffusion101.pictures(model, Request(asked, guidance=w, clip=clip))
    found = score.score(drawn, asked, real)
    return {name: round(found[name], 4) for name in CURVES}


def about(real: Reference) -> dict:
    how = Request()
    floor = {name: round(value, 4) for name, value in real.floor.items()}
    found = {"samples": len(real), "seed": how.seed, "sampler": how.sampler, "steps": how.steps, "floor": floor}
    device = score.hardware(torch.device("cuda" if torch.cuda.is_available() else "cpu"))
    return found | {"data": real.test.name, "hardware": device, "version": version()}


def curve(model: str, samples: int) -> dict:
    """The scores at every w; at some of them also without clipping."""
    denoiser = checkpoint.load(model, "cuda" if torch.cuda.is_available() else "cpu")
    real = reference(data.load("mnist", "test", stand_in=False), samples)
    rows = [scores(denoiser, real, w) for w in tqdm(SCALES, unit="w")]
    free = [scores(denoiser, real, w, clip=False) for w in tqdm(UNCLIPPED, unit="w")]
    found = about(real) | {"model": model, "fingerprint": denoiser.about["fingerprint"], "w": SCALES}
    found |= {name: [row[name] for row in rows] for name in CURVES}
    return found | {"unclipped": {"w": UNCLIPPED} | {name: [row[name] for row in free] for name in CURVES}}


def part(model: Denoiser, real: Reference, low: int, high: int) -> dict:
    """The scores of samples that are guided with STRONG where low < t <= high only."""
    asked, s = model.condition.spread(len(real)), model.schedule
    how = Request(asked)
    few = in_parts(model, at_once(how))
    denoise = guidance.interval(guidance.guide(few, asked, STRONG), guidance.guide(few, asked, 1), low, high)
    noise = how.start(model, torch.Generator().manual_seed(how.seed))
    *_, last = samplers.dpmpp_2m(guidance.clip(denoise, s), noise, s, how.steps)
    found = score.score(last.x.clamp(-1, 1), asked, real)
    return {name: round(found[name], 4) for name in CURVES}


def interval(model: str, samples: int) -> dict:
    """The scores of each of the PARTS."""
    denoiser = checkpoint.load(model)
    real = reference(data.load("mnist", "test", stand_in=False), samples)
    rows = {name: {"t": ends} | part(denoiser, real, *ends) for name, ends in tqdm(PARTS.items(), unit="part")}
    return about(real) | {"model": model, "fingerprint": denoiser.about["fingerprint"], "w": STRONG, "parts": rows}


def birth(images: int, samples: int, only: int | None) -> dict:
    """The same short run from scratch, with three births of the label's path; all three start as the identity."""
    chosen = recipe.load("mnist-guidance", total=images, model__start=None)
    real = reference(data.load("mnist", "test", stand_in=False), samples)
    train_set = data.load("mnist", "train", stand_in=False)
    kept = FOLDER / "05_birth.json"
    rows = json.loads(kept.read_text())["births"] if only is not None and kept.exists() else {}
    for name, (table, projection) in list(BIRTHS.items())[slice(None) if only is None else slice(only, only + 1)]:
        model = tasks.task(chosen).build()
        model.network.condition.weight.data.mul_(table)
        for module in model.modules():
            if isinstance(module, Modulation) and projection:
                module.hear[1].reset_parameters()
                nn.init.zeros_(module.hear[1].bias)
        began = time.process_time()
        for step in tqdm(diffusion101.train(model, train_set, chosen), total=chosen.steps, desc=name):
            pass
        seconds = round(time.process_time() - began)
        averaged = step.run.ema.module.eval()
        once = scores(averaged, real, 1)
        deaf = not averaged.network.condition.weight.any()  # c and u are the same, so all w draw the same
        rows[name] = {"seconds": seconds, "w = 1": once, "w = 2": once if deaf else scores(averaged, real, 2)}
    ordered = {name: rows[name] for name in BIRTHS if name in rows}
    return about(real) | {"images": step.images, "train_seed": chosen.train.seed, "births": ordered}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    of_birth = commands.add_parser("birth")
    for command in ("curve", "interval"):
        of_model = commands.add_parser(command)
        of_model.add_argument("--model", default="05-guidance")
        of_model.add_argument("--samples", type=int, default=1000)
    of_birth.add_argument("--images", type=int, default=12_800)
    of_birth.add_argument("--samples", type=int, default=1000)
    of_birth.add_argument("--only", type=int, choices=range(len(BIRTHS)))
    options = vars(parser.parse_args())
    command = options.pop("command")
    found = {"curve": curve, "interval": interval, "birth": birth}[command](**options)
    path = FOLDER / {"curve": "05_guidance.json", "interval": "05_interval.json", "birth": "05_birth.json"}[command]
    writing.whole(path, lambda file: file.write_text(json.dumps(found, indent=1) + "\n"))
    print(path.relative_to(ROOT))


if __name__ == "__main__":
    main()
