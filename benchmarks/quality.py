"""How well a network draws after so many seconds of training from scratch: python -m benchmarks.quality --who ours

Every contender is trained by the project's own loop with the recipe mnist-guidance, with the changes named below. The
learning rate falls to zero at the end, so each length of training is a run of its own: 20 steps of a throw-away model
tell how fast this machine is, and the run is planned to last that long. A constant rate needs one run for all lengths.
The clock starts before the data are read and stops after the last step; scoring does not count. Appends one row per
length to results/quality.json. --quick: two seconds of training, 20 pictures, nothing is written.
"""

import argparse
import copy
import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import torch
from torch import nn
from tqdm import tqdm

from diffusion101 import Request, data, pictures, reference, score, train
from diffusion101.scoring.judge import Reference
from diffusion101.training import recipe
from diffusion101.training.tasks import task
from diffusion101.writing import whole

from .machine import Others, facts
from .peers import NETWORKS

Load = Callable[[], data.Images]

RESULTS = Path(__file__).parent / "results" / "quality.json"
SLACK = 0.03  # share of the time that a plan leaves free
PROBE, WARM = 20, 3  # steps of the throw-away model; so many of them are not timed
SCALES = (1, 1.5, 2)  # of guidance


@dataclass(frozen=True)
class Contender:
    """A network, what its recipe changes in mnist-guidance, and the lengths in seconds that are tried by default."""

    title: str
    seconds: tuple[float, ...]
    network: str = "ours"
    changes: dict = field(default_factory=dict)


USUAL = {
    "process__schedule": {"kind": "linear"},
    "process__predict": "eps",
    "train__optimizer": "adamw",
    "train__lr": 1e-3,  # what both tutorials of peers.py take, with Adam
    "train__decay": False,
}
CONTENDERS = {
    "ours": Contender("ours", (40, 60, 90, 120)),
    "diffusers-net": Contender("diffusers' network, our recipe", (60, 120, 180, 360), "diffusers"),
    "diffusers-lean": Contender("diffusers' network, lean, our recipe", (60, 120, 180, 360), "diffusers-lean"),
    "usual": Contender("our network, the usual recipe", (60, 120, 300, 600, 1200), changes=USUAL),
    "usual-diffusers": Contender("diffusers' network, the usual recipe", (120, 600, 1200), "diffusers", USUAL),
}


@dataclass(frozen=True)
class Trained:
    """The averaged model of a run, the seconds that it took, and the pictures that it saw."""

    planned: float
    seconds: float
    pictures: int
    model: nn.Module


def recipe_of(who: str, seed: int, **changes) -> recipe.Recipe:
    """mnist-guidance from scratch, as this contender trains it."""
    return recipe.load("mnist-guidance", model__start=None, train__seed=seed, **CONTENDERS[who].changes | changes)


def build(who: str, chosen: recipe.Recipe) -> nn.Module:
    """The untrained Denoiser; only its network may be somebody else's."""
    model = task(chosen).build()
    if CONTENDERS[who].network != "ours":
        torch.manual_seed(chosen.train.seed)
        model.network = NETWORKS[CONTENDERS[who].network].build()
    return model


def pictures_per_second(make: Callable[[], nn.Module], chosen: recipe.Recipe, images: data.Images) -> float:
    """Of training, on a throw-away model."""
    short = replace(chosen, total=PROBE * chosen.train.batch)
    times = [time.perf_counter() for _ in train(make(), images, short)]
    return chosen.train.batch * (PROBE - WARM) / (times[-1] - times[WARM - 1])


def plan(speed: float, seconds: float, batch: int) -> int:
    """Pictures, in whole batches, that take `seconds` at `speed` pictures a second, a little less for safety."""
    return max(1, int(speed * seconds * (1 - SLACK) / batch)) * batch


def runs(chosen: recipe.Recipe, seconds: list[float]) -> list[list[float]]:
    """The lengths, each list to be had from one run."""
    return [[length] for length in sorted(seconds)] if chosen.train.decay else [sorted(seconds)]


