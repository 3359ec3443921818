"""A training run on disk: everything needed to read, judge and resume it. One process at a time."""

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path

import torch
import yaml
from filelock import FileLock, Timeout

from .. import __version__, writing
from ..reading import read
from .loop import Run
from .recipe import Recipe


class Folder:
    """runs/x: run.yaml, metrics.jsonl, TensorBoard events, samples/, state.pt, model.safetensors.

    run.yaml holds the recipe, the name of the data that was really used, and the code's version.
    """

    def __init__(self, path: Path):
        self.path, self.state, self.weights = path, path / "state.pt", path / "model.safetensors"
        self.seconds = 0.0  # of all sessions before this one

    @contextmanager
    def locked(self) -> Iterator[None]:
        """ValueError if another process trains here; the lock of a killed process is gone with it."""
        lock = FileLock(self.path / ".lock")
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            lock.acquire(timeout=0)
        except OSError as error:  # Timeout is one too
            if not isinstance(error, Timeout):
                raise ValueError(f"cannot write in {self.path}: {error.strerror}") from None
            raise ValueError(f"{self.path} is in use: another process trains in it; choose another --out") from None
        try:
            yield
        finally:
            lock.release()

    def check(self, recipe: Recipe, resume: bool, relength: bool = False) -> None:
        """ValueError unless this recipe can start, or go on, here; nothing is written. relength: with another total."""
        if self.path.exists() and not self.path.is_dir():
            raise ValueError(f"{self.path} is a file; --out must be a folder")
        if not resume:
            if self.state.exists() or self.weights.exists():
                raise ValueError(f"{self.path} already holds a run; add --resume to go on, or choose another --out")
            return
        if not self.state.exists():
            raise ValueError(f"{self.path} holds no run to resume")
        kept = self.kept()[0]
        different = recipe.trains_as(replace(kept, total=recipe.total) if relength else kept)
        if different:
            raise ValueError(f"cannot resume {self.path}: " + "; ".join(different))

    def kept(self) -> tuple[Recipe, str]:
        """The recipe that the run in this folder began with, and the name of its data."""
        path = self.path / "run.yaml"
        try:
            about = yaml.safe_load(path.read_text(encoding="utf-8"))
            return read(Recipe, about["recipe"], str(path)), str(about["data"])
        except (OSError, yaml.YAMLError, KeyError, TypeError, ValueError, RecursionError) as error:
            raise ValueError(f"cannot resume: {path} is damaged ({' '.join(str(error).split())})") from None

    def begin(self, recipe: Recipe, data: str, step: int) -> None:
        """Note what the run is, and clear away what a killed session left: half files, rows after the kept step."""
        for half in self.path.rglob(f".*{writing.PART}"):
            half.unlink()
        log = self.path / "metrics.jsonl"
        rows = log.read_bytes().splitlines(keepends=True)[:step] if log.exists() else []
        writing.whole(log, lambda f: f.write_bytes(b"".join(rows)))
        about = {"recipe": asdict(recipe), "data": data, "version": version()}
        text = yaml.safe_dump(json.loads(json.dumps(about)), sort_keys=False)  # tuples as lists
        writing.whole(self.path / "run.yaml", lambda f: f.write_text(text, encoding="utf-8"))

    def keep(self, run: Run, seconds: float) -> None:
        state = run.state_dict() | {"seconds": seconds}
        writing.whole(self.state, lambda f: torch.save(state, f))

    def restore(self, run: Run) -> None:
        """Put the kept state into a fresh run; nothing is written."""
        try:
            state = torch.load(self.state, weights_only=True, map_location="cpu")
            device = state["device"]
        except Exception:  # unpickling somebody's bytes can raise anything
            raise ValueError(f"cannot resume: {self.state} is damaged, or not a state of ours") from None
        if device != run.generator.device.type:
            raise ValueError(f"cannot resume: {self.state} was kept on {device}; add --device {device}")
        try:
            run.load_state_dict(state)
            self.seconds = float(state["seconds"])
        except (KeyError, RuntimeError, ValueError, TypeError, IndexError, AttributeError) as error:
            words = " ".join(str(error).split())[:200]
            raise ValueError(f"cannot resume: {self.state} does not fit this recipe ({words})") from None


def version() -> str:
    """The package's version and, in a clone, the commit it stands at."""
    clone = Path(__file__).parents[2]
    if not (clone / ".git").exists():
        return __version__
    try:
        command = ["git", "-C", str(clone), "describe", "--always", "--dirty", "--tags"]
        return f"{__version__} {subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()}"
    except (OSError, subprocess.CalledProcessError):
        return __version__
