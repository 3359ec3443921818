"""Run folders: nothing is lost when something fails, and a resumed run equals an uninterrupted one."""

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from dataclasses import asdict, replace

import pytest
import torch
import yaml

from diffusion101 import checkpoint, writing
from diffusion101.networks import Labels, Level, UNetConfig
from diffusion101.training import fit, recipe
from diffusion101.training.fit import fit as train_in
from diffusion101.training.folder import Folder
from diffusion101.training.loop import learning_rate

SMALL = replace(  # six steps; dropout draws from torch's own generator, which a resumed run must find as it was
    recipe.Recipe(model=recipe.Model(network=UNetConfig(levels=(Level(4),), time=8, condition=Labels(), dropout=0.3))),
    name="small",
    data=recipe.Data("synthetic", size=8),
    train=recipe.Train(batch=4),
    score=recipe.Score(samples=0),
    total=24,
)
SCORED = replace(SMALL, score=recipe.Score(samples=10, steps=2))


@pytest.fixture(autouse=True)
def few_digits(small_synthetic):
    pass


def interrupt_at(stop, how=signal.SIGINT):
    def progress(steps, total, done):
        for step in steps:
            yield step
            if step.step == stop:
                signal.raise_signal(how)

    return progress


def same(a, b) -> bool:
    """Whether two runs left the same weights and the same log."""
    left, right = (checkpoint.read(folder / "model.safetensors", "denoiser")[1] for folder in (a, b))
    equal = left.keys() == right.keys() and all(torch.equal(left[key], right[key]) for key in left)
    return equal and (a / "metrics.jsonl").read_bytes() == (b / "metrics.jsonl").read_bytes()