def train_for(
    who: str, chosen: recipe.Recipe, lengths: list[float], speed: float, load: Load, bar=tqdm
) -> list[Trained]:
    """One run, looked at after each of the lengths."""
    batch = chosen.train.batch
    stops = {plan(speed, length, batch): length for length in lengths}
    chosen = replace(chosen, total=max(stops))
    found, looking, began = [], 0.0, time.perf_counter()
    images = load()
    for step in bar(train(build(who, chosen), images, chosen), total=chosen.steps, unit="step", leave=False):
        if step.images in stops:
            now = time.perf_counter()
            model = copy.deepcopy(step.run.ema.module).eval()
            found.append(Trained(stops[step.images], now - began - looking, step.images, model))
            looking += time.perf_counter() - now
    return found


def scores(model: nn.Module, real: Reference, how: recipe.Score) -> dict:
    """At each of the SCALES: accuracy, and the Fréchet distance in floors."""
    found, asked = {}, model.condition.spread(how.samples)
    for w in SCALES:
        request = Request(asked, guidance=w, sampler=how.sampler, steps=how.steps, seed=how.seed)
        scored = score(pictures(model, request), asked, real)
        keep = {name: scored[name] for name in ("accuracy", "recognised", "precision", "recall")}
        found[str(w)] = keep | {"frechet": scored["frechet"], "floors": scored["frechet"] / real.floor["frechet"]}
    return found


def rows(
    who: str, seconds: list[float], seed: int, changes: dict, real: Reference, load: Load | None = None, bar=tqdm
) -> Iterator[dict]:
    """A row per length, each as soon as it is measured."""
    chosen = recipe_of(who, seed, **changes)
    load = load or (lambda: data.load(chosen.data.name, "train", stand_in=False))
    how = replace(chosen.score, samples=len(real))
    for lengths in runs(chosen, seconds):
        speed = pictures_per_second(lambda: build(who, chosen), chosen, load())
        others = Others()
        trained = train_for(who, chosen, lengths, speed, load, bar)
        busy = others.cores()
        for result in trained:
            about = {"who": who, "planned": result.planned, "seconds": round(result.seconds, 2), "seed": seed}
            about |= {"pictures": result.pictures, "probed": round(speed, 1), "others": busy}
            about |= {"model": asdict(chosen.model), "process": asdict(chosen.process), "train": asdict(chosen.train)}
            about |= {"changes": changes, "samples": how.samples, "sampler": how.sampler, "steps": how.steps}
            about |= {"data": real.test.name, "floor": real.floor, "scores": scores(result.model, real, how)}
            yield about | {"machine": facts()}


def append(path: Path, row: dict) -> None:
    kept = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
    text = "[\n" + ",\n".join(json.dumps(each) for each in [*kept, row]) + "\n]\n"  # a row is a line
    whole(path, lambda file: file.write_text(text, encoding="utf-8"))


def sentence(row: dict) -> str:
    scored = [f"w = {w}: {s['accuracy']:.4f} right, {s['floors']:.2f} floors" for w, s in row["scores"].items()]
    about = f"{row['who']}, seed {row['seed']}: {row['pictures']:,} pictures in {row['seconds']:.1f} s"
    return "; ".join([about, *scored])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--who", nargs="+", choices=CONTENDERS, default=["ours", "diffusers-net", "usual"])
    parser.add_argument("--seconds", nargs="+", type=float, help="default: what each contender's lengths are")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--samples", type=int, default=2000)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--set", nargs="+", default=[], metavar="KEY=VALUE", help="recipe changes, as train__ema=0.998")
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--quick", action="store_true", help="two seconds, one seed, 20 pictures, nothing is written")
    args = parser.parse_args()
    if args.quick:
        args.seconds, args.seeds, args.samples = [2.0], args.seeds[:1], 20
    torch.set_num_threads(args.threads)
    load = round(os.getloadavg()[0], 2)  # before this program adds to it
    changes = {key: recipe.yaml.safe_load(value) for key, value in (change.split("=", 1) for change in args.set)}
    real = reference(data.load("mnist", "test", stand_in=False), args.samples)
    for seed in args.seeds:
        for who in args.who:  # in turns
            for row in rows(who, args.seconds or list(CONTENDERS[who].seconds), seed, changes, real):
                print(sentence(row), flush=True)
                if not args.quick:
                    append(args.out, row | {"load": load})


if __name__ == "__main__":
    main()
