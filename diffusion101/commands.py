"""What the commands of the command line do. Whatever is wrong is a ValueError, before anything is written."""

import argparse
import json
import shlex
import sys
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from . import checkpoint, drawing, writing
from .core.denoiser import Denoiser
from .data.sources import kinds
from .drawing import Request, draw
from .figures import files
from .networks import Words
from .order import Order
from .reading import read
from .training import fit, ranks, recipe, tasks
from .training.folder import Folder

LARGEST_FILM = 2**28  # pixels of all steps of an animated picture


def train(a: argparse.Namespace) -> None:
    changes = {"data__name": a.data} if a.data is not None else {}
    chosen = recipe.load(a.recipe, total=a.images, **changes)
    if a.command == "lora" and chosen.task != "adapter":
        raise ValueError(f"recipe {chosen.name} is of task {chosen.task}; lora train needs one of task adapter")
    device = usable(ranks.own(a.device))
    files.check_writable(a.out / "run.yaml")

    def progress(steps, total: int, done: int):
        return tqdm(steps, total=total, initial=done, unit="step", desc=chosen.name, smoothing=0.05)

    with ranks.joined(device) as us:
        try:
            bars = progress, bar("scoring")
            about = fit.fit(chosen, a.out, a.resume, device, *bars, say=tell, ranks=us, relength=a.images is not None)
        except KeyboardInterrupt:
            words = [word for word in a.words if word != "--resume"]
            starter = "python" if us.count == 1 else f"torchrun --nproc_per_node={us.count}"
            if us.rank == 0:
                words += ["--resume"] * Folder(a.out).state.exists()
                print(f"\nStopped. Go on with: {starter} -m diffusion101 {shlex.join(words)}")
            raise
    if us.rank == 0:
        print(f"{a.out / 'model.safetensors'}: {json.dumps(about.get('scores'))}")


def sample(a: argparse.Namespace) -> None:
    kind = files.kind(a.out, a.format)
    if a.grid is not None and not kind.tiled:
        raise ValueError(f"--grid is {a.grid}, but arrays stand in no grid")
    files.check_writable(a.out)
    order = ordered(a)
    model = opened(order, a.device)
    request = asked(order, model)
    said = order.condition or ()
    if isinstance(model.condition, Words) and len(said) > 1 and not any(" " in each for each in said):
        tell(f"Each of these words is a sentence of its own: {', '.join(said)}. One sentence stands in quotes.")
    files.check_output(a.out, kind, request.shape, order.grid)
    count, height, width = request.shape
    if kind.film and count * height * width * request.steps > LARGEST_FILM:
        raise ValueError(f"a film of {count} pictures in {request.steps} steps is too large: ask for fewer, or a .png")
    steps, signed = draw(model, request), order.signed(model, request)
    if a.again:
        order.check(signed, str(a.again))
    announce(drawing.seconds(model, request), request)
    frames = [request.start(model, torch.Generator().manual_seed(request.seed))] if kind.film else []
    for step in tqdm(steps, total=request.steps, unit="step"):
        frames = [*frames, step.x] if kind.film else [step.x]
    files.save(frames, a.out, kind, signed.json(), order.grid)
    print(a.out)


def given(a: argparse.Namespace, names: Iterable[str]) -> dict[str, Any]:
    """The options among these that the command line names."""
    found = {key: value for key in names if (value := getattr(a, key, None)) is not None}
    return found | ({"interval": tuple(found["interval"])} if "interval" in found else {})


def ordered(a: argparse.Namespace) -> Order:
    """What the options ask for; or, with --again, what a picture is, and no option beside it that would be ignored."""
    options = given(a, (*Order.__annotations__, "digits", "prompt", "label"))
    if a.again:
        order = Order.of(files.note(a.again), str(a.again))
        ignored = [f"--{key.replace('_', '-')}" for key in options if key not in ("model", "grid")]
        if ignored:
            raise ValueError(f"--again draws what {a.again} says: {' and '.join(ignored)} would be ignored")
        return replace(order, **options)
    if a.model is None:
        raise ValueError("sample needs --model, or --again with a picture that was drawn before")
    words = {f"--{key}": options.pop(key) for key in ("digits", "prompt", "label") if key in options}
    if len(words) > 1:
        raise ValueError(f"{' and '.join(words)} exclude each other: each says what to draw")
    return Order(**options, condition=tuple(*words.values()) or None)


