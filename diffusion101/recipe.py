"""Recipes: everything that decides what a training run makes, as a YAML file read into one dataclass."""

import os
import types
import typing
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

import yaml

from .milestones import MILESTONES
from .networks import UNet, UNetConfig

FOLDER = Path(__file__).parent / "recipes"
BUDGETS = ("smoke", "lesson", "cpu", "gpu")


@dataclass(frozen=True)
class Recipe:
    """What a run trains, on what, and for how long. `images` counts training pictures shown, repeats included."""

    name: str
    kind: str = "denoiser"  # or "classifier", or "lora": an adapter for the model named by warm_start
    milestone: str = ""  # the network: a milestone's name ...
    network: dict = field(default_factory=dict)  # ... with these fields of UNetConfig replaced
    schedule: dict = field(default_factory=lambda: {"kind": "linear"})
    predict: str = "eps"
    loss: str = "mse"
    data: str = "mnist"
    size: int = 28
    budgets: dict = field(default_factory=lambda: {"smoke": 256, "lesson": 60_000, "cpu": 300_000, "gpu": 1_200_000})
    images: int = 0  # 0: what the budget says
    batch: int = 128
    lr: float = 1e-3
    warmup: float = 0.02  # share of the run over which the learning rate rises
    decay: bool = True  # then a half cosine down to 0; False: constant
    weight_decay: float = 0.0
    clip: float = 1.0  # largest gradient norm
    ema: float = 0.999
    label_dropout: float = 0.0
    held_out: int = -1  # 0, 10, ... 90: two-digit numbers, this many of them never shown; -1: single digits
    warm_start: str = ""  # a checkpoint whose weights to start from
    rank: int = 4  # of a lora ...
    match: str = ""  # ... and which layers get it; empty: lora.MATCH
    hand: str = ""  # train on `shots` digits rewritten in this hand
    shots: int = 300
    amp: bool = True  # bf16 autocast on hardware that has it
    seed: int = 0
    evaluate: dict = field(default_factory=lambda: {"sampler": "ddim", "steps": 50, "samples": 2000})

    def __post_init__(self):
        for f in fields(self):
            _check_type(f.name, getattr(self, f.name), typing.get_type_hints(type(self))[f.name])
        if self.milestone and self.milestone not in MILESTONES:
            raise ValueError(f"recipe: unknown milestone {self.milestone!r}; there are {', '.join(MILESTONES)}")
        if self.kind not in ("denoiser", "classifier", "lora"):
            raise ValueError(f"recipe: kind is {self.kind!r}; it must be denoiser, classifier or lora")
        if set(self.budgets) != set(BUDGETS):
            raise ValueError(f"recipe: budgets needs exactly the keys {', '.join(BUDGETS)}, not {self.budgets}")
        ranges = {"batch": (1, 1e6), "images": (0, 1e12), "size": (4, 4096)}
        ranges |= {name: (0, 1) for name in ("lr", "label_dropout", "ema", "warmup")}
        for name, (low, high) in ranges.items():
            if not low <= getattr(self, name) <= high:
                raise ValueError(f"recipe: {name} is {getattr(self, name)}; it must lie from {low:g} to {high:g}")

    @property
    def steps(self) -> int:
        return max(1, round(self.images / self.batch))

    def config(self) -> UNetConfig:
        base = asdict(MILESTONES[self.milestone]) if self.milestone else {}
        return from_dict(UNetConfig, base | self.network)

    def build(self) -> UNet:
        return UNet(self.config())


def from_dict(cls: type, values: dict):
    """A dataclass from a dict; an unknown key is told by name."""
    known = {f.name: f for f in fields(cls)}
    for key, value in values.items():
        if key not in known:
            raise ValueError(f"unknown key {key!r} for {cls.__name__}; there are {', '.join(known)}")
        _check_type(key, value, typing.get_type_hints(cls)[key])
    try:
        return cls(**values)
    except TypeError as error:
        raise ValueError(f"{cls.__name__}: {error}") from None


def names() -> list[str]:
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def budget() -> str:
    """DIFFUSION101_BUDGET, or by device: gpu with CUDA, else cpu."""
    import torch

    chosen = os.environ.get("DIFFUSION101_BUDGET") or ("gpu" if torch.cuda.is_available() else "cpu")
    if chosen not in ("smoke", "cpu", "gpu"):
        raise ValueError(f"DIFFUSION101_BUDGET is {chosen!r}; it must be smoke, cpu or gpu")
    return chosen


def load(name: str | Path, lesson: bool = False, **changes) -> Recipe:
    """The recipe of that name, or from that YAML file, with `images` set by the budget.

    lesson=True: the shorter run of a notebook on a CPU, about two minutes. changes: fields to replace.
    """
    path = Path(name)
    if path.suffix in (".yaml", ".yml"):
        if not path.is_file():
            raise ValueError(f"no recipe file {str(name)!r}")
        text = path.read_text()
    elif str(name) in names():
        text = (FOLDER / f"{name}.yaml").read_text()
    else:
        raise ValueError(f"unknown recipe {str(name)!r}; there are {', '.join(names())} (or name a .yaml file)")
    try:
        values = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(f"recipe {name}: not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(values, dict):
        raise ValueError(f"recipe {name}: expected keys and values, found {type(values).__name__}")
    recipe = from_dict(Recipe, {"name": path.stem, **values, **changes})
    if not recipe.images:
        chosen = "lesson" if lesson and budget() == "cpu" else budget()
        recipe = from_dict(Recipe, {**_shallow(recipe), "images": recipe.budgets[chosen]})
    return recipe


def _shallow(recipe: Recipe) -> dict:
    return {f.name: getattr(recipe, f.name) for f in fields(recipe)}


def _check_type(key: str, value: object, hint: object) -> None:
    kind = typing.get_origin(hint) or hint
    kinds = typing.get_args(hint) if isinstance(hint, types.UnionType) else (kind,)
    allowed = {float: (int, float), tuple: (tuple, list)}
    ok = any(isinstance(value, allowed.get(k, k)) and (k is bool or not isinstance(value, bool)) for k in kinds)
    if not ok:
        raise ValueError(f"{key} is {value!r}; it must be {' or '.join(k.__name__ for k in kinds)}")
