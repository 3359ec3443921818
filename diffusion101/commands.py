"""What the commands of the command line do. Whatever is wrong is a ValueError, before anything is written."""

import argparse
import json
import shlex
import sys
from dataclasses import replace
from pathlib import Path

import torch
from tqdm import tqdm

from . import checkpoint, drawing
from .core.denoiser import Denoiser
from .drawing import Request, draw
from .figures import files
from .reading import read
from .training import fit, recipe, tasks

LARGEST_FILM = 2**28  # pixels of all steps of an animated picture


def train(a: argparse.Namespace) -> None:
    changes = {"data__name": a.data} if a.data is not None else {}
    chosen = recipe.load(a.recipe, total=a.images, **changes)
    if a.command == "lora" and chosen.task != "adapter":
        raise ValueError(f"recipe {chosen.name} is of task {chosen.task}; lora train needs one of task adapter")
    device = usable(a.device)
    files.check_writable(a.out / "run.yaml")

    def progress(steps, total: int, done: int):
        return tqdm(steps, total=total, initial=done, unit="step", desc=chosen.name, smoothing=0.05)

    try:
        about = fit.fit(chosen, a.out, a.resume, device, progress, bar("scoring"), say=tell)
    except KeyboardInterrupt:
        words = [word for word in a.words if word != "--resume"]
        print(f"\nStopped. Go on with: python -m diffusion101 {shlex.join(words)} --resume")
        raise
    print(f"{a.out / 'model.safetensors'}: {json.dumps(about.get('scores'))}")


def sample(a: argparse.Namespace) -> None:
    if a.digits and a.prompt:
        raise ValueError("--digits and --prompt exclude each other: both say what to draw")
    files.check_output(a.out)
    model = opened(a)
    words = a.digits or a.prompt
    request = asked(a, model, words)
    film = a.out.suffix.lower() == ".gif"
    files.check_output(a.out, request.shape)
    count, height, width = request.shape
    if film and count * height * width * a.steps > LARGEST_FILM:
        raise ValueError(f"a film of {count} pictures in {a.steps} steps is too large: ask for fewer, or for a .png")
    steps = draw(model, request)
    announce(drawing.seconds(model, request), request)
    frames = [request.start(model, torch.Generator().manual_seed(a.seed))] if film else []
    for step in tqdm(steps, total=a.steps, unit="step"):
        frames = [*frames, step.x] if film else [step.x]
    files.save(frames, a.out)
    print(a.out)


def asked(a: argparse.Namespace, model: Denoiser, words: list[str] | None) -> Request:
    """What the options ask for; the words, repeated up to --count, or all that the model can be told."""
    count = a.count if a.count is not None else len(words) if words else 40
    options = dict(sampler=a.sampler, steps=a.steps, seed=a.seed, guidance=1.0 if a.guidance is None else a.guidance)
    side = trained_size(model) if a.size is None else a.size
    request = Request(None, count, size=(side, side), **options)  # checks the count before a tensor is made of it
    if model.condition is None:
        if words:
            raise ValueError(f"{a.model} takes no condition: it draws whatever comes, and no {words[0]!r}")
        return request
    if not words:
        return replace(request, cond=model.condition.spread(count))
    cond = model.condition.parse(words)[torch.arange(count) % len(words)]
    return replace(request, cond=cond, size=(side, side * model.condition.places(words)))


def evaluate(a: argparse.Namespace) -> None:
    if a.json != "-":
        files.check_writable(Path(a.json))
    how = {"samples": a.samples, "sampler": a.sampler, "steps": a.steps, "seed": a.seed}
    how = read(recipe.Score, how | ({} if a.guidance is None else {"guidance": a.guidance}), "evaluate")
    how = replace(how, guidance=1.0) if a.guidance is None else how
    model = opened(a)
    model.schedule.times(a.steps)
    about = model.about.get("adapter", model.about)
    learned = read(recipe.Recipe, about.get("recipe"), f"{a.lora or a.model}: recipe")
    used = a.data or str(about.get("data"))
    job = tasks.task(replace(learned, score=how))
    test, train = job.images("test", used), job.images("train", used)
    job.check(model, train, test)
    if a.data is None and used != learned.data.name:
        tell(f"{learned.data.name} could not be had when {a.lora or a.model} was trained: it is scored on {used} data.")
    announce(job.seconds_to_score(model, test), Request(count=a.samples, steps=a.steps))
    scores = job.score(model, test, bar("scoring"), train)
    if table := job.table(scores):
        tell(table)
    text = json.dumps({"model": a.model, "lora": a.lora} | scores, indent=2)
    if a.json == "-":
        print(text)
    else:
        checkpoint.whole(Path(a.json), lambda f: f.write_text(text + "\n", encoding="utf-8"))


def trained_size(model: Denoiser) -> int:
    """The side of the pictures that the model was trained on, as far as its file tells."""
    found = recipe.flat(model.about).get("recipe.data.size")
    return found if isinstance(found, int) else Request().size[0]


def opened(a: argparse.Namespace) -> Denoiser:
    """The model, once it is known that no option would be ignored."""
    if not a.lora and (a.merge or a.lora_scale is not None):
        raise ValueError(f"{'--merge' if a.merge else '--lora-scale'} needs --lora: there is no adapter here")
    strength = 1.0 if a.lora_scale is None else a.lora_scale
    if not abs(strength) < float("inf"):
        raise ValueError(f"--lora-scale is {strength}; it must be a finite number")
    model = checkpoint.load(a.model, usable(a.device))
    if model.condition is None and a.guidance is not None:
        raise ValueError(f"{a.model} takes no condition, so there is nothing that --guidance could strengthen")
    if a.lora:
        checkpoint.load_lora(model, a.lora, strength, a.merge)
    return model


def usable(name: str) -> torch.device:
    if name.partition(":")[0] in ("cpu", "cuda", "mps"):
        try:
            return torch.zeros(1, device=name).device
        except (RuntimeError, AssertionError, NotImplementedError):
            pass
    raise ValueError(f"--device is {name!r}, which this machine does not have; try cpu")


def bar(what: str):
    """A bar for loops of this name."""
    return lambda steps, total=None: tqdm(steps, total=total, unit="step", desc=what)


def tell(sentence: str) -> None:
    print(sentence, file=sys.stderr, flush=True)


def announce(seconds: float, request: Request) -> None:
    """Say what a long drawing will cost."""
    if seconds > 10:
        tell(f"{request.shape[0]} pictures in {request.steps} steps: about {fit.duration(seconds)}.")
