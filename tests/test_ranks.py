"""Training in several processes: the same model as in one, one folder, and nothing lost with a process."""

import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import time

import pytest
import torch

from diffusion101 import checkpoint
from diffusion101.__main__ import main
from diffusion101.training import ranks
from diffusion101.training.fit import fit
from diffusion101.training.loop import Run
from diffusion101.training.ranks import ALONE, Ranks

RECIPE = """
model: {network: {levels: [{width: 8}], time: 8, condition: {classes: 10}}}
data: {name: synthetic, size: 8}
train: {batch: 8, drop: 0.5, amp: false}
score: {samples: 10, steps: 2}
"""
# the command line on few digits, with a state kept at every step
PROGRAM = """
import sys
from functools import partial
from diffusion101 import commands
from diffusion101.data import images
commands.fit.fit = partial(commands.fit.fit, save_every=0)
images.SYNTHETIC = {"train": (300, 1), "test": (100, 2)}
from diffusion101.__main__ import main
sys.exit(main())
"""


@pytest.fixture
def here(tmp_path, monkeypatch, small_synthetic):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DIFFUSION101_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([os.path.dirname(os.path.dirname(__file__)), *sys.path]))
    (tmp_path / "quick.yaml").write_text(RECIPE)
    (tmp_path / "program.py").write_text(PROGRAM)
    return tmp_path


def train(out, images, *words) -> list[str]:
    return ["train", "--recipe", "quick.yaml", "--device", "cpu", "--out", out, "--images", str(images), *words]


def rows(folder) -> list[dict]:
    path = folder / "metrics.jsonl"
    return [json.loads(row) for row in path.read_text().splitlines()] if path.exists() else []


def start(words, count: int) -> list[subprocess.Popen]:
    """One process per rank, started as torchrun starts them, so that one of them can be killed."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    found = []
    for rank in range(count):
        env = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": count, "LOCAL_WORLD_SIZE": count}
        env |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "TORCHELASTIC_RUN_ID": "test"}
        env = os.environ | {key: str(value) for key, value in env.items()}
        pipes = dict(stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        found.append(subprocess.Popen([sys.executable, "program.py", *words], env=env, **pipes))
    return found


@pytest.mark.slow
def test_two_processes_train_what_one_trains(here):
    """The same losses and weights but for rounding, through torchrun; one folder, one voice."""
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2", "program.py", *train("two", 64)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("two/model.safetensors") == 1 and done.stderr.count("8 steps of 8 pictures on cpu") == 1
    assert main(train("one", 64)) == 0
    one, two = rows(here / "one"), rows(here / "two")
    assert [row["step"] for row in two] == list(range(1, 9)) and two[-1]["images"] == 64
    for key in ("loss", "grad", "lr"):
        torch.testing.assert_close([row[key] for row in two], [row[key] for row in one], rtol=1e-4, atol=1e-6)
    (about, a), (theirs, b) = (checkpoint.read(f"{name}/model.safetensors", "denoiser") for name in ("one", "two"))
    for key in a:
        torch.testing.assert_close(a[key], b[key], rtol=0.01, atol=1e-3)  # in half precision
    assert theirs["scores"]["samples"] == 10
    name, known = (each["hardware"].rpartition(",")[0] for each in (theirs, about))  # torchrun gives each one thread
    assert name == f"2 x {known}"


@pytest.mark.slow
@pytest.mark.parametrize("ill", ["lost", "stopped"])
def test_a_process_that_is_lost_or_stopped_loses_nothing(here, ill):
    """kill -9 of one, or the SIGTERM to all by which torchrun stops: the kept state is whole, and one goes on."""
    (here / "quick.yaml").write_text(RECIPE.replace("samples: 10", "samples: 0"))
    words, state = train("run", 8 * 150), here / "run" / "state.pt"
    processes = first, second = start(words, 2)
    try:
        while not state.exists():
            assert [process.poll() for process in processes] == [None, None], [p.communicate() for p in processes]
            time.sleep(0.02)
        for process in [second] if ill == "lost" else processes:
            process.send_signal(signal.SIGKILL if ill == "lost" else signal.SIGTERM)
        (out, error), quiet = [process.communicate(timeout=600) for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert quiet == ("", ""), "only the first one talks"
    if ill == "lost":
        assert (first.returncode, second.returncode) == (2, -signal.SIGKILL)
        assert error.splitlines()[-1].startswith("diffusion101: a process of this run was lost: --resume goes on")
    else:
        assert (first.returncode, second.returncode) == (130, 2)
        assert f"Go on with: torchrun --nproc_per_node=2 -m diffusion101 {shlex.join(words)} --resume" in out
    kept = torch.load(state, weights_only=True)["step"]
    assert 1 <= kept < 150 and not (here / "run" / "model.safetensors").exists()
    if ill == "lost":
        assert main([*words, "--resume"]) == 0
        assert [row["step"] for row in rows(here / "run")] == list(range(1, 151))


def test_dropout_is_not_the_same_in_two_ranks_but_in_a_resumed_run(tiny, pictures):
    drawn = []

    class Spy(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.zeros(1))

        def loss(self, x0, cond, generator, part):
            drawn.append((part, torch.rand(4).tolist(), torch.rand(4, generator=generator).tolist()))
            return self.weight.sum()

    for rank in (0, 1, 1):
        run = Run(Spy(), tiny, Ranks(rank, 2))
        run.step = 3
        run.ranks.loss(run, *pictures.batch(3, 8))
        torch.manual_seed(rank + 50)
    (a, mask, noise), (b, other, same), (_, again, _) = drawn
    assert (a, b) == (slice(0, 4), slice(4, 8)) and noise == same
    assert mask != other and other == again


def test_a_batch_that_cannot_be_shared_is_told_before_anything_is_written(tiny, tmp_path):
    with pytest.raises(ValueError, match="train.batch is 8, which 3 processes cannot share evenly"):
        fit(tiny, tmp_path / "run", ranks=Ranks(0, 3))
    assert not (tmp_path / "run").exists()


def test_without_torchrun_one_process_is_alone(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "4")  # as some cluster's scheduler says, without having started four
    monkeypatch.setenv("RANK", "3")
    with ranks.joined(torch.device("cpu")) as us:
        assert us is ALONE
    assert ranks.rank() == 0 and ranks.own("cuda:7") == "cuda:7"


def test_under_torchrun_each_process_has_a_device_of_its_own(monkeypatch, capsys):
    for key, value in {"TORCHELASTIC_RUN_ID": "x", "RANK": 5, "LOCAL_RANK": 1, "LOCAL_WORLD_SIZE": 2}.items():
        monkeypatch.setenv(key, str(value))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert (ranks.own("cpu"), ranks.own("cuda"), ranks.rank()) == ("cpu", "cuda:1", 5)
    with pytest.raises(ValueError, match="--device is 'cuda:0'; under torchrun it must be cpu or cuda"):
        ranks.own("cuda:0")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(ValueError, match="2 processes need a CUDA device each, and this machine has 1"):
        ranks.own("cuda")
    assert main(["train", "--recipe", "none", "--out", "x"]) == 2 and capsys.readouterr().err == ""
