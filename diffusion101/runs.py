"""A training run on disk: a folder that holds everything needed to read, judge and resume it."""

import json
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path

import torch
import yaml
from torch import nn

from . import __version__, checkpoint, data, hands, lora, schedules
from .denoiser import Denoiser
from .evaluate import cost, evaluate, evaluate_pairs, hardware, judge, sample
from .networks.classifier import Classifier
from .pairs import Pairs
from .picture import grid
from .recipe import Recipe
from .train import Run, TrainStep, train


def build(recipe: Recipe, device: str | torch.device = "cpu") -> nn.Module:
    """The untrained (or warm-started) model of a recipe: a Denoiser, perhaps with adapters, or the Classifier."""
    torch.manual_seed(recipe.seed)
    if recipe.kind == "classifier":
        return Classifier(**recipe.network).to(device)
    if recipe.kind == "lora":
        base = checkpoint.load(recipe.warm_start, device)
        lora.wrap(base.network, recipe.rank, match=recipe.match or lora.MATCH)
        return base
    network = recipe.build()
    if recipe.warm_start:
        checkpoint.warm_start(network, recipe.warm_start)
    return Denoiser(network, schedules.make(**recipe.schedule), recipe.predict, recipe.loss).to(device)


def pictures(recipe: Recipe, split: str) -> data.Images | Pairs:
    """What a recipe trains on ("train") or is measured against ("test")."""
    found = data.load(recipe.data, split, recipe.size)
    if recipe.hand:
        found = hands.write(found, recipe.hand, recipe.shots if split == "train" else len(found) * 9 // 10)
    return Pairs(found, recipe.held_out) if recipe.held_out >= 0 and split == "train" else found


def seconds_per_step(recipe: Recipe, device: str | torch.device = "cpu") -> float:
    """Measured on a throw-away model and noise in the place of data: two steps to warm up, two to time."""
    zeros = torch.zeros(recipe.batch, 1, recipe.size, recipe.size, dtype=torch.uint8, device=device)
    fake = data.Images("", zeros, torch.zeros(recipe.batch, dtype=torch.int64, device=device), "")
    short = replace(recipe, images=4 * recipe.batch)
    times = [time.perf_counter() for _ in train(build(short, device), fake, short)]
    return (times[3] - times[1]) / 2


class Folder:
    """runs/x: recipe.yaml, version.txt, metrics.jsonl, TensorBoard events, samples/, state.pt, model.safetensors."""

    def __init__(self, path: Path, recipe: Recipe, resume: bool):
        self.path, self.recipe = path, recipe
        kept = path / "recipe.yaml"
        if (path / "state.pt").exists() and not resume:
            raise ValueError(f"{path} already holds a run; add --resume to go on with it, or choose another --out")
        if resume:
            if not (path / "state.pt").exists():
                raise ValueError(f"{path} holds no run to resume")
            before = yaml.safe_load(kept.read_text())
            for key, value in asdict(recipe).items():
                if before.get(key) != value:
                    raise ValueError(f"cannot resume {path}: its {key} was {before.get(key)!r}, now it is {value!r}")

    def start(self, resume: bool) -> None:
        if not resume:  # a run that stopped before its first state was kept may have left some rows
            (self.path / "metrics.jsonl").unlink(missing_ok=True)
        checkpoint.whole(self.path / "recipe.yaml", lambda f: f.write_text(yaml.safe_dump(asdict(self.recipe))))
        checkpoint.whole(self.path / "version.txt", lambda f: f.write_text(version() + "\n"))

    def keep(self, run: Run) -> None:
        checkpoint.whole(self.path / "state.pt", lambda f: torch.save(run.state_dict(), f))

    def restore(self, run: Run) -> None:
        run.load_state_dict(torch.load(self.path / "state.pt", weights_only=True))
        metrics = self.path / "metrics.jsonl"  # rows after the kept state will be made again
        rows = metrics.read_text().splitlines() if metrics.exists() else []
        rows = [row for row in rows if json.loads(row)["step"] <= run.step]
        checkpoint.whole(metrics, lambda f: f.write_text("".join(row + "\n" for row in rows)))


@contextmanager
def between_steps() -> Iterator[list[int]]:
    """Inside, Ctrl-C or SIGTERM only joins the list, so that no step is cut in half; a second one strikes at once."""
    asked: list[int] = []
    both = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.getsignal(number) for number in both}

    def handler(number: int, frame: object) -> None:
        asked.append(number)
        for each in both:
            signal.signal(each, signal.default_int_handler)

    if threading.current_thread() is threading.main_thread():  # Python handles signals nowhere else
        for number in both:
            signal.signal(number, handler)
    try:
        yield asked
    finally:
        if threading.current_thread() is threading.main_thread():
            for number in both:
                signal.signal(number, before[number])


