"""From a recipe to a finished, scored weight file, in a folder that can be resumed."""

import json
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path

import torch

from .. import checkpoint, writing
from ..data.images import SHAPES, Images
from ..figures import files
from ..figures.tiling import tile
from ..scoring.score import hardware
from .folder import Folder, version
from .loop import Run, Stream, TrainStep, train
from .ranks import ALONE, Ranks
from .recipe import Recipe
from .tasks import DenoiserTask, task

SAVE_EVERY = 60  # seconds between kept states


def fit(
    recipe: Recipe,
    out: str | Path,
    resume: bool = False,
    device: str | torch.device = "cpu",
    progress: Callable[[Iterator[TrainStep], int, int], Iterable[TrainStep]] = lambda steps, total, done: steps,
    scoring: Callable[..., Iterable] = lambda steps, total=0: steps,
    say: Callable[[str], None] | None = None,
    save_every: float = SAVE_EVERY,
    ranks: Ranks = ALONE,
    relength: bool = False,
) -> dict:
    """Train a recipe in the folder `out`, write model.safetensors, score it, and write the scores into its metadata.

    progress(steps, total, done) and scoring(steps, total=) may wrap the loops in a bar. say gets sentences for people:
    about the data, and how long it will take (which is measured only for it).
    Interrupted (Ctrl-C, SIGTERM) it ends the step, keeps its state and raises KeyboardInterrupt. Bad settings raise
    ValueError before anything is written. The weights are on disk before they are scored: resuming a finished run
    only scores it. A resumed run equals an uninterrupted one, unless relength=True lets it have another total of
    pictures: the learning rate goes on as if that had been planned. Returns the file's metadata, or nothing to any rank
    but the first, which trains along.
    """
    folder, job, device = Folder(Path(out)), task(recipe), torch.device(device)
    ranks.check(recipe.train.batch)
    folder.check(recipe, resume, relength)
    model = job.build().to(device)
    with ranks.in_turn():
        images = job.images("train", folder.kept()[1] if resume else None).to(device)
        test = job.images("test", images.name)
    job.check(model, images, test)
    run = Run(model, recipe, ranks)
    if ranks.rank:
        return _follow(folder, run, job.stream(images), resume)
    if say and images.name != recipe.data.name:
        say(f"{recipe.data.name} could not be had: this run trains on {images.name} data instead.")
    with folder.locked():
        folder.check(recipe, resume, relength)  # again: until now another process could train here
        if resume:
            folder.restore(run)
            if run.step > recipe.steps:
                seen = run.step * recipe.train.batch
                raise ValueError(
                    f"{folder.path} has seen {seen:,} pictures already; it cannot end after {recipe.total:,}"
                )
            if say and recipe.total != (planned := folder.kept()[0].total):
                say(f"{recipe.name}: planned for {planned:,} pictures, this run now ends after {recipe.total:,}.")
        if say:
            say(_plan(job, run, images, test))
        folder.begin(recipe, images.name, run.step)
        trained = run.step == recipe.steps
        try:
            seconds = _train(folder, job, run, job.stream(images), progress, save_every)
        except OSError as error:
            raise ValueError(f"cannot write in {folder.path}: {error.strerror or error}") from error
        best = run.ema.module.eval()
        state, about = job.export(best)
        about |= {
            "kind": job.kind,
            "recipe": asdict(recipe),
            "data": images.name,
            "images": recipe.steps * recipe.train.batch,
            "parameters": sum(p.numel() for p in best.parameters() if p.requires_grad),
            "hardware": f"{ranks.count} x {hardware(device)}" if ranks.count > 1 else hardware(device),
            "seconds": round(seconds),
            "version": version(),
        }
        path, unscored = folder.weights, not recipe.score.samples
        if unscored or not (trained and path.exists()):
            checkpoint.write(path, state, about)
        if unscored:
            return about
        try:
            about["scores"] = job.score(best, test, scoring)
        except ValueError as error:
            raise ValueError(f"cannot score: {error}. The weights are in {path}; --resume only scores") from error
        checkpoint.write(path, state, about)
    return about


def _follow(folder: Folder, run: Run, shown: Stream, resume: bool) -> dict:
    """What every rank but the first does: train along. Whether to stop is for the first to say, by leaving."""
    if resume:
        folder.restore(run)
    with between_steps():
        for _ in train(run.model, shown, run.recipe, run):
            pass
    return {}


