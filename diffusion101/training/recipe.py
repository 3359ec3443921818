"""Recipes: everything that decides what a training run makes, as a YAML file read into nested dataclasses."""

import dataclasses
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
import yaml
from pydantic import Field

from ..core import guidance, schedules
from ..core.denoiser import LOSSES
from ..core.process import PREDICTIONS, WEIGHTS
from ..core.samplers import SAMPLERS
from ..data.handwriting import HANDWRITINGS
from ..data.images import NAMES, SHAPES
from ..data.numbers import HIDDEN
from ..milestones import MILESTONES
from ..networks import UNetConfig
from ..reading import STRICT, read

FOLDER = Path(__file__).parents[1] / "recipes"
Positive = Annotated[int, Field(ge=1, le=10**12)]
Share = Annotated[float, Field(ge=0, le=1)]
Rate = Annotated[float, Field(gt=0, le=1)]


class Part:
    __pydantic_config__ = STRICT


@dataclass(frozen=True)
class Model(Part):
    """milestone: the network's config by name, or network: in full. start: weights (name or file) to start from.

    change: fields of the milestone's config to replace, as {levels: [...], condition: {width: 64}}.
    """

    milestone: Literal[(None, *MILESTONES)] = None
    network: UNetConfig | None = None
    start: str | None = None
    change: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self):
        if self.change and not self.milestone:
            raise ValueError("change replaces fields of a milestone: there is none")
        if self.change:
            self.config()

    def config(self) -> UNetConfig:
        if not self.change:
            return self.network or MILESTONES[self.milestone]
        return read(UNetConfig, merged(asdict(MILESTONES[self.milestone]), self.change), "change")


@dataclass(frozen=True)
class Adapter(Part):
    """A low-rank adapter on the layers of model.start whose names match the pattern."""

    rank: Annotated[int, Field(ge=1, le=4096)] = 4
    match: str = r"to_(q|k|v|out)$"


@dataclass(frozen=True)
class Process(Part):
    """The diffusion process, and the loss. schedule: what schedules.make takes."""

    schedule: dict[str, Any] = field(default_factory=lambda: {"kind": "linear"})
    predict: Literal[tuple(PREDICTIONS)] = "eps"
    loss: Literal[tuple(LOSSES)] = "mse"
    weight: Literal[tuple(WEIGHTS)] = "uniform"

    def __post_init__(self):
        schedules.make(**self.schedule)


@dataclass(frozen=True)
class Data(Part):
    """What is shown. hidden: None for single digits, else two-digit numbers, so many of the 100 never shown.

    handwriting: `shots` of the digits rewritten by it, and nothing else. scenes: None, or pictures in colour with
    captions, of one digit or of up to two; size is then theirs. flip: half of the pictures are mirrored. path: of the
    data set "folder", in DIFFUSION101_DATA or anywhere.
    """

    name: Literal[NAMES] = "mnist"
    size: Annotated[int, Field(ge=4, le=1024)] = 28
    hidden: Literal[(None, *HIDDEN)] = None
    handwriting: Literal[(None, *HANDWRITINGS)] = None
    shots: Annotated[int, Field(ge=10, le=60_000)] = 300
    scenes: Literal[None, 1, 2] = None
    flip: bool = False
    path: str | None = None

    def __post_init__(self):
        if (self.name == "folder") != bool(self.path):
            raise ValueError(f"name folder and path go together: the name is {self.name}, the path {self.path!r}")
        made = [key for key in ("hidden", "handwriting", "scenes") if getattr(self, key) is not None]
        if made and SHAPES[self.name][0] != 1:
            raise ValueError(f"{' and '.join(made)} need grey digits, and {self.name} has none")
        if made and self.flip:
            raise ValueError(f"flip would mirror the digits of {' and '.join(made)}")