def fit(
    recipe: Recipe,
    out: str | Path,
    resume: bool = False,
    device: str | torch.device = "cpu",
    progress: Callable[[Iterator[TrainStep], int, int], Iterator[TrainStep]] = lambda steps, total, done: steps,
    scoring: Callable[[Iterable], Iterable] = lambda batches: batches,
) -> dict:
    """Train a recipe in the folder `out`, score it, write model.safetensors; returns the file's metadata.

    progress(steps, total, done) and scoring(batches) may wrap the two loops in a bar.

    Interrupted (Ctrl-C, SIGTERM) it ends the step, keeps its state and raises KeyboardInterrupt. Bad settings raise
    ValueError before anything is written.
    """
    from torch.utils.tensorboard import SummaryWriter  # slow to import

    folder = Folder(Path(out), recipe, resume)
    model = build(recipe, device)
    shown, test = pictures(recipe, "train").to(device), pictures(recipe, "test")
    run = Run(model, recipe)
    folder.start(resume)
    if resume:
        folder.restore(run)
    writer = SummaryWriter(folder.path, purge_step=run.step)
    epoch = max(len(shown) // recipe.batch, 100)  # a lora's epochs are tiny
    began = saved = time.time()
    try:
        with (folder.path / "metrics.jsonl").open("a") as log, between_steps() as asked:
            for step in progress(train(model, shown, recipe, run), recipe.steps, run.step):
                row = {"step": step.step, "images": step.images}
                row |= {"loss": step.loss, "lr": step.lr, "grad": step.grad_norm}
                log.write(json.dumps(row) + "\n")
                for key in ("loss", "lr", "grad"):
                    writer.add_scalar(key, row[key], step.step)
                if step.step % epoch == 0 or step.step == recipe.steps:
                    log.flush()
                    folder.keep(run)
                    _draw(folder, run, step.step, writer)
                elif asked or time.time() - saved > 60:
                    log.flush()
                    folder.keep(run)
                    saved = time.time()
                if asked:
                    raise KeyboardInterrupt
    finally:
        writer.close()
    best = run.ema.module.eval()
    about = {
        "recipe": asdict(recipe),
        "data": shown.name,
        "images": recipe.steps * recipe.batch,
        "parameters": sum(p.numel() for p in best.parameters() if p.requires_grad),
        "hardware": hardware(torch.device(device)),
        "seconds": round(time.time() - began),
        "version": version(),
    }
    if isinstance(best, Denoiser):
        about |= checkpoint.describe(best) | {"mmacs": cost(best, recipe.size)}
        if recipe.evaluate["samples"]:
            about["scores"] = evaluate(best, test, progress=scoring, **recipe.evaluate)
            if recipe.held_out >= 0:
                options = recipe.evaluate | {"progress": scoring}
                about["scores"]["pairs"] = evaluate_pairs(best, test, recipe.held_out, **options)
    else:
        right = judge(best, test.to(device).pictures())[0].argmax(1).cpu() == test.labels
        about |= {"kind": "classifier", "network": best.options}
        about["scores"] = {"accuracy": right.float().mean().item(), "samples": len(test)}
    state = best.network.state_dict() if recipe.kind == "denoiser" else best.state_dict()
    if recipe.kind == "lora":
        state, about["kind"] = lora.state(best.network), "lora"
    checkpoint.write(folder.path / "model.safetensors", state, about)
    return about


def _draw(folder: Folder, run: Run, step: int, writer) -> None:
    """A grid of samples of the averaged weights, always from the same noise."""
    if not isinstance(run.denoiser, Denoiser):
        return
    model = run.ema.module.eval()
    shape = (40, model.network.config.channels, folder.recipe.size, folder.recipe.size)
    noise = torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(next(model.parameters()).device)
    labels = torch.arange(len(noise), device=noise.device) % 10 if model.null else None
    *_, last = sample(model, noise, labels, scale=2.0, steps=25)
    picture = grid(last.x)
    path = folder.path / "samples" / f"step-{step:06}.png"
    checkpoint.whole(path, lambda f: picture.save(f, format="png"))
    writer.add_images("samples", (last.x[:, :1].clamp(-1, 1) + 1) / 2, step)


def version() -> str:
    """The package's version and, in a clone, the commit it stands at."""
    here = Path(__file__).parent
    try:
        command = ["git", "-C", str(here), "describe", "--always", "--dirty", "--tags"]
        return f"{__version__} {subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()}"
    except (OSError, subprocess.CalledProcessError):
        return __version__
