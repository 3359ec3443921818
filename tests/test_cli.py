"""The command line as a user types it; whatever is wrong is told in one sentence, exit code 2, nothing written."""

import io
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from PIL import Image

from diffusion101 import checkpoint, commands, lora
from diffusion101.__main__ import ERRORS, main
from diffusion101.core import schedules
from diffusion101.figures import files
from diffusion101.networks import Labels, Level, Tokens, UNet, UNetConfig, Words
from diffusion101.training import recipe

PLAIN = UNetConfig(levels=(Level(8), Level(8)), time=8)
LABELS = replace(PLAIN, condition=Labels(10))
TOKENS = replace(PLAIN, levels=(Level(8), Level(8, cross=True)), condition=Tokens(width=8))


def write(path, config, data="synthetic", guidance=1.0, **changes):
    """A weight file of random values, small enough to draw with in no time."""
    network = UNet(config)
    with torch.no_grad():
        for p in network.parameters():
            p.copy_(torch.randn_like(p) * 0.2)
    made = {"model": recipe.Model(network=config), "data": recipe.Data(size=8, **changes)}
    made |= {"score": recipe.Score(guidance=guidance)}
    learned = recipe.Recipe(name=path.stem, **made)
    about = {"kind": "denoiser", "network": asdict(config), "schedule": schedules.cosine().spec, "predict": "v"}
    checkpoint.write(path, network.state_dict(), about | {"recipe": asdict(learned), "data": data})