@dataclass(frozen=True)
class Images(Part):
    """How many pictures are shown in each budget, repeats included; lesson: a notebook's run on a CPU."""

    smoke: Positive = 256
    lesson: Positive = 20_000
    cpu: Positive = 200_000
    gpu: Positive = 1_200_000


@dataclass(frozen=True)
class Train(Part):
    images: Images = Images()
    batch: Annotated[int, Field(ge=1, le=10**6)] = 64
    optimizer: Literal["adamw", "muon"] = "muon"
    lr: Rate = 5e-3
    warmup: Share = 0.02  # share of the run over which the learning rate rises
    decay: bool = True  # then a half cosine down to 0; False: constant
    weight_decay: Share = 0.0
    clip: Annotated[float, Field(gt=0)] = 1.0  # largest gradient norm
    ema: Annotated[float, Field(ge=0, lt=1)] = 0.999
    drop: Share = 0.1  # how often a picture's condition is emptied
    amp: bool = True  # autocast: bf16 on hardware that has it, else float16 on CUDA
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0


@dataclass(frozen=True)
class Preview(Part):
    """Pictures that are drawn while it trains, always from the same noise; every: so many shown ones lie between,
    and at least 100 batches."""

    pictures: Annotated[int, Field(ge=1, le=1000)] = 40
    every: Positive = 60_000


@dataclass(frozen=True)
class Score(Part):
    """How the finished model draws the pictures it is judged by; samples 0: not at all.

    interval: guidance only at times low < t <= high; None: all the way.
    against: the Fréchet distance is compared with that of ddpm in so many steps from the same noise; 0: it is not.
    """

    samples: Annotated[int, Field(ge=0, le=30_000)] = 2000
    sampler: Literal[tuple(SAMPLERS)] = "dpmpp_2m"
    steps: Annotated[int, Field(ge=1)] = 10
    spacing: Literal[tuple(schedules.SPACINGS)] = "uniform"
    guidance: float = 2.0
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] = 0
    against: Annotated[int, Field(ge=0)] = 0
    interval: tuple[int, int] | None = None

    def __post_init__(self):
        guidance.check_interval(self.interval)

    def options(self, asked: bool = True) -> dict[str, Any]:
        """What a Request takes of it; where nothing is asked for, nothing is guided."""
        found = {key: getattr(self, key) for key in ("sampler", "steps", "spacing", "seed")}
        found["guidance"] = self.guidance if asked else 1.0
        return found | ({"interval": self.interval} if asked and self.interval else {})


@dataclass(frozen=True)
class Recipe(Part):
    """What a run trains (task), on what, and for how long. total: pictures shown, of the budget it was read for."""

    name: str = "unnamed"
    task: Literal["denoiser", "text", "classifier", "adapter"] = "denoiser"
    model: Model = Model()
    adapter: Adapter = Adapter()
    process: Process = field(default_factory=Process)
    data: Data = Data()
    train: Train = Train()
    preview: Preview = Preview()
    score: Score = Score()
    total: Positive = 256

    def __post_init__(self):
        T = schedules.make(**self.process.schedule).T
        if self.score.steps > T:
            raise ValueError(f"score.steps is {self.score.steps}; the schedule has only T = {T}")
        if self.score.against > T:
            raise ValueError(f"score.against is {self.score.against}; the schedule has only T = {T}")
        if self.score.against and self.task in ("text", "classifier"):
            raise ValueError(f"score.against compares Fréchet distances: task {self.task} is not scored by one")
        denoiser = self.task in ("denoiser", "text")
        if denoiser and (self.model.milestone is None) == (self.model.network is None):
            raise ValueError(f"model needs a milestone ({', '.join(MILESTONES)}) or a network, and not both")
        if self.task == "adapter" and not self.model.start:
            raise ValueError("model.start must name the model that the adapter is for")
        if not denoiser and (self.model.milestone or self.model.network):
            raise ValueError(f"model.milestone and model.network are for denoisers, not for task {self.task}")
        if (self.task == "text") != bool(self.data.scenes):
            raise ValueError("task text and data.scenes go together: captions are read by it, and by nothing else")
        if self.data.scenes and (self.data.hidden is not None or self.data.handwriting):
            raise ValueError("data.scenes are made of plain digits: they go with neither hidden nor handwriting")

    @property
    def steps(self) -> int:
        return max(1, round(self.total / self.train.batch))

    def trains_as(self, other: "Recipe") -> list[str]:
        """Where two recipes train differently, as "train.lr was 0.1, now it is 0.2"; other things may differ."""
        mine, theirs = flat(asdict(self)), flat(asdict(other))
        ignored = ("name", "preview.", "score.", "train.images.")
        keys = [key for key in mine | theirs if not key.startswith(ignored)]
        different = [key for key in keys if mine.get(key) != theirs.get(key)]
        return [f"{key} was {theirs.get(key)!r}, now it is {mine.get(key)!r}" for key in different]


