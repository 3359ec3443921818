"""The command line as a user types it; whatever is wrong is told in one sentence, exit code 2, nothing written."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from PIL import Image

from diffusion101.__main__ import main
from diffusion101.checkpoint import FOLDER, names

MODEL = next((name for name in names() if name != "classifier"), None)
needs_weights = pytest.mark.skipif(MODEL is None, reason="no weights yet")


@pytest.fixture
def yaml(tmp_path):
    """A run of some seconds on drawn digits."""
    path = tmp_path / "quick.yaml"
    path.write_text(
        "milestone: M3\ndata: strokes\nsize: 8\nbatch: 8\n"
        "network: {widths: [16, 16], time: 16}\nevaluate: {sampler: ddim, steps: 2, samples: 0}\n"
    )
    return path


@needs_weights
@pytest.mark.parametrize(
    "words, message",
    [
        ("--model 77-none", "unknown model '77-none'; there are"),
        ("--model MODEL --steps 0", "steps is 0; it must be a whole number from 1 to T = 1000"),
        ("--model MODEL --steps 1001", "from 1 to T = 1000"),
        ("--model MODEL --guidance nan", "--guidance is nan; it must be a finite number"),
        ("--model MODEL --guidance inf", "--guidance is inf"),
        ("--model MODEL --sampler euler", "unknown sampler 'euler'; there are ddpm, ddim, dpmpp_2m"),
        ("--model MODEL --count 0", "--count is 0; it must be at least 1"),
        ("--model MODEL --size 27", "divisible by"),
        ("--model MODEL --device tpu9", "--device is 'tpu9'"),
        ("--model CUT", "cut.safetensors is damaged"),
        ("--model TMP/none.safetensors", "no weight file"),
        ("--model MODEL --out TMP/grid.xyz", "the type must be one of .png"),
        ("--model MODEL --out TMP", "the type must be one of .png"),
        ("--model MODEL --out TMP/file/grid.png", "is not a folder that can be written to"),
    ],
)
def test_sample_refuses(words, message, tmp_path, capsys):
    (tmp_path / "cut.safetensors").write_bytes((FOLDER / f"{MODEL}.safetensors").read_bytes()[:3000])
    (tmp_path / "file").write_text("")
    words = words.replace("MODEL", "03-scales" if "--size" in words else MODEL)
    words = words.replace("CUT", str(tmp_path / "cut.safetensors")).replace("TMP", str(tmp_path)).split()
    before = sorted(tmp_path.iterdir())
    assert main(["sample", "--out", str(tmp_path / "grid.png"), *words]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
    assert sorted(tmp_path.iterdir()) == before, "nothing may be written"


@needs_weights
def test_prompts_put_two_digits_on_one_canvas(tmp_path, capsys):
    ask = ["sample", "--model", "06-attention", "--steps", "1", "--size", "8", "--out", str(tmp_path / "a.png")]
    assert main([*ask, "--prompt", "42", "7_"]) == 0
    assert Image.open(tmp_path / "a.png").size == (2 * 2 * 16, 2 * 8)  # two numbers, each pixel 2 x 2
    for bad, words in {"4": "'4'; it must be two digits", "4x": "'4x'; it must be", "123": "'123'; it must be"}.items():
        assert main([*ask, "--prompt", bad]) == 2
        assert words in capsys.readouterr().err
    assert main([*ask, "--prompt", "42", "--digits", "4"]) == 2
    assert main([*ask, "--prompt", "42", "--count", "0"]) == 2
    assert main(["sample", "--model", MODEL, "--prompt", "42", "--out", str(tmp_path / "b.png")]) == 2
    assert "reads no prompts" in capsys.readouterr().err and not (tmp_path / "b.png").exists()


def test_digits_need_a_model_with_labels(tmp_path, capsys):
    assert main(["sample", "--model", MODEL, "--digits", "3", "--out", str(tmp_path / "a.png")]) == 2
    assert "knows no digits" in capsys.readouterr().err and not list(tmp_path.iterdir())


@needs_weights
@pytest.mark.parametrize("kind", ["png", "jpg", "webp", "gif"])
def test_sample_draws(kind, tmp_path):
    out = tmp_path / "new" / f"grid.{kind}"
    assert main(f"sample --model {MODEL} --steps 2 --count 7 --seed 3 --out".split() + [str(out)]) == 0
    with Image.open(out) as picture:
        assert picture.size == (392, 56) and getattr(picture, "n_frames", 1) == (3 if kind == "gif" else 1)


@needs_weights
def test_one_seed_one_file(tmp_path):
    files = [tmp_path / f"{i}.png" for i in range(3)]
    for file, seed in zip(files, "001"):
        main(f"sample --model {MODEL} --steps 2 --count 3 --sampler ddpm --seed {seed} --out {file}".split())
    a, b, c = (file.read_bytes() for file in files)
    assert a == b != c


@needs_weights
def test_evaluate_writes_json(tmp_path, capsys):
    out = tmp_path / "scores.json"
    words = f"evaluate --model {MODEL} --samples 12 --steps 2 --seed 5".split()
    assert main([*words, "--json", str(out)]) == 0
    scores = json.loads(out.read_text())
    assert (scores["model"], scores["samples"], scores["seed"]) == (MODEL, 12, 5) and scores["floor"]["frechet"] > 0
    assert main(words) == 0 and json.loads(capsys.readouterr().out)["frechet"] == pytest.approx(scores["frechet"])
    assert main([*words[:3], "--samples", "5001"]) == 2
    assert "from 10 to 5000" in capsys.readouterr().err
    assert main([*words, "--json", str(tmp_path)]) == 2


@pytest.mark.parametrize(
    "words, message",
    [
        ("--recipe mnist-m33", "unknown recipe 'mnist-m33'; there are"),
        ("--recipe mnist-m3 --data cats", "unknown data 'cats'"),
        ("--recipe mnist-m3 --images 0", "images is 0"),
        ("--recipe mnist-m3 --out FILE/run", "is not a folder that can be written to"),
        ("--recipe mnist-m3 --resume", "holds no run to resume"),
        ("--recipe mnist-m3 --device tpu9", "--device is 'tpu9'"),
    ],
)
def test_train_refuses(words, message, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    words = words.replace("FILE", str(tmp_path / "file")).split()
    assert main(["train", "--out", str(tmp_path / "run"), *words]) == 2
    assert message in capsys.readouterr().err and not (tmp_path / "run").exists()


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_train_interrupted_resumed_then_sampled(yaml, tmp_path, how):
    out, env = tmp_path / "run", os.environ | {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "diffusion101", "train", "--recipe", str(yaml), "--out", str(out)]
    command += ["--images", "1200"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env)
    metrics = out / "metrics.jsonl"
    while not (metrics.exists() and metrics.stat().st_size > 2000):
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    process.send_signal(how)
    printed, _ = process.communicate(timeout=60)
    assert process.returncode == 130 and f"{' '.join(command[3:])} --resume" in printed
    assert not (out / "model.safetensors").exists() and (out / "state.pt").exists()
    assert main(command[3:]) == 2
    assert main([*command[3:], "--resume"]) == 0
    rows = [json.loads(row)["step"] for row in metrics.read_text().splitlines()]
    assert rows == list(range(1, 151))
    picture = tmp_path / "grid.png"
    model = str(out / "model.safetensors")
    assert main(["sample", "--model", model, "--size", "8", "--steps", "4", "--out", str(picture)]) == 0
    assert picture.stat().st_size > 100


def test_help_names_the_commands():
    command = [sys.executable, "-m", "diffusion101", "--help"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert all(name in printed for name in ("train", "sample", "evaluate"))
