"""What lesson 04's network lacks, which is told nothing: python -m benchmarks.lacks [NAME ...]

Each variant is trained from scratch by the recipe mnist-cosine for about as many seconds of one thread, so that what is
dearer sees fewer pictures; the base also twice and four times as long. Then it draws as many pictures as there are real
ones in the floor, by 50 steps of ddpm. A row each in results/lacks.json; half an hour of one core, scoring included.
"""

import argparse
import json
import time
from pathlib import Path

import torch
from tqdm import tqdm

from diffusion101 import data, reference, train
from diffusion101.scoring.score import score_model
from diffusion101.training import recipe
from diffusion101.training.tasks import task

from .machine import Others, facts
from .quality import append, pictures_per_second, plan

RESULTS = Path(__file__).parent / "results" / "lacks.json"
TOP = [{"width": 16}, {"width": 32}]
VARIANTS = {  # the bottom, and how many times as long
    "two blocks of 64 (as it is)": ({"width": 64, "blocks": 2}, 1),
    "three blocks": ({"width": 64, "blocks": 3}, 1),
    "self-attention": ({"width": 64, "blocks": 2, "attention": True}, 1),
    "width 96": ({"width": 96, "blocks": 2}, 1),
    "as it is, twice as long": ({"width": 64, "blocks": 2}, 2),
    "as it is, four times as long": ({"width": 64, "blocks": 2}, 4),
}


def measure(name: str, seconds: float, samples: int) -> dict:
    """The row of one variant."""
    bottom, longer = VARIANTS[name]
    changes = {"model__start": None, "model__change": {"levels": [*TOP, bottom]}}
    changes |= {"score__samples": samples, "score__steps": 50}
    chosen = recipe.load("mnist-cosine", **changes)
    job, images = task(chosen), data.load("mnist", "train", stand_in=False)
    speed = pictures_per_second(job.build, chosen, images)
    total = plan(speed, seconds * longer, chosen.train.batch)
    chosen = recipe.load("mnist-cosine", total=total, **changes)
    others, began = Others(), time.process_time()
    for step in tqdm(train(job.build(), images, chosen), total=chosen.steps, desc=name, leave=False):
        pass
    taken, busy, test = time.process_time() - began, others.cores(), data.load("mnist", "test", stand_in=False)
    found = score_model(step.run.ema.module.eval(), test, chosen.score)
    floor = reference(test, samples).floor["frechet"]
    row = {"what": name, "pictures": total, "seconds": round(taken, 1), "seed": chosen.train.seed, "others": busy}
    row |= {key: found[key] for key in ("samples", "sampler", "steps", "frechet", "recognised", "precision", "recall")}
    return row | {"floors": found["frechet"] / floor, "floor": floor, "machine": facts()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"some of: {', '.join(VARIANTS)}; default: all")
    parser.add_argument("--seconds", type=float, default=100)
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--out", type=Path, default=RESULTS)
    args = parser.parse_args()
    if unknown := [name for name in args.names if name not in VARIANTS]:
        parser.error(f"there is no {unknown[0]!r}; there are {', '.join(VARIANTS)}")
    torch.set_num_threads(1)
    for name in args.names or VARIANTS:
        row = measure(name, args.seconds, args.samples)
        print(
            json.dumps({key: row[key] for key in ("what", "pictures", "seconds", "floors", "recognised")}), flush=True
        )
        append(args.out, row)


if __name__ == "__main__":
    main()
