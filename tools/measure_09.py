"""What do few steps cost? For lesson 09: writes assets/measured/09_sampling.json (about an hour of one core).

python -m tools.measure_09 [--samples 500] [--evaluations 1000 250 ...] [--scales 2 1]

An evaluation is one picture passing the network once. With guidance (w = 2) every step asks twice, once with the label
and once without, so 1000 evaluations are 500 steps; at w = 1 they are 1000. `plan` says who is measured where.

Each row is kept when it is done; run it again to go on where it stopped. All rows start from the same noise and ask for
the same digits, so each is compared picture by picture with ddpm at the most evaluations: "ratio" is that of the
Fréchet distances, "interval" holds it with 95 % (scoring.metrics.frechet_ratio).
"""

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from diffusion101 import Request, checkpoint, data, drawing, writing
from diffusion101.core.denoiser import Denoiser
from diffusion101.core.samplers import SAMPLERS
from diffusion101.core.schedules import SPACINGS
from diffusion101.scoring import score
from diffusion101.scoring.judge import Reference, reference
from diffusion101.scoring.metrics import frechet_ratio
from diffusion101.training.fit import duration
from diffusion101.training.folder import version

from .repository import ROOT

PATH = ROOT / "assets" / "measured" / "09_sampling.json"
BASES = ROOT / "runs" / "09"  # the judge's features of the pictures that all others are compared with
EVALUATIONS = [1000, 250, 100, 40, 20, 10, 5]
SCALES = [2.0, 1.0]
AT_MOST = {
    "ddim": 100,
    "dpmpp_2m": 40,
    "dpmpp_2m_sde": 40,
}  # evaluations; what few steps cost is asked, and more of them cost time
SPACED = 20  # up to so many steps the spacing is varied; ddpm keeps the uniform one it was made with
KEPT = ["accuracy", "recognised", "frechet", "precision", "recall"]


def plan(model: Denoiser, scales: list[float], evaluations: list[int]) -> Iterator[dict]:
    """The rows: for each w first what all are compared with, then from the fewest evaluations upwards."""
    most = max(evaluations)
    for w in scales:
        for count in [most, *sorted(set(evaluations) - {most})]:
            steps, rest = divmod(count, Request(model.condition.spread(1), guidance=w, steps=1).evaluations(model))
            if rest:
                continue  # 5 evaluations with guidance would be two steps and a half
            for sampler in SAMPLERS:
                if count > AT_MOST.get(sampler, most):
                    continue
                for spacing in ["uniform"] if sampler == "ddpm" or steps > SPACED else SPACINGS:
                    yield {"w": w, "sampler": sampler, "spacing": spacing, "evaluations": count, "steps": steps}


def is_base(row: dict, most: int) -> bool:
    """Whether all others of its w are compared with this row."""
    return row["sampler"] == "ddpm" and row["evaluations"] == most


def asked(model: Denoiser, samples: int, row: dict) -> Request:
    cond = model.condition.spread(samples)
    return Request(cond, guidance=row["w"], sampler=row["sampler"], steps=row["steps"], spacing=row["spacing"])


def rounded(compared: dict) -> dict:
    return {"ratio": round(compared["ratio"], 4), "interval": [round(end, 4) for end in compared["interval"]]}


def measure(model: Denoiser, real: Reference, row: dict) -> tuple[dict, Tensor]:
    """The row with its scores, and the judge's features (N, D) of its pictures."""

    def bar(steps, total):
        return tqdm(steps, total=total, unit="step", leave=False, desc=f"{row['sampler']} {row['spacing']}")

    request, began = asked(model, len(real), row), time.perf_counter()
    drawn = drawing.pictures(model, request, bar)
    seconds = time.perf_counter() - began
    scores = score.score(drawn, request.cond, real)
    kept = {name: round(scores[name], 4) for name in KEPT}
    return row | {"seconds": round(seconds, 1)} | kept, real.look(drawn)[1]


def about(model: Denoiser, name: str, real: Reference, most: int) -> dict:
    floor = {name: round(value, 4) for name, value in real.floor.items()}
    found = {"model": name, "fingerprint": model.about["fingerprint"], "samples": len(real), "seed": Request().seed}
    return found | {"data": real.test.name, "floor": floor, "base": {"sampler": "ddpm", "evaluations": most}}


def earlier(path: Path, same: dict) -> list[dict]:
    """The rows that are there already; ValueError if they were measured in another way."""
    if not path.exists():
        return []
    found = json.loads(path.read_text(encoding="utf-8"))
    different = [key for key, value in same.items() if found.get(key) != value]
    if different:
        raise ValueError(f"{path.name} was measured with another {', '.join(different)}: move it away first")
    return found["rows"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="05-guidance")
    parser.add_argument("--samples", type=int, default=500)
    parser.add_argument("--evaluations", type=int, nargs="+", default=EVALUATIONS)
    parser.add_argument("--scales", type=float, nargs="+", default=SCALES)
    parser.add_argument("--out", type=Path, default=PATH)
    a = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = checkpoint.load(a.model, device)
    real = reference(data.load("mnist", "test", stand_in=False).to(device), a.samples)
    most = max(a.evaluations)
    same = about(model, a.model, real, most)
    bases = {w: BASES / f"{same['fingerprint']}-{a.samples}-{most}-{w:g}.pt" for w in a.scales}
    lost = [w for w, path in bases.items() if not path.exists()]
    rows = [row for row in earlier(a.out, same) if not (is_base(row, most) and row["w"] in lost)]
    done = [{key: row[key] for key in ("w", "sampler", "spacing", "evaluations", "steps")} for row in rows]
    todo = [row for row in plan(model, a.scales, a.evaluations) if row not in done]
    one = drawing.seconds(model, Request(model.condition.spread(a.samples), steps=1))
    left = one * sum(row["evaluations"] for row in todo)
    print(f"{len(todo)} rows of {a.samples} pictures, {len(done)} there already: about {duration(left)}.", flush=True)
    for row in tqdm(todo, unit="row"):
        found, features = measure(model, real, row)
        if is_base(row, most):
            writing.whole(bases[row["w"]], lambda file, features=features: torch.save(features, file))
        compared = frechet_ratio(real.features, features, torch.load(bases[row["w"]], device))
        rows.append(found | rounded(compared))
        text = json.dumps(same | {"hardware": score.hardware(device), "version": version(), "rows": rows}, indent=1)
        writing.whole(a.out, lambda file, text=text: file.write_text(text + "\n", encoding="utf-8"))
    print(a.out)


if __name__ == "__main__":
    main()
