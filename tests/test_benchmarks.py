"""The benchmark's arithmetic: what is compared is equal, lengths are kept, tables say what was measured."""

import json
from dataclasses import replace

import pytest
import torch
from torch import nn

from benchmarks import lacks, peers, quality, speed, table
from benchmarks.machine import Others, facts, installed
from diffusion101 import Denoiser, Request, pictures, reference, schedules
from diffusion101.data import Images, synthetic
from diffusion101.scoring.score import cost
from diffusion101.training import recipe

TINY = {"model__milestone": None, "train__batch": 8}
TINY["model__network"] = {"levels": [{"width": 16}], "time": 16, "condition": {"classes": 10}}


def needs(library: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(not installed(library), reason=f"needs {library}: pip install .[bench]")


LIBRARIES = [pytest.param(name, marks=needs(n.needs)) for name, n in peers.NETWORKS.items() if n.needs]


@pytest.fixture
def digits() -> Images:
    return Images("synthetic", *synthetic.dataset(64, seed=3), "")


def quiet(steps, **_):
    return steps


@pytest.mark.parametrize("name", LIBRARIES)
def test_a_peer_is_called_as_ours_and_hears_the_label(name):
    torch.manual_seed(0)
    network = peers.NETWORKS[name].build().eval()
    x, t = torch.randn(2, 1, 28, 28), torch.tensor([1, 1000])
    with torch.no_grad():
        three, seven, nothing = (network(x, t, torch.full((2,), label)) for label in (3, 7, 10))
        assert torch.equal(network(x, t), nothing)
    assert three.shape == x.shape
    assert not torch.allclose(three, seven) and not torch.allclose(three, nothing)
    model = Denoiser(network, schedules.cosine(), "v")
    drawn = pictures(model, Request(model.condition.spread(2), guidance=2.0, steps=2))
    assert drawn.shape == (2, 1, 28, 28) and drawn.isfinite().all()
    model.loss(x, torch.tensor([3, 10])).backward()
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)


@pytest.mark.parametrize("name", [p for p in LIBRARIES if p.values[0].endswith("lean")])
def test_a_lean_peer_is_as_dear_as_ours(name):
    ours, peer = (cost(Denoiser(peers.NETWORKS[n].build(), schedules.cosine())) for n in ("ours", name))
    assert 0.85 <= peer / ours <= 1.15


def test_a_peer_counts_time_from_zero():
    class Inner(nn.Module):
        def forward(self, x, t, cond):
            self.seen = t, cond
            return type("Answer", (), {"sample": x})

    network = peers.Diffusers(Inner())
    network(torch.zeros(2, 1, 28, 28), torch.tensor([1, 1000]))
    assert network.inner.seen[0].tolist() == [0, 999] and network.inner.seen[1].tolist() == [10, 10]


def test_speed_measures_every_round(monkeypatch):
    monkeypatch.setattr(speed, "BATCH", 4)
    monkeypatch.setattr(speed, "STEPS", 2)
    (row,) = speed.measure(["ours"], rounds=2, at_least=0)
    assert row["optimizer"] == recipe.load("mnist-guidance").train.optimizer
    assert len(row["train_ms"]) == len(row["sample_ms"]) == 2 and min(row["train_ms"] + row["sample_ms"]) > 0


def test_a_training_step_trains(monkeypatch):
    monkeypatch.setattr(speed, "BATCH", 4)
    model = Denoiser(peers.NETWORKS["ours"].build(), schedules.cosine(), "v")
    before = model.network.conv_out.weight.clone()
    speed.trainer(model, recipe.load("mnist-guidance").train)()
    assert not torch.equal(before, model.network.conv_out.weight)


@pytest.mark.parametrize(("rate", "seconds", "batch"), [(160.0, 60, 64), (333.3, 40, 32), (0.1, 1, 64)])
def test_a_plan_fills_the_time_in_whole_batches(rate, seconds, batch):
    total = quality.plan(rate, seconds, batch)
    assert total % batch == 0
    assert total == batch or 0 <= rate * seconds * 0.97 - total < batch