def _plan(job: DenoiserTask, run: Run, images: Images, test: Images) -> str:
    """What is left to do, and about how long it takes, scoring included."""
    recipe, device, left = job.recipe, run.generator.device, job.recipe.steps - run.step
    with torch.random.fork_rng():  # measuring leaves no trace in the run
        seconds = job.seconds_to_score(run.model, test)
        if left:
            seconds += left * seconds_per_step(recipe, device, images) / run.ranks.count
    some = f"{left:,} of {recipe.steps:,}" if run.step else f"{left:,}"
    batches = f"{some} steps of {recipe.train.batch} pictures on {device}"
    batches += f" in {run.ranks.count} processes" if run.ranks.count > 1 else ""
    return f"{recipe.name}: {batches}, about {duration(seconds)} with scoring."


def _train(folder: Folder, job: DenoiserTask, run: Run, shown: Stream, progress: Callable, save_every: float) -> float:
    """All steps that are left, logged and kept; the seconds that all sessions took."""
    from torch.utils.tensorboard import SummaryWriter  # slow to import

    recipe, waiting = job.recipe, []
    every = max(recipe.preview.every // recipe.train.batch, 100)
    before, began = folder.seconds, time.time()
    saved, writer = began, SummaryWriter(folder.path, purge_step=run.step + 1)
    try:
        with (folder.path / "metrics.jsonl").open("a", encoding="utf-8") as log, between_steps() as asked:
            for step in progress(train(run.model, shown, recipe, run), recipe.steps, run.step):
                waiting.append(step)
                ended = step.step == recipe.steps
                if len(waiting) >= 50 or ended or asked:
                    _log(waiting, log, writer)
                if ended or asked or step.step % every == 0 or time.time() - saved > save_every:
                    _log(waiting, log, writer)
                    saved = time.time()
                    folder.keep(run, before + saved - began)
                if ended or step.step % every == 0:
                    _preview(folder, job, run, writer)
                if asked:
                    raise KeyboardInterrupt
    finally:
        writer.close()
    return before + time.time() - began


def _log(waiting: list[TrainStep], log, writer) -> None:
    """Write the rows of the steps since the last call; in blocks, so that a GPU is seldom waited for."""
    for step in waiting:
        row = {"step": step.step, "images": step.images, "loss": step.loss, "lr": step.lr, "grad": step.grad_norm}
        log.write(json.dumps(row) + "\n")
        for key in ("loss", "lr", "grad"):
            writer.add_scalar(key, row[key], step.step)
    waiting.clear()
    log.flush()


def _preview(folder: Folder, job: DenoiserTask, run: Run, writer) -> None:
    x = job.preview(run.ema.module.eval())
    if x is not None:
        columns = max(n for n in range(1, 11) if len(x) % n == 0)
        path = folder.path / "samples" / f"step-{run.step:06}.png"
        writing.whole(path, lambda f: files.grid(x, columns).save(f, "png"))
        writer.add_image("samples", (tile(x.cpu(), columns) + 1) / 2, run.step)


def seconds_per_step(recipe: Recipe, device: str | torch.device = "cpu", images: Images | None = None) -> float:
    """Measured on a throw-away model: two steps to warm up, two to time. images: None for black pictures."""
    short, model = replace(recipe, total=4 * recipe.train.batch), task(recipe).build().to(device)
    if images is None:
        shape = SHAPES[recipe.data.name][0], recipe.data.size, recipe.data.size
        black = torch.zeros(max(recipe.train.batch, 10), *shape, dtype=torch.uint8)
        images = Images("", black, torch.arange(len(black)) % 10, "").to(device)
    times = []
    for step in train(model, task(recipe).stream(images), short):
        _ = step.loss  # waits for the device
        times.append(time.perf_counter())
    return (times[3] - times[1]) / 2


def duration(seconds: float) -> str:
    """90 s, 5 min or 2.5 h."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


@contextmanager
def between_steps() -> Iterator[list[int]]:
    """Ctrl-C and SIGTERM fill the list: whoever trains looks at it after each step. A second one interrupts at once."""
    asked: list[int] = []
    both = (signal.SIGINT, signal.SIGTERM)
    if threading.current_thread() is not threading.main_thread():  # Python handles signals nowhere else
        yield asked
        return
    before = {number: signal.getsignal(number) for number in both}

    def handler(number: int, frame: object) -> None:
        asked.append(number)
        for each in both:
            signal.signal(each, signal.default_int_handler)

    for number in both:
        signal.signal(number, handler)
    try:
        yield asked
    finally:
        for number in both:
            signal.signal(number, before[number])
