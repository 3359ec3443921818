"""Which word is learnt when, and what makes it late? For lesson 08: writes assets/measured/08_race.json.

python -m tools.measure_08 [--varied 10000] [STATE ...]

Two tables, each row kept as soon as it is measured; run it again to go on.
"rows": the average of the weights on its way. STATE: copies of a run's state.pt, kept aside while mnist-text trained.
"varied": M8 trained from nothing on so many pictures in which only some things vary: about ten minutes of one core.
"""

import argparse
import json
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

import torch
from tqdm import tqdm

from diffusion101 import Request, data, pictures, train, writing
from diffusion101.core.denoiser import Denoiser
from diffusion101.data.captions import Scene, caption, draw
from diffusion101.data.scenes import Scenes
from diffusion101.scoring.judge import load_classifier
from diffusion101.scoring.scenes import right, score_scenes, shares
from diffusion101.scoring.score import hardware
from diffusion101.training import recipe, tasks
from diffusion101.training.folder import version
from diffusion101.training.loop import Run

from .repository import ROOT

PATH = ROOT / "assets" / "measured" / "08_race.json"
PLAIN = {"colour": "white", "size": "big", "place": "middle", "hand": "plain"}  # what does not vary
VARIED = {  # what differs -> how that is drawn and said
    "the digit, said as 7": {"numeral": True},
    "the digit": {},
    "digit and colour": {"vary": ("colour",)},
    "digit and place": {"vary": ("place",)},
    "everything": {"vary": tuple(PLAIN)},
}


@dataclass(frozen=True)
class Varied(Scenes):
    """Scenes of one digit in which, beside it, only these of colour, size, place and hand vary, and are said.

    numeral  whether the sentence is nothing but the digit, as "7", and not one of the grammar's many
    """

    vary: tuple[str, ...] = ()
    numeral: bool = False

    def draw(self, random: Random, size: int) -> list[Scene]:
        plain = {key: value for key, value in PLAIN.items() if key not in self.vary}
        return [(replace(draw(random)[0], **plain),) for _ in range(size)]

    def say(self, scene: Scene, random: Random) -> str:
        unsaid = {key: None for key in PLAIN if key not in self.vary}
        return str(scene[0].digit) if self.numeral else caption((replace(scene[0], **unsaid),), random)


def varied(name: str, images: int, samples: int) -> dict:
    """The share of digits that M8 draws as asked after so many pictures of this kind."""
    chosen = recipe.load("mnist-text", total=images)
    job = tasks.task(chosen)
    model = job.build()
    stream = Varied(job.images("train"), model.condition.parse, **VARIED[name])
    for step in tqdm(train(model, stream, chosen), total=chosen.steps, unit="step", leave=False):
        pass
    best, random, how = step.run.ema.module.eval(), Random(chosen.score.seed), chosen.score
    asked = stream.draw(random, samples)
    cond = model.condition.parse([stream.say(scene, random) for scene in asked])
    drawn = pictures(best, Request(cond, size=(stream.side,) * 2, **how.options()))
    return {"images": step.images, "digit": shares(right(load_classifier(), drawn, asked))["digit"]}


def on_its_way(state: Path) -> tuple[int, Denoiser]:
    """How many pictures a run had seen when this state was kept, and the average of its weights then."""
    chosen = recipe.load("mnist-text")
    run = Run(tasks.task(chosen).build(), chosen)
    run.load_state_dict(torch.load(state, map_location="cpu", weights_only=False))
    return run.step * chosen.train.batch, run.ema.module.eval()


def row(model: Denoiser, images: int, samples: int) -> dict:
    how = replace(recipe.load("mnist-text").score, samples=samples)
    scores = score_scenes(model, data.load("mnist", "test"), how)["scenes"]["one digit"]
    seen, held = scores["seen"], scores["held out"]
    found = {key: seen[key] for key in ("digit", "colour", "place", "all")}
    return {"what": "M8", "images": images} | found | {"held_out_all": held["all"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("states", nargs="*", type=Path)
    parser.add_argument("--varied", type=int, default=10_000, metavar="PICTURES")
    parser.add_argument("--samples", type=int, default=200)
    parser.add_argument("--out", type=Path, default=PATH)
    a = parser.parse_args()
    found = json.loads(a.out.read_text(encoding="utf-8")) if a.out.exists() else {"rows": [], "varied": []}
    found |= {"samples": a.samples, "seed": 0, "hardware": hardware(torch.device("cpu")), "version": version()}

    def keep() -> None:
        text = json.dumps(found, indent=1) + "\n"
        writing.whole(a.out, lambda file: file.write_text(text, encoding="utf-8"))

    for state in tqdm(a.states, unit="state"):
        images, model = on_its_way(state)
        if images not in [row["images"] for row in found["rows"]]:
            found["rows"] = sorted([*found["rows"], row(model, images, a.samples)], key=lambda row: row["images"])
            keep()
    for name in tqdm(VARIED, unit="kind"):
        if a.varied and name not in [row["what"] for row in found["varied"]]:
            found["varied"].append({"what": name} | varied(name, a.varied, a.samples))
            found["varied"].sort(key=lambda row: [*VARIED].index(row["what"]))
            keep()
    print(a.out)


if __name__ == "__main__":
    main()