@pytest.fixture
def here(tmp_path, monkeypatch, small_synthetic):
    """The current folder, with models that take nothing, labels, tokens; no MNIST; a run of some seconds."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DIFFUSION101_DATA", str(tmp_path / "data"))
    monkeypatch.setattr("torchvision.datasets.MNIST.download", refused)
    write(tmp_path / "plain.safetensors", PLAIN)
    write(tmp_path / "labels.safetensors", LABELS)
    write(tmp_path / "tokens.safetensors", TOKENS)
    write(tmp_path / "of_mnist.safetensors", LABELS, data="mnist", guidance=2.5)
    (tmp_path / "cut.safetensors").write_bytes((tmp_path / "plain.safetensors").read_bytes()[:3000])
    (tmp_path / "file").write_text("")
    (tmp_path / "quick.yaml").write_text(
        "model: {network: {levels: [{width: 8}], time: 8, condition: {classes: 10}}}\n"
        "data: {size: 8}\ntrain: {batch: 4}\nscore: {samples: 10, steps: 2}\n"
    )
    return tmp_path


def refused(*args, **kwargs):
    raise RuntimeError("Error downloading train-images-idx3-ubyte.gz")


def tree(folder):
    return sorted(path for path in folder.rglob("*") if "data" not in path.parts)


def refuses(words, message, capsys, folder) -> None:
    """Exit code 2, one line that says it, and nothing written."""
    before = tree(folder)
    assert main(words.split()) == 2
    error = capsys.readouterr().err
    assert message in error and error.startswith("diffusion101: ") and error.count("\n") == 1, error
    assert tree(folder) == before, "nothing may be written"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--model 77-none", "unknown model '77-none'; there are"),
        ("--model none.safetensors", "no weight file 'none.safetensors'"),
        ("--model cut.safetensors", "cut.safetensors is damaged"),
        ("--steps 0", "steps is 0; it must be a whole number from 1 to T = 1000"),
        ("--steps 1001", "from 1 to T = 1000"),
        ("--steps many", "argument --steps: invalid int value: 'many'"),
        ("--guidance nan", "the guidance is nan; it must be a finite number"),
        ("--guidance inf", "the guidance is inf"),
        ("--interval 800 400", "the interval is 800 to 400; it must be 0 <= low < high"),
        ("--interval 400", "argument --interval: expected 2 arguments"),
        ("--model plain.safetensors --interval 400 800", "nothing that --interval could strengthen"),
        ("--sampler euler", "unknown sampler 'euler'; there are ddpm, ddim, dpmpp_2m, dpmpp_2m_sde"),
        ("--spacing even", "unknown spacing 'even'; there are uniform, log_snr, karras, karras_cut"),
        ("--count 0", "the count of pictures is 0; it must be at least 1"),
        ("--count -3", "the count of pictures is -3"),
        ("--count 1000000000000", "1,000,000,000,000 pictures of 8 x 8 are too much"),
        ("--size 0", "the size is 0 x 0; both sides must be at least 1"),
        ("--size -8", "the size is -8 x -8"),
        ("--size 7", "divisible by 2"),
        ("--size 100000", "100000 x 100000 are too much"),
        ("--count 41000 --out a.jpg", "pixels are too many for a .jpg"),
        ("--count 5000 --steps 1000 --out a.gif", "a film of 5000 pictures in 1000 steps is too large"),
        ("--device tpu9", "--device is 'tpu9': it takes cpu, or cuda or mps"),
        ("--device meta", "--device is 'meta'"),
        ("--device cuda:99", "--device is 'cuda:99'"),
        ("--seed 9223372036854775808", "the seed is 9223372036854775808; it must fit into 64 bits"),
        ("--digits 11", "'11' is no label of this model; its labels go from 0 to 9"),
        ("--digits -1", "'-1' is no label"),
        ("--prompt 4x", "'4x' is no label"),
        ("--digits 3 --prompt 3", "--digits and --prompt exclude each other"),
        ("--prompt 3 --label 3", "--prompt and --label exclude each other"),
        ("--merge", "--merge needs --lora"),
        ("--lora-scale 0.5", "--lora-scale needs --lora"),
        ("--lora plain.safetensors --lora-scale nan", "--lora-scale is nan"),
        ("--lora plain.safetensors", "is a denoiser, not a lora"),
        ("--model plain.safetensors --guidance 2", "nothing that --guidance could strengthen"),
        ("--model plain.safetensors --digits 3", "takes no condition: it draws whatever comes, and no '3'"),
        ("--model tokens.safetensors --prompt 123", "'123' is no prompt of this model"),
        ("--grid 0", "the grid has 0 columns; it must have at least 1"),
        ("--grid 3 --out a.npy", "--grid is 3, but arrays stand in no grid"),
        ("--grid 3 --raw --out a", "--grid is 3, but arrays stand in no grid"),
        ("--format gif", "cannot write 'grid.png': its name says .png, and --format says .gif"),
        ("--raw", "its name says .png, and --format says .npy"),
        ("--format tiff --out a", "the type must be one of .png, .jpg, .webp, .gif, .npy"),
        ("--count 5000 --steps 1000 --out a --format gif", "a film of 5000 pictures in 1000 steps is too large"),
        ("--count 41000 --grid 41000 --out a.webp", "pixels are too many for a .webp"),
        ("--again none.png", "no picture 'none.png'"),
        ("--out grid.xyz", "the type must be one of .png"),
        ("--out data", "the type must be one of .png"),
        ("--out file/grid.png", "cannot write 'file/grid.png'"),
        (f"--out {'x' * 300}.png", "File name too long"),
        ("--wrong", "unrecognized arguments: --wrong"),
    ],
)
def test_sample_refuses(words, message, here, capsys):
    refuses(f"sample --model labels.safetensors --size 8 --out grid.png {words}", message, capsys, here)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--samples 9", "samples is 9; it must lie from 10 to 50"),
        ("--samples 51", "it must lie from 10 to 50, half of the synthetic test set"),
        ("--samples -1", "samples is -1"),
        ("--steps 1001", "from 1 to T = 1000"),
        ("--guidance nan", "guidance is nan"),
        ("--interval 5 5", "the interval is 5 to 5"),
        ("--spacing even", "'karras'"),
        ("--against 1001", "score.against is 1001; the schedule has only T = 1000"),
        ("--against -1", "against is -1"),
        ("--seed 9223372036854775808", "seed is 9223372036854775808"),
        ("--data cats", "unknown data 'cats'"),
        ("--json data/..", "it is a folder"),
        ("--model plain.safetensors --guidance 2", "nothing that --guidance could strengthen"),
        ("--model of_mnist.safetensors", "MNIST is neither in"),
        ("--data fashion", "FashionMNIST is neither in"),
    ],
)
def test_evaluate_refuses(words, message, here, capsys):
    (here / "data").mkdir()
    refuses(f"evaluate --model labels.safetensors --samples 10 --steps 1 {words}", message, capsys, here)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--recipe mnist-m33", "unknown recipe 'mnist-m33'; there are"),
        ("--recipe file.yaml", "no recipe file 'file.yaml'"),
        ("--recipe empty.yaml", "recipe empty.yaml: expected keys and values, found nothing"),
        ("--data cats", "data.name is 'cats'"),
        ("--recipe flat.yaml --data mnist", "recipe flat.yaml: data is 5; it must hold keys and values"),
        ("--images 0", "images is 0; it must lie from 1"),
        ("--out file/run", "cannot write 'file/run/run.yaml'"),
        ("--out file", "cannot write"),
        ("--resume", "holds no run to resume"),
        ("--device tpu9", "--device is 'tpu9'"),
    ],
)
def test_train_refuses(words, message, here, capsys):
    (here / "empty.yaml").write_text("# nothing\n")
    (here / "flat.yaml").write_text("data: 5\n")
    refuses(f"train --recipe quick.yaml --out run {words}", message, capsys, here)


def test_a_budget_that_is_none_and_a_data_folder_that_is_a_file(here, capsys, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setenv("DIFFUSION101_BUDGET", "huge")
        refuses("train --recipe quick.yaml --out run --images 8", "it must be smoke, cpu or gpu", capsys, here)
    monkeypatch.setenv("DIFFUSION101_DATA", "file")
    refuses("train --recipe quick.yaml --out run", "the data folder 'file' is a file", capsys, here)
    refuses("lora train --recipe quick.yaml --out run", "lora train needs one of task adapter", capsys, here)


def test_again_refuses(here, capsys):
    """What is no picture of ours, what would be ignored beside it, and weights that are others by now."""
    sample("a.png", "--model labels.safetensors --digits 3")
    Image.new("L", (8, 8)).save("foreign.png")
    capsys.readouterr()
    refuses("sample --out b.png", "sample needs --model, or --again with a picture", capsys, here)
    refuses("sample --again foreign.png --out b.png", "foreign.png does not say how it was drawn", capsys, here)
    refuses("sample --again cut.safetensors --out b.png", "is damaged or no picture", capsys, here)
    ignored = "--again draws what a.png says: --steps and --digits would be ignored"
    refuses("sample --again a.png --steps 10 --digits 3 --out b.png", ignored, capsys, here)
    refuses("sample --again a.png --seed 0 --out b.png", "--seed would be ignored", capsys, here)
    other = "a.png cannot be drawn again: fingerprint was"
    refuses("sample --again a.png --model of_mnist.safetensors --out b.png", other, capsys, here)
    files.save([torch.zeros(1, 1, 8, 8)], here / "odd.png", files.KINDS[".png"], '{"model": "x", "seed": "?"}')
    refuses("sample --again odd.png --out b.png", "odd.png: seed is '?', but", capsys, here)


@pytest.mark.parametrize(
    "words",
    [
        "--model labels.safetensors --digits 3 7 --guidance 2 --sampler ddpm --seed 5 --count 5 --grid 3",
        "--model tokens.safetensors --prompt 42 7_ 9 --guidance 2 --interval 200 700",
        "--model labels.safetensors",
        "--model plain.safetensors --count 3 --sampler ddim",
        "--model 06-attention --lora 07-outline --lora-scale 0.5 --merge --digits 8 --steps 1",
    ],
)
def test_a_picture_is_drawn_again_bit_for_bit(words, here):
    """From what it says in any of the formats, in which it stands as it was asked for."""
    first = sample("first.png", words)
    assert sample("again.png", "--again first.png", how="") == first
    for name in ("film.gif", "a.jpg", "a.webp"):
        sample(name, "--again first.png", how="")
        assert sample("again.png", f"--again {name}", how="") == first, name
    said = json.loads(Image.open("first.png").text["diffusion101"])
    model, seed = words.split()[1], 5 if "--seed 5" in words else 0
    assert (said["model"], said["seed"], said["steps"]) == (model, seed, 1 if "--steps" in words else 3)
    assert said["fingerprint"] == checkpoint.fingerprint(model)["fingerprint"]
    assert bool(said["lora_fingerprint"]) == ("--lora" in words)
    if "--prompt" in words:
        assert said["condition"] == ["42", "7_", "9"] and said["told"] == [[4, 2], [7, 10], [9, 10]]


def sample(name, words, how="--size 8 --steps 3") -> bytes:
    how = how if "06-attention" not in words else ""
    assert main(f"sample {how} --out {name} {words}".split()) == 0
    return open(name, "rb").read()


@pytest.mark.parametrize("merge", [None, True])
def test_an_adapter_is_melted_in_where_it_is_asked_for(merge, here):
    order = commands.Order(model="06-attention", lora="07-outline", merge=merge)
    layers = [module for module in commands.opened(order, "cpu").modules() if isinstance(module, lora.LoRA)]
    assert layers and all((layer.original is not None) == bool(merge) for layer in layers)


def test_an_adapter_is_evaluated_as_it_was_scored_and_drawn_as_its_base(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)  # where the traceback goes
    model, asked = commands.opened(commands.Order(model="06-attention", lora="07-outline"), "cpu"), []
    model.about["adapter"]["recipe"]["score"]["guidance"] = 1.25
    assert commands.asked(commands.Order("06-attention", ("8",)), model).guidance == 2.0
    monkeypatch.setattr(commands, "opened", lambda *_: model)
    monkeypatch.setattr(commands.tasks, "task", lambda chosen: asked.append(chosen.score) or refused())
    assert main("evaluate --model 06-attention --lora 07-outline".split()) == 1  # stopped before any work
    assert asked[0].guidance == 1.25


def test_a_weight_file_that_moved_is_told_by_model(here):
    first = sample("first.png", "--model labels.safetensors")
    (here / "labels.safetensors").rename(here / "moved.safetensors")
    again = Image.open(io.BytesIO(sample("again.png", "--again first.png --model moved.safetensors", how="")))
    assert again.tobytes() == Image.open(io.BytesIO(first)).tobytes()


def test_raw_arrays_are_what_the_grid_shows(here):
    sample("a.png", "--model labels.safetensors --digits 3 7 1 --grid 2")
    sample("a.npy", "--again a.png", how="")
    sample("b", "--model labels.safetensors --digits 3 7 1 --raw")
    x = np.load("a.npy")
    assert x.dtype == np.float32 and x.shape == (3, 1, 8, 8) and abs(x).max() <= 1 and np.array_equal(x, np.load("b"))
    shown = np.asarray(Image.open("a.png"), np.float32) / 127.5 - 1
    assert shown.shape == (32, 32)  # two columns, each pixel 2 x 2
    np.testing.assert_allclose(shown[16:32:2, 0:16:2], x[2, 0], atol=1 / 127)


@pytest.mark.parametrize("kind", ["png", "jpg", "webp", "gif"])
def test_sample_draws(kind, here):
    assert main(f"sample --model plain.safetensors --size 8 --steps 2 --count 7 --out new/grid.{kind}".split()) == 0
    with Image.open(here / "new" / f"grid.{kind}") as picture:
        assert picture.size == (112, 16) and getattr(picture, "n_frames", 1) == (3 if kind == "gif" else 1)


def drawn(name, words) -> bytes:
    assert main(f"sample --size 8 --steps 3 --out {name}.png {words}".split()) == 0
    return open(f"{name}.png", "rb").read()


def test_every_option_is_heard(here):
    """One seed, one file; and each option changes what is drawn."""
    base = drawn("a", "--model labels.safetensors --digits 3 7")
    assert drawn("b", "--model labels.safetensors --prompt 3 7") == base, "labels are prompts too"
    defaults = "--guidance 1 --sampler dpmpp_2m --spacing uniform --seed 0"
    assert drawn("c", f"--model labels.safetensors --digits 3 7 {defaults}") == base
    words = ["--guidance 2", "--guidance 0", "--sampler ddim", "--sampler ddpm", "--seed 1", "--digits 3 8"]
    words += ["--steps 4", "--spacing log_snr", "--spacing karras", "--sampler dpmpp_2m_sde"]
    words += ["--guidance 2 --interval 0 500"]
    others = [drawn("d", f"--model labels.safetensors --digits 3 7 {word}") for word in words]
    assert len({base, *others}) == 1 + len(words)
    again = "--model labels.safetensors --sampler ddpm --steps 2 --seed 4"
    assert drawn("e", again) == drawn("f", again)


def test_guidance_is_as_the_model_was_scored_unless_said(here):
    write(here / "guided.safetensors", LABELS, guidance=3.0)
    for words, guidance in (("", 3.0), ("--guidance 2", 2.0)):
        drawn("a", f"--model guided.safetensors --digits 3 {words}")
        assert json.loads(Image.open("a.png").text["diffusion101"])["guidance"] == guidance


def test_words_without_quotes_are_said_to_be_sentences_of_their_own(here, capsys):
    write(here / "words.safetensors", replace(TOKENS, condition=Words(("a", "red"), ("a red",), width=8, length=4)))
    size = "sample --model words.safetensors --size 8 --steps 1 --out a.png --prompt"
    for said in (["a", "red"], ["a red"], ["a red", "red"], ["red"]):
        assert main([*size.split(), *said]) == 0
        told = "a sentence of its own: a, red. One sentence stands in quotes." in capsys.readouterr().err
        assert told == (said == ["a", "red"])


def test_labels_are_asked_for_by_name_where_their_data_set_names_them(here, capsys):
    write(here / "photographs.safetensors", LABELS, data="cifar10-jpeg")
    drawn("a", "--model photographs.safetensors --label horse 8")
    drawn("b", "--model photographs.safetensors --prompt 7 ship")
    first, second = Image.open("a.png"), Image.open("b.png")
    assert first.tobytes() == second.tobytes() and json.loads(first.text["diffusion101"])["condition"] == ["horse", "8"]
    assert main("sample --again a.png --out c.png".split()) == 0 and Image.open("c.png").tobytes() == first.tobytes()
    capsys.readouterr()
    said = (
        "'hors' is no label of this model; its labels go from 0 to 9, or by name: airplane, automobile, bird, cat, deer"
    )
    refuses("sample --model photographs.safetensors --size 8 --out d.png --label hors", said, capsys, here)


def test_what_is_asked_for_is_drawn_in_that_order(here, monkeypatch):
    requests = []
    real = commands.draw
    monkeypatch.setattr(commands, "draw", lambda model, request: requests.append(request) or real(model, request))
    drawn("a", "--model labels.safetensors --digits 3 7 --count 5")
    drawn("b", "--model tokens.safetensors --prompt 42 7_ 9")
    drawn("c", "--model tokens.safetensors --digits 4")
    drawn("d", "--model labels.safetensors")
    drawn("e", "--model plain.safetensors")
    conds = [None if request.cond is None else request.cond.tolist() for request in requests]
    assert conds == [[3, 7, 3, 7, 3], [[4, 2], [7, 10], [9, 10]], [[4, 10]], list(range(10)) * 4, None]
    assert [request.shape for request in requests] == [(5, 8, 8), (3, 8, 16), (1, 8, 8), (40, 8, 8), (40, 8, 8)]
    assert Image.open("b.png").size == (2 * 3 * 16, 2 * 8)  # three numbers, each pixel 2 x 2


def test_evaluate_writes_json_and_says_what_it_used(here, capsys):
    options = "--samples 12 --steps 2 --spacing karras --seed 5 --guidance 1.5 --interval 100 1000"
    words = f"evaluate --model labels.safetensors {options}".split()
    assert main([*words, "--json", "new/scores.json"]) == 0
    said = "mnist could not be had when labels.safetensors was trained: it is scored on synthetic data"
    assert said in capsys.readouterr().err
    scores = json.loads((here / "new" / "scores.json").read_text())
    asked = {"model": "labels.safetensors", "samples": 12, "seed": 5, "steps": 2, "guidance": 1.5, "spacing": "karras"}
    assert (asked | {"sampler": "dpmpp_2m", "data": "synthetic", "interval": [100, 1000]}).items() <= scores.items()
    assert main(words) == 0 and json.loads(capsys.readouterr().out)["frechet"] == pytest.approx(scores["frechet"])
    assert main("evaluate --model of_mnist.safetensors --samples 10 --steps 1 --data synthetic".split()) == 0
    assert {"guidance": 2.5, "spacing": "uniform"}.items() <= json.loads(capsys.readouterr().out).items()


def test_evaluate_compares_with_many_steps_of_ddpm(here, capsys):
    words = "evaluate --model labels.safetensors --samples 12 --data synthetic --against 3".split()
    assert main([*words, "--sampler", "ddpm", "--steps", "3"]) == 0  # with itself
    out, said = capsys.readouterr()
    found = json.loads(out)
    assert found["against"] == {
        "sampler": "ddpm", "steps": 3, "frechet": found["frechet"], "ratio": 1, "interval": [1, 1]
    }  # fmt: skip
    assert "Fréchet distance: 1.00 times that of ddpm in 3 steps (95 %: 1.00 to 1.00)" in said
    assert main([*words, "--sampler", "ddim", "--steps", "1"]) == 0
    other = json.loads(capsys.readouterr().out)
    assert other["against"]["frechet"] == found["frechet"] != other["frechet"]
    assert other["against"]["ratio"] == pytest.approx(other["frechet"] / found["frechet"])


def test_train_says_what_stands_in_for_mnist_then_draws(here, capsys):
    assert main("train --recipe quick.yaml --out run --images 8".split()) == 0
    printed = capsys.readouterr()
    assert "mnist could not be had: this run trains on synthetic data instead." in printed.err
    assert "2 steps of 4 pictures on cpu, about " in printed.err and "with scoring" in printed.err
    assert printed.out.startswith('run/model.safetensors: {"') and '"data": "synthetic"' in printed.out
    refuses("train --recipe quick.yaml --out run --images 8", "run already holds a run; add --resume", capsys, here)
    assert drawn("a", "--model run/model.safetensors --digits 1")


def test_an_unforeseen_error_keeps_its_traceback(here, capsys, monkeypatch):
    def broken(*args, **kwargs):
        raise ZeroDivisionError("of ours")

    monkeypatch.setattr(commands, "draw", broken)
    assert main("sample --model plain.safetensors --size 8 --out grid.png".split()) == 1
    error = capsys.readouterr().err
    assert f"unforeseen ZeroDivisionError; {ERRORS} tells more" in error and error.count("\n") == 1
    assert "in broken" in (here / ERRORS).read_text()
    (here / "run").mkdir()
    monkeypatch.setattr(commands.fit, "fit", broken)
    assert main("train --recipe quick.yaml --out run".split()) == 1
    assert "in broken" in (here / "run" / ERRORS).read_text()


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (OSError(28, "No space left on device"), "No space left on device"),
        (PermissionError(13, "Permission denied", "x.pt"), "x.pt: Permission denied"),
        (MemoryError(), "there is not enough memory for this"),
        (
            RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to"),
            "there is not enough memory for this",
        ),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate"), "there is not enough memory for this"),
    ],
)
def test_a_machines_limits_are_no_tracebacks(error, message, here, capsys, monkeypatch):
    def limited(*args, **kwargs):
        raise error

    monkeypatch.setattr(commands.fit, "fit", limited)
    refuses("train --recipe quick.yaml --out run", message, capsys, here)


@pytest.mark.parametrize("begun", [False, True])
def test_an_interrupted_run_is_said_to_go_on_only_if_it_can(begun, here, capsys, monkeypatch):
    def interrupted(*args, **kwargs):
        (here / "run").mkdir()
        if begun:
            (here / "run" / "state.pt").touch()
        raise KeyboardInterrupt

    monkeypatch.setattr(commands.fit, "fit", interrupted)
    assert main("train --recipe quick.yaml --out run".split()) == 130
    assert ("--resume" in capsys.readouterr().out) == begun


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_train_interrupted_then_resumed_as_it_says(here, how):
    """The one test through a process and its signals."""
    env = os.environ | {"OMP_NUM_THREADS": "1"}
    (here / "quick.yaml").write_text((here / "quick.yaml").read_text().replace("size: 8", "name: synthetic, size: 8"))
    words = "-m diffusion101 train --recipe quick.yaml --out run --images 2400".split()
    pipes = dict(stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    process = subprocess.Popen([sys.executable, *words], **pipes, env=env)
    metrics = here / "run" / "metrics.jsonl"
    while not (metrics.exists() and metrics.stat().st_size > 2000):
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    process.send_signal(how)
    printed, _ = process.communicate(timeout=120)
    assert process.returncode == 130 and f"python {' '.join(words)} --resume" in printed
    assert not (here / "run" / "model.safetensors").exists() and (here / "run" / "state.pt").exists()
    assert main([*words[2:], "--resume"]) == 0
    rows = [json.loads(row)["step"] for row in metrics.read_text().splitlines()]
    assert rows == list(range(1, 601))


def test_the_page_says_what_it_needs(here, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "gradio", None)
    monkeypatch.delitem(sys.modules, "diffusion101.app", raising=False)
    monkeypatch.delattr("diffusion101.app", raising=False)
    refuses("app", "the page needs gradio: in a clone, pip install -e '.[app]'", capsys, here)


def test_help_names_the_commands_and_version(capsys):
    for words in (["--help"], ["sample", "--help"], ["--version"]):
        with pytest.raises(SystemExit) as ended:
            main(words)
        assert ended.value.code == 0
    printed = capsys.readouterr().out
    assert all(name in printed for name in ("train", "sample", "evaluate", "lora", "app", "--guidance"))
