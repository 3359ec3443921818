"""What a network lacks: python -m benchmarks.lacks [--recipe mnist-cosine or cifar10] [NAME ...]

Each variant is trained from scratch by the recipe for about as many seconds of one thread, so that what is dearer sees
fewer pictures; lesson 04's, which is told nothing, also twice and four times as long. A row each in results/lacks.json:
the loss on test pictures, and the scores of as many drawn ones as there are real ones in the floor (--samples 0: none).
Half an hour of one core, scoring included.
"""

import argparse
import json
import time
from pathlib import Path

import torch
from tqdm import tqdm

from diffusion101 import data, reference, train
from diffusion101.scoring.score import score_model, test_loss
from diffusion101.training import recipe
from diffusion101.training.tasks import task

from .machine import Others, facts
from .quality import append, pictures_per_second, plan

RESULTS = Path(__file__).parent / "results" / "lacks.json"
TOP = [{"width": 16}, {"width": 32}]


def levels(*widths: int) -> list[dict]:
    """Levels of these widths, two blocks at the bottom, whose pixels and those of the level above ask each other."""
    asking = [{"width": width, "attention": i >= len(widths) - 2} for i, width in enumerate(widths)]
    return [*asking[:-1], asking[-1] | {"blocks": 2}]


GREY = {  # the levels, and how many times as long
    "two blocks of 64 (as it is)": ([*TOP, {"width": 64, "blocks": 2}], 1),
    "three blocks": ([*TOP, {"width": 64, "blocks": 3}], 1),
    "self-attention": ([*TOP, {"width": 64, "blocks": 2, "attention": True}], 1),
    "width 96": ([*TOP, {"width": 96, "blocks": 2}], 1),
    "as it is, twice as long": ([*TOP, {"width": 64, "blocks": 2}], 2),
    "as it is, four times as long": ([*TOP, {"width": 64, "blocks": 2}], 4),
}
COLOUR = {str(widths): (levels(*widths), 1) for widths in ((16, 32, 64, 128), (32, 64, 128, 128), (64, 128, 128, 128))}
VARIANTS = {"mnist-cosine": GREY, "cifar10": COLOUR}
STEPS = {"mnist-cosine": 50, "cifar10": 20}


def measure(study: str, name: str, seconds: float, samples: int) -> dict:
    """The row of one variant."""
    shape, longer = VARIANTS[study][name]
    changes = {"model__start": None, "model__change": {"levels": shape}}
    changes |= {"score__samples": samples, "score__steps": STEPS[study]}
    chosen = recipe.load(study, **changes)
    job, jpeg = task(chosen), chosen.data.name == "cifar10"  # CIFAR-10 as JPEG may stand in, and is named in the row
    images = data.load(chosen.data.name, "train", stand_in=jpeg)
    speed = pictures_per_second(job.build, chosen, images)
    total = plan(speed, seconds * longer, chosen.train.batch)
    chosen = recipe.load(study, total=total, **changes)
    others, began = Others(), time.process_time()
    for step in tqdm(train(job.build(), job.stream(images), chosen), total=chosen.steps, desc=name, leave=False):
        pass
    taken, busy, test = time.process_time() - began, others.cores(), data.load(chosen.data.name, "test", stand_in=jpeg)
    model = step.run.ema.module.eval()
    row = {"recipe": study, "what": name, "pictures": total, "seconds": round(taken, 1), "others": busy}
    row["data"] = images.name
    row |= {"seed": chosen.train.seed, "loss": test_loss(model, test)}
    if not samples:
        return row | {"machine": facts()}
    found, floor = score_model(model, test, chosen.score), reference(test, samples).floor["frechet"]
    told = ("samples", "sampler", "steps", "guidance", "accuracy", "frechet", "recognised", "precision", "recall")
    row |= {key: found[key] for key in told if key in found}
    return row | {"floors": found["frechet"] / floor, "floor": floor, "machine": facts()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help="some of the recipe's variants; default: all")
    parser.add_argument("--recipe", choices=VARIANTS, default="mnist-cosine")
    parser.add_argument("--seconds", type=float, default=100)
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--out", type=Path, default=RESULTS)
    args = parser.parse_args()
    there = VARIANTS[args.recipe]
    if unknown := [name for name in args.names if name not in there]:
        parser.error(f"there is no {unknown[0]!r}; there are {', '.join(there)}")
    torch.set_num_threads(1)
    for name in args.names or there:
        row = measure(args.recipe, name, args.seconds, args.samples)
        shown = ("what", "pictures", "seconds", "loss", "floors", "recognised", "accuracy")
        print(json.dumps({key: row[key] for key in shown if key in row}), flush=True)
        append(args.out, row)


if __name__ == "__main__":
    main()