def test_a_falling_rate_needs_a_run_per_length():
    ours, usual = (quality.recipe_of(who, 0) for who in ("ours", "usual"))
    assert quality.runs(ours, [60, 40]) == [[40], [60]]
    assert quality.runs(usual, [60, 40]) == [[40, 60]]


def test_the_contenders_differ_in_what_is_named():
    ours, net, usual = (quality.recipe_of(who, 5) for who in ("ours", "diffusers-net", "usual"))
    assert ours.model.start is None and ours.train.seed == 5
    assert not net.trains_as(ours)
    changed = {line.split()[0] for line in usual.trains_as(ours)}
    named = {"process.predict", "train.optimizer", "train.lr", "train.decay"}
    assert named <= changed and all(key in named or key.startswith("process.schedule.") for key in changed)


@needs("diffusers")
def test_a_contender_has_its_own_network_in_our_denoiser():
    model = quality.build("diffusers-net", quality.recipe_of("diffusers-net", 0))
    assert isinstance(model.network, peers.Diffusers) and model.predict == "v"


def test_one_run_is_looked_at_after_each_length(digits):
    chosen = quality.recipe_of("usual", 0, **TINY)
    short, long = quality.train_for("usual", chosen, [1, 2], speed=26.0, load=lambda: digits, bar=quiet)
    assert (short.planned, long.planned) == (1, 2) and (short.pictures, long.pictures) == (24, 48)
    assert 0 < short.seconds < long.seconds
    assert not torch.equal(short.model.network.conv_out.weight, long.model.network.conv_out.weight)
    alone = replace(chosen, total=48)
    (same,) = quality.train_for("usual", alone, [2], speed=26.0, load=lambda: digits, bar=quiet)
    assert torch.equal(same.model.network.conv_out.weight, long.model.network.conv_out.weight)


def test_rows_are_appended_and_whole(digits, tmp_path):
    real, path = reference(digits, 10), tmp_path / "quality.json"
    for row in quality.rows("ours", [0.1], 0, TINY, real, load=lambda: digits, bar=quiet):
        quality.append(path, row)
        quality.append(path, row | {"seed": 1})
        assert row["samples"] == 10 and row["pictures"] % 8 == 0 and row["seconds"] > 0 and row["machine"]["threads"]
        assert "seed 0" in quality.sentence(row)
        for w in ("1", "1.5", "2"):
            scored = row["scores"][w]
            assert scored["floors"] == pytest.approx(scored["frechet"] / row["floor"]["frechet"])
    kept = json.loads(path.read_text())
    assert [row["seed"] for row in kept] == [0, 1] and kept[0] == json.loads(json.dumps(row))


def test_other_programs_are_counted_in_cores():
    others = Others()
    sum(range(1_000_000))
    assert others.cores() is None or others.cores() >= 0


def row(who, planned, seed, accuracy, floors, **more) -> dict:
    fewer = {"1": {"accuracy": 0.5, "floors": 9.0}, "1.5": {"accuracy": 0.6, "floors": 8.5}}
    scored = fewer | {"2": {"accuracy": accuracy, "floors": floors}}
    row = {"who": who, "planned": planned, "seconds": planned - 1.0, "seed": seed, "pictures": 6400, "changes": {}}
    row |= {"samples": 2000, "steps": 10, "sampler": "dpmpp_2m", "floor": {"frechet": 1.5}, "others": 0.1}
    return row | {"scores": scored, "machine": facts()} | more


ROWS = [
    *(row("ours", 40, seed, accuracy, 3.0) for seed, accuracy in enumerate([0.98, 0.989, 0.995])),
    *(row("ours", 60, seed, accuracy, 2.0) for seed, accuracy in enumerate([0.98, 0.991, 0.995])),
    row("ours", 40, 0, 1.0, 0.1, changes={"train__ema": 0.5}),  # an experiment, not the contender
    row("usual", 600, 0, 0.7, 8.0),
    row("usual", 600, 0, 0.8, 7.0),  # the same again: counts
    *(row("diffusers-net", seconds, 0, accuracy, 5.0) for seconds, accuracy in ((60, 0.5), (178, 0.99), (360, 0.999))),
]