def test_a_run_interrupted_and_resumed(tmp_path):
    a, b = tmp_path / "a", tmp_path / "b"
    about = train_in(SCORED, a)
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        train_in(SCORED, b, progress=interrupt_at(3))
    assert signal.getsignal(signal.SIGINT) is before and not (b / "model.safetensors").exists()
    with pytest.raises(ValueError, match="already holds a run; add --resume"):
        train_in(SCORED, b)
    with (b / "metrics.jsonl").open("a") as file:  # rows of steps lost in a crash, the last cut short
        file.write('{"step": 4, "loss": 7}\n{"st')
    (b / f".0123{writing.PART}").write_text("a file that a killed process was writing")
    train_in(SCORED, b, resume=True, say=[].append)  # what is measured for say leaves no trace
    assert same(a, b)
    names = {".lock", "run.yaml", "metrics.jsonl", "state.pt", "model.safetensors", "samples"}
    assert {path.name for path in b.iterdir() if "tfevents" not in path.name} == names
    assert (b / "samples" / "step-000006.png").stat().st_size > 100
    rows = [json.loads(row) for row in (b / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == list(range(1, 7)) and rows[-1]["images"] == 24
    assert about["scores"]["samples"] == 10 and about["images"] == 24 and about["data"] == "synthetic"
    kept = yaml.safe_load((b / "run.yaml").read_text())
    assert kept["data"] == "synthetic" and kept["recipe"]["train"]["batch"] == 4 and kept["version"]


def test_the_state_is_kept_between_steps(tmp_path, monkeypatch):
    """Cut between the weights' update and the average's, it would not be one that an unbroken run passes."""
    train_in(SMALL, tmp_path / "whole")
    real, calls = torch.optim.AdamW.step, []

    def step_then_signal(self, *args, **kwargs):
        calls.append(real(self, *args, **kwargs))
        if len(calls) == 3:
            signal.raise_signal(signal.SIGTERM)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(torch.optim.AdamW, "step", step_then_signal)
        train_in(SMALL, tmp_path / "cut")
    assert torch.load(tmp_path / "cut" / "state.pt", weights_only=True)["step"] == 3
    train_in(SMALL, tmp_path / "cut", resume=True)
    assert same(tmp_path / "whole", tmp_path / "cut")


LONG = replace(SMALL, total=4 * 40)
PROGRAM = """
import sys, torch
sys.path.insert(0, {tests!r})
from diffusion101.data import images
from diffusion101.training.fit import fit
from test_fit import LONG
images.SYNTHETIC = {{"train": (300, 1), "test": (100, 2)}}
torch.set_num_threads(1)
for line in sys.stdin:  # one attempt per line, each in a child, so that torch is loaded only once
    import os
    child = os.fork()
    if child == 0:
        fit(LONG, {out!r}, resume=line.strip() == "resume", save_every=0)
        os._exit(0)
    print(child, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="kill -9 and fork are of Unix")
def test_killed_at_ten_random_moments(tmp_path):
    """kill -9 of a run that keeps its state at every step, resumed until done: bit for bit the uninterrupted run."""
    out, chance = tmp_path / "killed", random.Random()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as the children, which fork: sums over other parts may differ in the last bit
    try:
        train_in(LONG, tmp_path / "whole", save_every=0)
    finally:
        torch.set_num_threads(threads)
    program = PROGRAM.format(tests=str(os.path.dirname(__file__)), out=str(out))
    pipes = dict(stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    killed = 0
    with subprocess.Popen([sys.executable, "-c", program], **pipes) as parent:
        for _ in range(30):
            steps_before = len(rows(out))
            parent.stdin.write("resume\n" if (out / "state.pt").exists() else "start\n")
            parent.stdin.flush()
            child = int(parent.stdout.readline())
            if killed < 10:
                while len(rows(out)) in (0, steps_before) and not (out / "model.safetensors").exists():
                    time.sleep(0.002)  # training goes on
                time.sleep(chance.random() * 0.05)
                os.kill(child, signal.SIGKILL)
            code = int(parent.stdout.readline())
            killed += code == -signal.SIGKILL
            if code == 0:
                break
        parent.stdin.close()
    assert code == 0 and killed == 10 and same(tmp_path / "whole", out)
    assert not list(out.rglob(f".*{writing.PART}"))


def rows(out) -> list[bytes]:
    return (out / "metrics.jsonl").read_bytes().splitlines() if (out / "metrics.jsonl").exists() else []


def test_a_failing_score_loses_nothing(tmp_path, monkeypatch):
    def fail(*args, **kwargs):
        raise ValueError("the judge is ill")

    with monkeypatch.context() as patch:
        patch.setattr("diffusion101.training.tasks.score_model", fail)
        with pytest.raises(ValueError, match="cannot score: the judge is ill. The weights are in .*model.safetensors"):
            train_in(SCORED, tmp_path)
    unscored, tensors = checkpoint.read(tmp_path / "model.safetensors", "denoiser")
    assert "scores" not in unscored and unscored["images"] == 24
    monkeypatch.setattr("diffusion101.training.fit.train", lambda *a: iter(()))  # nothing is trained any more
    mended = replace(SCORED, score=recipe.Score(samples=12, steps=1))
    about = train_in(mended, tmp_path, resume=True)
    assert about["scores"]["samples"] == 12 and len(rows(tmp_path)) == 6
    after = checkpoint.read(tmp_path / "model.safetensors", "denoiser")
    assert after[0]["scores"]["samples"] == 12 and all(torch.equal(tensors[key], after[1][key]) for key in tensors)
    monkeypatch.setattr("diffusion101.training.tasks.score_model", fail)
    with pytest.raises(ValueError, match="cannot score"):
        train_in(SCORED, tmp_path, resume=True)
    assert checkpoint.read(tmp_path / "model.safetensors", "denoiser")[0]["scores"]["samples"] == 12


def test_seconds_count_all_sessions(tmp_path, monkeypatch):
    clock = iter(range(0, 10_000, 100))  # every look at the clock comes 100 seconds after the last
    monkeypatch.setattr(fit.time, "time", lambda: next(clock))
    with pytest.raises(KeyboardInterrupt):
        train_in(SMALL, tmp_path, progress=interrupt_at(3))
    first = torch.load(tmp_path / "state.pt", weights_only=True)["seconds"]
    began = next(clock)
    about = train_in(SMALL, tmp_path, resume=True)
    assert first >= 100 and about["seconds"] == first + next(clock) - began - 200


def test_tensorboard_shows_every_step_once(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    with pytest.raises(KeyboardInterrupt):
        train_in(SMALL, tmp_path, progress=interrupt_at(3))
    train_in(SMALL, tmp_path, resume=True)
    shown = EventAccumulator(str(tmp_path)).Reload()
    assert [event.step for event in shown.Scalars("loss")] == [1, 2, 3, 4, 5, 6]


def test_what_stood_in_for_mnist_is_told_and_kept(tmp_path, monkeypatch):
    from diffusion101.data import images

    asked = replace(SMALL, data=recipe.Data("mnist", size=8))
    synthetic, said = images.load("synthetic", size=8), []
    here = {"mnist": False}

    def load(name, split="train", size=28, stand_in=True, path=None):
        if name == "mnist" and not here["mnist"] and not stand_in:
            raise ValueError("MNIST cannot be had")
        found = replace(synthetic, name="mnist") if name == "mnist" and here["mnist"] else synthetic
        return found

    monkeypatch.setattr("diffusion101.training.tasks.load", load)
    with pytest.raises(KeyboardInterrupt):
        train_in(asked, tmp_path / "a", progress=interrupt_at(3), say=said.append)
    assert said[0] == "mnist could not be had: this run trains on synthetic data instead."
    here["mnist"] = True  # from now on: but the run goes on as it began
    assert train_in(asked, tmp_path / "a", resume=True)["data"] == "synthetic"
    with pytest.raises(KeyboardInterrupt):
        train_in(asked, tmp_path / "b", progress=interrupt_at(3))
    here["mnist"] = False
    with pytest.raises(ValueError, match="MNIST cannot be had"):
        train_in(asked, tmp_path / "b", resume=True)
    assert Folder(tmp_path / "b").kept()[1] == "mnist" and len(rows(tmp_path / "b")) == 4


def test_one_run_at_a_time_in_a_folder(tmp_path):
    inside, leave, ended = threading.Event(), threading.Event(), []

    def progress(steps, total, done):
        inside.set()
        leave.wait(60)
        return steps

    first = threading.Thread(target=lambda: ended.append(train_in(SMALL, tmp_path, progress=progress)))
    first.start()
    assert inside.wait(60)
    with pytest.raises(ValueError, match="is in use: another process trains in it"):
        train_in(SMALL, tmp_path)
    leave.set()
    first.join()
    assert ended and len(rows(tmp_path)) == 6


def test_a_run_that_kept_nothing_starts_again(tmp_path):
    (tmp_path / "run.yaml").write_text("left by a run that was stopped before its first state\n")
    (tmp_path / "metrics.jsonl").write_text('{"step": 1}\n')
    train_in(SMALL, tmp_path)
    assert len(rows(tmp_path)) == 6


@pytest.fixture
def stopped(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        train_in(SMALL, tmp_path / "run", progress=interrupt_at(3))
    return tmp_path / "run"


def cut(path):
    path.write_bytes(path.read_bytes()[:200])


def foreign(path):
    torch.save({"device": "cpu", "model": 3}, path)


def of_cuda(path):
    torch.save(torch.load(path, weights_only=True) | {"device": "cuda"}, path)


@pytest.mark.parametrize(
    ("file", "spoil", "message"),
    [
        ("state.pt", cut, "state.pt is damaged, or not a state of ours"),
        ("state.pt", lambda path: path.write_bytes(b""), "state.pt is damaged"),
        ("state.pt", lambda path: torch.save(torch.zeros(3), path), "state.pt is damaged"),
        ("state.pt", foreign, "state.pt does not fit this recipe"),
        ("state.pt", of_cuda, "state.pt was kept on cuda; add --device cuda"),
        ("state.pt", lambda path: path.unlink(), "holds no run to resume"),
        ("run.yaml", lambda path: path.write_text(""), "run.yaml is damaged"),
        ("run.yaml", lambda path: path.write_text("recipe: ["), "run.yaml is damaged"),
        ("run.yaml", lambda path: path.write_bytes(b"\xff\xfe\x00"), "run.yaml is damaged"),
        ("run.yaml", lambda path: path.write_text("{recipe: {train: {lr: fast}}, data: x}"), "run.yaml.*train.lr"),
        ("run.yaml", lambda path: path.unlink(), "run.yaml is damaged"),
    ],
)
def test_a_damaged_folder_is_named_and_left_alone(stopped, file, spoil, message):
    spoil(stopped / file)
    before = {path.name: path.read_bytes() for path in stopped.iterdir() if path.is_file()}
    with pytest.raises(ValueError, match=message) as error:
        train_in(SMALL, stopped, resume=True)
    assert "\n" not in str(error.value)
    assert before == {path.name: path.read_bytes() for path in stopped.iterdir() if path.is_file()}


def test_resuming_compares_only_what_changes_the_training(stopped):
    faster = replace(SMALL, train=replace(SMALL.train, lr=0.1))
    with pytest.raises(ValueError, match="train.lr was 0.005, now it is 0.1$"):
        train_in(faster, stopped, resume=True)
    other = replace(SMALL, name="renamed", score=recipe.Score(samples=0, guidance=1.0))
    train_in(other, stopped, resume=True)
    assert len(rows(stopped)) == 6


def test_a_run_may_be_given_another_length_when_it_goes_on(stopped):
    seen, said = len(rows(stopped)), []
    shorter, longer = (replace(SMALL, total=batches * SMALL.train.batch) for batches in (seen - 1, seen + 1))
    with pytest.raises(ValueError, match=f"total was {SMALL.total}, now it is {longer.total}"):
        train_in(longer, stopped, resume=True)
    with pytest.raises(ValueError, match=f"has seen {seen * SMALL.train.batch} pictures already; it cannot end after"):
        train_in(shorter, stopped, resume=True, relength=True)
    about = train_in(longer, stopped, resume=True, relength=True, say=said.append)
    assert f"planned for {SMALL.total} pictures, this run now ends after {longer.total}." in " ".join(said)
    assert about["images"] == about["recipe"]["total"] == longer.total and len(rows(stopped)) == seen + 1
    rate = learning_rate(longer.train, longer.steps, seen)
    assert json.loads(rows(stopped)[-1])["lr"] == pytest.approx(rate)


def test_a_full_disk_is_named_and_the_last_state_stays(stopped, monkeypatch):
    before = (stopped / "state.pt").read_bytes()

    def full(state, path):
        path.write_bytes(b"half")
        raise RuntimeError("PytorchStreamWriter failed writing file data.pkl: file write failed")

    with monkeypatch.context() as patch, pytest.raises(ValueError, match="cannot write .*state.pt': Pytorch"):
        patch.setattr(torch, "save", full)
        train_in(SMALL, stopped, resume=True)
    assert (stopped / "state.pt").read_bytes() == before and not list(stopped.glob(f".*{writing.PART}"))

    def full_log(*args):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch, pytest.raises(ValueError, match="cannot write in .*run: No space left"):
        patch.setattr("diffusion101.training.fit._log", full_log)
        train_in(SMALL, stopped, resume=True)
    assert (stopped / "state.pt").read_bytes() == before
    train_in(SMALL, stopped, resume=True)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"data": recipe.Data("synthetic", size=7)}, "size is 7; it must be at least 8"),
        ({"data": recipe.Data("synthetic", size=8, hidden=30)}, "cond is .1, 2.; it must be .B,."),
        ({"model": recipe.Model(network=UNetConfig(time=8, condition=Labels(5)))}, "labels up to 9, .* knows only 5"),
        ({"model": recipe.Model(network=UNetConfig(channels=3))}, r"this UNet needs \(B, 3, H, W\)"),
        ({"data": recipe.Data("synthetic", size=10), "model": recipe.Model("M3")}, "divisible by 4"),
        ({"score": recipe.Score(samples=51)}, "samples is 51; it must lie from 10 to 50"),
        ({"score": recipe.Score(samples=9)}, "samples is 9; it must lie from 10"),
        ({"model": recipe.Model(milestone="M1", start="none")}, "unknown model 'none'"),
    ],
)
def test_what_cannot_work_is_told_before_anything_is_written(tmp_path, change, message):
    with pytest.raises(ValueError, match=message):
        train_in(replace(SMALL, **change), tmp_path / "run")
    with pytest.raises(ValueError, match="holds no run to resume"):
        train_in(SMALL, tmp_path / "run", resume=True)
    assert not (tmp_path / "run").exists()


def test_the_estimate_includes_scoring(tmp_path, monkeypatch):
    monkeypatch.setattr(fit, "seconds_per_step", lambda *a: 10.0)
    monkeypatch.setattr("diffusion101.training.tasks.seconds", lambda model, request: 1000.0)
    monkeypatch.setattr("diffusion101.training.tasks.seconds_to_judge", lambda *a: 0.0)
    said = []
    with pytest.raises(KeyboardInterrupt):
        train_in(SCORED, tmp_path, progress=interrupt_at(2), say=said.append)
    train_in(SCORED, tmp_path, resume=True, say=said.append)
    assert said[0] == "small: 6 steps of 4 pictures on cpu, about 18 min with scoring."
    assert said[1] == "small: 3 of 6 steps of 4 pictures on cpu, about 17 min with scoring."


def test_a_recipe_survives_the_run_folder(tmp_path):
    folder = Folder(tmp_path)
    for name in recipe.names():
        chosen = recipe.load(name)
        folder.begin(chosen, "mnist", 0)
        assert folder.kept() == (chosen, "mnist") and asdict(folder.kept()[0]) == asdict(chosen)
