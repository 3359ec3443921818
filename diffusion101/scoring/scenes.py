"""Judging scenes: where the things are, their colours and sizes by arithmetic, which digits by the classifier."""

from collections.abc import Callable, Iterable, Sequence
from itertools import permutations
from random import Random

import torch
import torch.nn.functional as F
from torch import Tensor

from ..core.denoiser import Denoiser
from ..data.captions import PLACES, Scene, Thing, caption, draw, forget
from ..data.images import Images
from ..data.scenes import COLOURS, INK, SIZES, box, render, window
from ..drawing import Request, pictures
from .classifier import Classifier
from .judge import judge, load_classifier
from .score import hardware

ASIDE = 3.0  # pixels of 32: from here a thing is no longer in the middle
KEYS = ("digit", "colour", "place", "size")
ASKED = KEYS[:3]  # what counts as drawing what was said; the size is told apart


def look(classifier: Classifier, x: Tensor) -> list[Thing]:
    """What the thing in each picture x (N, 3, side, side) in [-1, 1] is; whatever is bright belongs to it."""
    side, light = x.shape[-1], (x + 1) / 2
    ink = light.amax(1)  # (N, side, side)
    low, high = box(ink)
    hue = (light * (ink > INK)[:, None]).sum((2, 3))  # (N, 3)
    table = torch.tensor([*COLOURS.values()]).to(x)
    colour = (F.normalize(hue, dim=1) @ F.normalize(table, dim=1).T).argmax(1)  # the smallest angle
    aside = ((low + high) / 2 - side / 2) * 32 / side
    step = (aside > ASIDE).long() - (aside < -ASIDE).long()  # (N, 2), -1, 0 or 1
    length = (high - low).amax(1)
    big = length > (SIZES["small"][0] + SIZES["big"][0]) / 2 * side / 32
    digit = judge(classifier, crop(ink, length))[0].argmax(1)
    colours, places = [*COLOURS], {where: name for name, where in PLACES.items()}
    rows = zip(*(each.tolist() for each in (digit, colour, big, step)))
    return [Thing(d, colours[c], "big" if b else "small", places[tuple(where)]) for d, c, b, where in rows]


def crop(ink: Tensor, length: Tensor) -> Tensor:
    """Strokes ink (N, side, side), their longer sides (N,) -> (N, 1, 28, 28) in [-1, 1], framed as MNIST's digits are.

    20 pixels for the longer side, the centre of mass in the middle (LeCun et al. 1998, section III A).
    """
    n, side = ink.shape[:2]
    mass = ink * (ink > INK)
    along = torch.arange(side, device=ink.device) + 0.5
    middle = torch.stack([(mass.sum(1) * along).sum(1), (mass.sum(2) * along).sum(1)], 1)  # (N, 2), x and y
    middle = middle / mass.sum((1, 2)).clamp(min=1e-6)[:, None]
    digit = window(ink[:, None], middle, torch.full_like(middle, 14.0), length / 20, 28, 28)
    return (digit / digit.amax((1, 2, 3), keepdim=True).clamp(min=INK)).clamp(0, 1) * 2 - 1


def parted(x: Tensor, rounds: int = 10) -> tuple[Tensor, Tensor]:
    """Pictures (N, 3, side, side) of two things as two pictures of one thing: each pixel goes to the nearer centre.

    2-means of the bright pixels' places (Lloyd 1982), begun on both sides of the middle along the longest spread.
    """
    side = x.shape[-1]
    light = (x + 1) / 2
    weight = (light.amax(1) * (light.amax(1) > INK)).flatten(1)  # (N, P)
    y, x_ = torch.meshgrid(*[torch.arange(side, device=x.device).to(x) + 0.5] * 2, indexing="ij")
    places = torch.stack([x_, y], -1).view(1, -1, 2)  # (1, P, 2)

    def mean(weight: Tensor) -> Tensor:
        return (weight[..., None] * places).sum(1) / weight.sum(1).clamp(min=1e-6)[:, None]

    middle = mean(weight)
    apart = places - middle[:, None]
    spread = (weight[:, None] * apart.mT) @ apart / weight.sum(1).clamp(min=1e-6)[:, None, None]  # (N, 2, 2)
    values, vectors = torch.linalg.eigh(spread)
    step = vectors[:, :, 1] * values[:, 1:].clamp(min=1e-6).sqrt()
    one, two = middle - step, middle + step
    for _ in range(rounds):
        first = (places - one[:, None]).square().sum(-1) < (places - two[:, None]).square().sum(-1)  # (N, P)
        one, two = mean(weight * first), mean(weight * ~first)
    mine = first.view(-1, 1, side, side)
    return torch.where(mine, x, -1), torch.where(mine, -1, x)


