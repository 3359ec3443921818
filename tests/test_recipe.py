from dataclasses import asdict, replace

import pytest
import yaml

from diffusion101.milestones import MILESTONES
from diffusion101.networks import Labels
from diffusion101.reading import read
from diffusion101.training import recipe, tasks


@pytest.mark.parametrize("name", recipe.names())
def test_every_recipe_loads_in_every_budget(name, monkeypatch):
    for budget in ("smoke", "cpu", "gpu"):
        monkeypatch.setenv("DIFFUSION101_BUDGET", budget)
        r = recipe.load(name)
        assert r.name == name and r.total == getattr(r.train.images, budget) and r.steps >= 1
    if r.task == "denoiser":
        assert tasks.task(replace(r, model=replace(r.model, start=None))).build().network.config == r.model.config()


def test_the_course_is_the_recipes():
    grown = {"mnist-m1": "M1", "mnist-m2": "M2", "mnist-m3": "M3", "mnist-cosine": "M4", "mnist-guidance": "M5"}
    for name, milestone in grown.items():
        assert recipe.load(name).model.config() == MILESTONES[milestone]
    assert recipe.load("mnist-numbers").model.config() == MILESTONES["M6"]
    assert recipe.load("mnist-numbers").data.hidden == 30
    assert recipe.load("mnist-text").model.config() == MILESTONES["M8"]


def test_lesson_is_a_short_run_on_cpu_only(monkeypatch):
    images = recipe.load("mnist-m1").train.images
    for budget, total in (("smoke", images.smoke), ("cpu", images.lesson), ("gpu", images.gpu)):
        monkeypatch.setenv("DIFFUSION101_BUDGET", budget)
        assert recipe.load("mnist-m1", lesson=True).total == total
    assert recipe.load("mnist-m1", lesson=True, total=777).total == 777


def test_fields_are_replaced_by_their_path():
    r = recipe.load("mnist-m3", train__lr=0.01, data__hidden=50, train__images__smoke=64)
    assert (r.train.lr, r.data.hidden, r.train.images.smoke) == (0.01, 50, 64)
    plain = recipe.load("mnist-m3")
    assert (r.model, r.process, r.train.batch) == (plain.model, plain.process, plain.train.batch)


def test_a_milestone_is_changed_at_any_depth():
    levels = [{"width": 16}, {"width": 32, "blocks": 2, "cross": True}]
    config = recipe.load("mnist-text", model__change={"levels": levels, "condition": {"width": 64}}).model.config()
    assert [level.width for level in config.levels] == [16, 32] and config.levels[1].blocks == 2
    m8 = MILESTONES["M8"]
    assert replace(config, levels=m8.levels, condition=replace(config.condition, width=m8.condition.width)) == m8
    assert config.condition.width == 64