def test_the_table_of_quality_has_medians_and_spread():
    lines = table.quality_table(ROWS).splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:8]]
    assert [line[0] for line in cells] == ["ours"] * 2 + ["diffusers' network, our recipe"] * 3 + [
        "our network, the usual recipe"
    ]
    assert cells[0][1:] == [
        "39 (39 to 39)",
        "6,400",
        "0.5000 (0.5000 to 0.5000)",
        "0.6000 (0.6000 to 0.6000)",
        "0.9890 (0.9800 to 0.9950)",
        "9.00 (9.00 to 9.00)",
        "8.50 (8.50 to 8.50)",
        "3.00 (3.00 to 3.00)",
        "0, 1, 2",
    ]
    assert cells[5][5] == "0.8000"


def test_the_table_of_quality_says_who_was_sooner():
    text = table.quality_table(ROWS)
    assert "Accuracy 0.99 at w = 2, at the shortest length tried: ours after 59 s" in text
    assert "diffusers' network, our recipe after 177 s (3.0 times ours)" in text
    assert "our network, the usual recipe not within 599 s (more than 10.2 times ours)" in text
    assert "diffusers' network, our recipe not within 359 s (more than 6.1 times ours)" in text  # of the floors
    early = [each for each in ROWS if each["who"] != "usual"] + [row("usual", 30, 0, 0.1, 9.0)]
    assert "the usual recipe not within 29 s." in table.quality_table(early)  # too short to say how many times


def test_the_table_of_speed_compares_with_ours():
    both = {"mmacs": 40.0, "parameters": 700_000, "optimizer": "muon"}
    rows = [
        both | {"network": "ours", "train_ms": [100, 90, 200], "sample_ms": [5]},
        both | {"network": "diffusers", "train_ms": [400, 250, 300], "sample_ms": [20]},
    ]
    text = table.speed_table({"batch": 64, "digits": 10, "rows": rows, "machine": facts(), "others": None})
    assert "| ours (M5) | 0.70M | 40.0 | 100 (90 to 200) | 640 | 1.00 | 5.0 | 1.00 |" in text
    assert "| diffusers UNet2DModel | 0.70M | 40.0 | 300 (250 to 400) | 213 | 3.00 | 20.0 | 4.00 |" in text


def test_the_table_goes_between_the_markers():
    text = "a\n<!-- bench -->\n<!-- /bench -->\nb\n"
    once = table.insert(text, "| \\1 |")
    assert once == "a\n<!-- bench -->\n| \\1 |\n<!-- /bench -->\nb\n"
    assert table.insert(once, "new") == table.insert(text, "new")
    with pytest.raises(ValueError, match="bench"):
        table.insert("no place", "x")


def test_no_results_no_table(tmp_path):
    assert table.tables(tmp_path) == ""


def test_the_readme_shows_the_results():
    made = table.tables()
    if not made:
        pytest.skip("the benchmark has no results yet")
    text = table.README.read_text(encoding="utf-8")
    assert table.insert(text, made) == text


def test_what_a_network_lacks_is_measured_by_its_own_recipe(monkeypatch):
    few = Images("synthetic-colour", torch.zeros(20, 3, 32, 32, dtype=torch.uint8), torch.arange(20) % 10, "")
    asked = []
    monkeypatch.setattr(lacks.data, "load", lambda name, split, stand_in: asked.append((name, stand_in)) or few)
    monkeypatch.setattr(lacks, "pictures_per_second", lambda *_: 64.0)
    monkeypatch.setitem(lacks.VARIANTS["cifar10"], "tiny", (lacks.levels(8, 8, 8, 8), 2))
    row = lacks.measure("cifar10", "tiny", seconds=1.0, samples=0)
    about = {"recipe": "cifar10", "what": "tiny", "pictures": 64, "seed": 0, "data": "synthetic-colour"}
    assert about.items() <= row.items() and asked == [("cifar10", True)] * 2
    torch.manual_seed(0)
    two = {"width": 8, "attention": True}
    change = {"levels": [{"width": 8}, {"width": 8}, two, two | {"blocks": 2}]}
    born = lacks.task(recipe.load("cifar10", total=64, model__change=change)).build().eval()
    assert 0 < row["loss"] < lacks.test_loss(born, few) == lacks.test_loss(born, few)