def flat(values: dict, above: str = "") -> dict[str, Any]:
    """{"train": {"lr": 1}} -> {"train.lr": 1}."""
    found = {}
    for key, value in values.items():
        found |= flat(value, f"{above}{key}.") if isinstance(value, dict) else {above + key: value}
    return found


def merged(values: dict, changes: dict) -> dict:
    """values with some replaced; what is a dict in both is merged."""
    inner = {key: new for key, new in changes.items() if isinstance(new, dict) and isinstance(values.get(key), dict)}
    return values | changes | {key: merged(values[key], new) for key, new in inner.items()}


def names() -> list[str]:
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def budget() -> str:
    """DIFFUSION101_BUDGET, or by device: gpu with CUDA, else cpu."""
    chosen = os.environ.get("DIFFUSION101_BUDGET") or ("gpu" if torch.cuda.is_available() else "cpu")
    if chosen not in ("smoke", "cpu", "gpu"):
        raise ValueError(f"DIFFUSION101_BUDGET is {chosen!r}; it must be smoke, cpu or gpu")
    return chosen


def load(name: str | Path, lesson: bool = False, total: int | None = None, **changes: Any) -> Recipe:
    """The recipe of that name, or from that YAML file, with `total` pictures: given, or what the budget says.

    lesson=True: the shorter run of a notebook on a CPU, about a minute. changes: fields to replace, by their path with
    two underscores, as train__lr=1e-3. ValueError tells everything that is wrong at once.
    """
    chosen = budget()
    chosen = "lesson" if lesson and chosen == "cpu" else chosen
    path = Path(name)
    if path.suffix in (".yaml", ".yml"):
        if not path.is_file():
            raise ValueError(f"no recipe file {str(name)!r}")
    elif str(name) not in names():
        raise ValueError(f"unknown recipe {str(name)!r}; there are {', '.join(names())} (or name a .yaml file)")
    else:
        path = FOLDER / f"{name}.yaml"
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, ValueError, OSError, RecursionError) as error:  # ValueError: no text, or no such date
        raise ValueError(f"recipe {name}: not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(values, dict):
        found = "nothing" if values is None else repr(values)
        raise ValueError(f"recipe {name}: expected keys and values, found {found}")
    values = {"name": path.stem, **values}
    for key, value in changes.items():
        *above, last = key.split("__")
        inner = values
        for part in above:
            if not isinstance(inner.get(part) or {}, dict):
                raise ValueError(f"recipe {name}: {part} is {inner[part]!r}; it must hold keys and values")
            inner[part] = inner = dict(inner.get(part) or {})
        inner[last] = value
    recipe = read(Recipe, values, f"recipe {name}")
    if total is None:
        total = getattr(recipe.train.images, chosen)
    elif not 1 <= total <= 10**12:
        raise ValueError(f"images is {total}; it must lie from 1 to 10**12")
    return dataclasses.replace(recipe, total=total)