@pytest.mark.parametrize(
    "text, message",
    [
        ("model: {milestone: M3, change: {levels: [{width: -1}]}}", "a level needs a width from 1"),
        ("model: {milestone: M3, change: {depth: 3}}", "change: depth: "),
        ("model: {network: {levels: [{width: 16}]}, change: {time: 8}}", "there is none"),
        ("model: {milestone: M8}\ndata: {scenes: 1}", "task text and data.scenes go together"),
        ("task: text\nmodel: {milestone: M8}", "task text and data.scenes go together"),
        ("task: text\nmodel: {milestone: M8}\ndata: {scenes: 3}", "data.scenes is 3, but should be"),
        ("task: text\nmodel: {milestone: M8}\ndata: {scenes: 1, hidden: 30}", "they go with neither hidden nor"),
        ("model: {milestone: M3}\nepochs: 5", "epochs: Unexpected keyword argument"),
        ("model: {milestone: M3}\ntrain: {lr: fast}", "train.lr is 'fast', but should be a valid number"),
        ("model: {milestone: M3}\ntrain: {lr: 1e-3}", "train.lr is '1e-3', but should be"),  # YAML wants 1.0e-3
        ("model: {milestone: M3}\ntrain: {batch: 12.5}", "train.batch is 12.5, but should be a valid integer"),
        ("model: {milestone: M3}\ntrain: {batch: true}", "train.batch is True, but should be a valid integer"),
        ("model: {milestone: M3}\ntrain: {batch: 0}", "train.batch is 0, but should be greater than or equal to 1"),
        ("model: {milestone: M3}\ntrain: {clip: -1.0}", "train.clip is -1.0, but should be greater than 0"),
        ("model: {milestone: M3}\ntrain: {drop: 1.5}", "train.drop is 1.5, but should be less than or equal to 1"),
        ("model: {milestone: M3}\ntrain: {optimizer: sgd}", "train.optimizer is 'sgd', but should be"),
        ("model: {milestone: M99}", "model.milestone is 'M99', but should be"),
        ("model: {network: {levels: [{width: 16}], depth: 3}}", "model.network.depth: "),
        ("model: {network: {levels: [{width: many}]}}", "model.network.levels.0.width is 'many'"),
        ("model: {network: {levels: [{width: 16}], condition: {classes: 10}}}", "give time a width too"),
        ("model: {milestone: M3, network: {levels: [{width: 16}]}}", "a milestone .* or a network, and not both"),
        ("data: {name: mnist}", "model needs a milestone"),
        ("task: adapter", "model.start must name the model that the adapter is for"),
        ("model: {milestone: M3}\ndata: {hidden: 15}", "data.hidden is 15, but should be"),
        ("model: {milestone: M3}\ndata: {name: cats}", "data.name is 'cats', but should be"),
        ("model: {milestone: M3}\nprocess: {schedule: {kind: square}}", "unknown schedule 'square'"),
        ("model: {milestone: M3}\nprocess: {schedule: {kind: cosine, T: 5}}", "score.steps is 10; .* only T = 5"),
        ("model: {milestone: M3}\nprocess: {loss: l3}", "process.loss is 'l3', but should be 'mse', 'l1' or 'huber'"),
        ("- a list", "expected keys and values, found"),
        ("", "expected keys and values, found nothing"),
        ("a: [", "not valid YAML"),
    ],
)
def test_mistakes_are_named(tmp_path, text, message):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=message) as told:
        recipe.load(path)
    assert "\n" not in str(told.value) and "mine" in str(told.value)


def test_all_mistakes_are_told_at_once(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("train: {lr: fast, batch: 0}\nscore: {samples: -1}\nmodel: {milestone: M3}")
    with pytest.raises(ValueError) as told:
        recipe.load(path)
    assert all(key in str(told.value) for key in ("train.lr", "train.batch", "score.samples"))


def test_unknown_names(tmp_path):
    with pytest.raises(ValueError, match="unknown recipe 'mnist-m33'; there are .*mnist-m3"):
        recipe.load("mnist-m33")
    with pytest.raises(ValueError, match="no recipe file"):
        recipe.load(tmp_path / "none.yaml")


def test_bad_budget_and_bad_total(monkeypatch):
    with pytest.raises(ValueError, match="images is 0"):
        recipe.load("mnist-m1", total=0)
    monkeypatch.setenv("DIFFUSION101_BUDGET", "huge")
    for total in (None, 100):  # also where it would not matter
        with pytest.raises(ValueError, match="'huge'; it must be smoke, cpu or gpu"):
            recipe.load("mnist-m1", total=total)


def test_a_recipe_survives_its_file(tiny):
    """run.yaml and the weight files keep it as plain values."""
    r = replace(tiny, model=replace(tiny.model, network=replace(tiny.model.network, condition=Labels(7))))
    assert read(recipe.Recipe, yaml.safe_load(yaml.safe_dump(recipe_values(r))), "test") == r


def recipe_values(r):
    values = asdict(r)
    values["model"]["network"]["levels"] = list(values["model"]["network"]["levels"])
    return values


def test_what_a_resumed_run_may_not_change(tiny):
    """Names, scores and the other budgets may differ; all that changes the training may not."""
    images = replace(tiny.train.images, gpu=5)
    same = replace(tiny, name="b", score=replace(tiny.score, samples=50), train=replace(tiny.train, images=images))
    assert same.trains_as(tiny) == []
    other = replace(tiny, total=96, train=replace(tiny.train, lr=0.1), data=replace(tiny.data, hidden=10))
    assert other.trains_as(tiny) == [
        "data.hidden was None, now it is 10",
        f"train.lr was {tiny.train.lr}, now it is 0.1",
        "total was 48, now it is 96",
    ]