def asked(order: Order, model: Denoiser) -> Request:
    """What the order asks for; its words, repeated up to its count, or all that the model can be told."""
    words = order.condition
    count = order.count if order.count is not None else len(words) if words else 40
    options = dict(sampler=order.sampler, steps=order.steps, spacing=order.spacing, seed=order.seed)
    options["guidance"] = usual_guidance(model) if order.guidance is None else order.guidance
    options["interval"] = order.interval
    side = trained_size(model) if order.size is None else order.size
    request = Request(None, count, size=(side, side), **options)  # checks the count before a tensor is made of it
    if model.condition is None:
        if words:
            raise ValueError(f"{order.model} takes no condition: it draws whatever comes, and no {words[0]!r}")
        return request
    if not words:
        return replace(request, cond=model.condition.spread(count))
    told = numbered(words, model)
    try:
        cond = model.condition.parse(told)[torch.arange(count) % len(words)]
    except ValueError as error:
        names = kinds(model.about.get("data"))
        raise ValueError(f"{error}, or by name: {', '.join(names)}" if names else str(error)) from None
    return replace(request, cond=cond, size=(side, side * model.condition.places(told)))


def numbered(words: Iterable[str], model: Denoiser) -> list[str]:
    """The words, with the names that the model's data set has for its labels as numbers: horse is 7."""
    names = kinds(model.about.get("data"))
    return [str(names.index(word)) if word in names else word for word in words]


def evaluate(a: argparse.Namespace) -> None:
    if a.json != "-":
        files.check_writable(Path(a.json))
    how = given(a, ("samples", "sampler", "steps", "spacing", "seed", "guidance", "interval", "against"))
    how = read(recipe.Score, how, "evaluate")
    model = opened(a, a.device)
    about = model.about.get("adapter", model.about)
    how = how if a.guidance is not None else replace(how, guidance=usual_guidance(model, about))
    model.schedule.times(how.steps)
    learned = read(recipe.Recipe, about.get("recipe"), f"{a.lora or a.model}: recipe")
    used = a.data or str(about.get("data"))
    job = tasks.task(replace(learned, score=how))
    test, train = job.images("test", used), job.images("train", used)
    job.check(model, train, test)
    if a.data is None and used != learned.data.name:
        tell(f"{learned.data.name} could not be had when {a.lora or a.model} was trained: it is scored on {used} data.")
    announce(job.seconds_to_score(model, test), Request(count=a.samples, steps=how.steps))
    scores = job.score(model, test, bar("scoring"), train)
    if table := job.table(scores):
        tell(table)
    text = json.dumps({"model": a.model, "lora": a.lora} | scores, indent=2)
    if a.json == "-":
        print(text)
    else:
        writing.whole(Path(a.json), lambda f: f.write_text(text + "\n", encoding="utf-8"))


def usual_guidance(model: Denoiser, about: dict | None = None) -> float:
    """What the model was scored with, as far as its file tells; else 1. about: that of an adapter on it instead."""
    found = recipe.flat(about or model.about).get("recipe.score.guidance")
    return found if isinstance(found, float) and model.condition is not None else 1.0


def trained_size(model: Denoiser) -> int:
    """The side of the pictures that the model was trained on, as far as its file tells."""
    found = recipe.flat(model.about).get("recipe.data.size")
    return found if isinstance(found, int) else Request().size[0]


def opened(order: Order | argparse.Namespace, device: str) -> Denoiser:
    """The model, once it is known that nothing in the order would be ignored."""
    if not order.lora and (order.merge or order.lora_scale is not None):
        raise ValueError(f"{'--merge' if order.merge else '--lora-scale'} needs --lora: there is no adapter here")
    strength = 1.0 if order.lora_scale is None else order.lora_scale
    if not abs(strength) < float("inf"):
        raise ValueError(f"--lora-scale is {strength}; it must be a finite number")
    model = checkpoint.load(order.model, usable(device))
    for option in ("guidance", "interval"):
        if model.condition is None and getattr(order, option) is not None:
            raise ValueError(f"{order.model} takes no condition, so there is nothing that --{option} could strengthen")
    if order.lora:
        checkpoint.load_lora(model, order.lora, strength, order.merge)
    return model


def usable(name: str) -> torch.device:
    if name.partition(":")[0] in ("cpu", "cuda", "mps"):
        try:
            return torch.zeros(1, device=name).device
        except (RuntimeError, AssertionError):
            pass
    raise ValueError(f"--device is {name!r}: it takes cpu, or cuda or mps where the machine has it")


def bar(what: str):
    """A bar for loops of this name."""
    return lambda steps, total=None: tqdm(steps, total=total, unit="step", desc=what)


def tell(sentence: str) -> None:
    print(sentence, file=sys.stderr, flush=True)


def announce(seconds: float, request: Request) -> None:
    """Say what a long drawing will cost."""
    if seconds > 10:
        tell(f"{request.shape[0]} pictures in {request.steps} steps: about {fit.duration(seconds)}.")