def right(classifier: Classifier, x: Tensor, asked: Sequence[Scene]) -> list[dict[str, bool]]:
    """Per picture x (N, 3, side, side): whether digits, colours, places and sizes are as asked; unsaid is free.

    All scenes have one thing, or all have two. Of two things found, each is taken for what it fits better.
    """
    parts = [x] if len(asked[0]) == 1 else parted(x)
    found = [look(classifier, part) for part in parts]
    answers = []
    for i, scene in enumerate(asked):
        orders = [_fits([things[i] for things in order], scene) for order in permutations(found)]
        answers.append(max(orders, key=lambda fits: sum(fits.values())))
    return answers


def _fits(found: Sequence[Thing], scene: Scene) -> dict[str, bool]:
    def fit(key: str) -> bool:
        return all(getattr(said, key) in (None, getattr(thing, key)) for thing, said in zip(found, scene))

    return {key: fit(key) for key in KEYS}


def shares(answers: Sequence[dict[str, bool]]) -> dict[str, float]:
    """How often each was right, and under "all" digits, colours and places together."""
    rows = [answer | {"all": all(answer[key] for key in ASKED)} for answer in answers]
    return {key: sum(row[key] for row in rows) / len(rows) for key in rows[0]}


def score_scenes(
    model: Denoiser,
    test: Images,
    how,
    things: int = 1,
    side: int = 32,
    bar: Callable[..., Iterable] = lambda steps, total=0: steps,
) -> dict:
    """Shares of pictures that show what was asked for, drawn as `how` says (a Score of a recipe).

    For scenes of one thing, and with things=2 of two: real test scenes, the ceiling; scenes as in training; held out
    ones. Each prompt says digit, colour and place.
    """
    device = next(model.parameters()).device
    classifier, test = load_classifier(device=device), test.to(device)
    options = how.options()
    scores = {}
    for count in range(1, things + 1):
        random, rows = Random(how.seed), {}
        shown = [draw(random, count, held=i % 2 == 1) for i in range(how.samples)]
        x = render(shown, test, torch.Generator().manual_seed(how.seed), side)
        rows["real"] = shares(right(classifier, x, shown))
        for kind in ("seen", "held out"):
            asked = [forget(draw(random, count, kind == "held out"), random, ("size", "hand")) for _ in shown]
            cond = model.condition.parse([caption(scene, random) for scene in asked])
            drawn = pictures(model, Request(cond, size=(side, side), **options), bar)
            rows[kind] = shares(right(classifier, drawn, asked))
        scores[("one digit", "two digits")[count - 1]] = rows
    about = {"samples": how.samples, "data": test.name, "hardware": hardware(device)}
    return options | about | {"scenes": scores}


def table(scores: dict) -> str:
    """The scores of scenes in rows: the ceiling first, then each share, and all of it as a share of the ceiling."""
    lines = ["                       " + "".join(f"{key:>8}" for key in (*KEYS, "all")) + "  of the ceiling"]
    for count, rows in scores["scenes"].items():
        for kind, row in rows.items():
            share = row["all"] / max(rows["real"]["all"], 1e-9)
            lines.append(f"{count:11} {kind:11}" + "".join(f"{row[key]:8.3f}" for key in row) + f"{share:16.3f}")
    return "\n".join(lines)
