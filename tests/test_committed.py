"""The weights that come with the course: they do what the lessons say of them, and their metadata is true of them."""

from dataclasses import replace
from random import Random

import pytest
import torch

import diffusion101
from diffusion101 import Request, checkpoint, pictures
from diffusion101.data import captions
from diffusion101.data.numbers import seen, unseen
from diffusion101.reading import read
from diffusion101.scoring import judge, scenes
from diffusion101.scoring.score import cost
from diffusion101.training import tasks
from diffusion101.training.recipe import Recipe

DENOISERS = ["01-basic", "02-time", "03-scales", "04-cosine", "05-guidance", "06-attention"]
TEXT = ["08-text", "08-two"]
PHOTOGRAPHS = ["10-cifar10"]
ADAPTERS = ["07-outline", "07-outline-everywhere", "07-slant"]
JUDGES = {"classifier": 0.99, "cifar10-classifier": 0.9}  # how many test pictures each must judge right
MEASURED = {"samples", "seed", "sampler", "steps", "guidance", "frechet", "recognised", "precision", "recall", "floor"}


def about(name: str) -> dict:
    return checkpoint.read(name, "lora" if name in ADAPTERS else "denoiser")[0]


def test_all_are_there():
    assert checkpoint.names() == sorted([*DENOISERS, *TEXT, *PHOTOGRAPHS, *ADAPTERS, *JUDGES])


@pytest.mark.parametrize("name", [*DENOISERS, *TEXT, *PHOTOGRAPHS, *ADAPTERS])
def test_how_it_was_made_and_measured_is_known(name):
    a = about(name)
    recipe = read(Recipe, a["recipe"], name)
    wanted = ("cifar10", ("cifar10", "cifar10-jpeg")) if name in PHOTOGRAPHS else ("mnist", ("mnist",))
    assert recipe.data.name == wanted[0] and a["data"] in wanted[1]
    assert a["hardware"] and a["version"] and a["seconds"] > 0
    assert a["images"] == recipe.steps * recipe.train.batch > (4_000 if name in ADAPTERS else 20_000)
    measured = {"scenes"} if name in TEXT else MEASURED
    assert measured <= set(a["scores"]) and recipe.score.samples >= (200 if name in ADAPTERS else 1000)
    for key in ("samples", "sampler", "steps", "seed"):
        assert a["scores"][key] == getattr(recipe.score, key)


@pytest.mark.parametrize("name", [*DENOISERS, *TEXT, *PHOTOGRAPHS])
def test_a_model_is_what_its_metadata_says(name):
    """Counted and built anew: parameters, cost, and the network of its recipe."""
    model = diffusion101.load(name)
    recipe = read(Recipe, model.about["recipe"], name)
    built = tasks.task(replace(recipe, model=replace(recipe.model, start=None))).build()
    assert built.network.config == model.network.config and built.schedule.spec == model.schedule.spec
    assert built.predict == model.predict and not model.training
    assert model.about["parameters"] == sum(p.numel() for p in model.parameters())
    assert model.about["mmacs"] == pytest.approx(cost(model, recipe.data.size))


@pytest.mark.parametrize("name", DENOISERS[1:])
def test_each_lesson_grew_out_of_the_one_it_started_from(name):
    """Whatever is not new started there: its tensors have the same names and shapes."""
    recipe = read(Recipe, about(name)["recipe"], name)
    if recipe.model.start is None:
        pytest.skip("it started from nothing")
    before, after = (checkpoint.read(n, "denoiser")[1] for n in (recipe.model.start, name))
    assert {key: value.shape for key, value in before.items()}.items() <= {k: v.shape for k, v in after.items()}.items()


@pytest.mark.parametrize("name", ADAPTERS)
def test_an_adapter_is_for_the_model_it_names(name):
    a, state = checkpoint.read(name, "lora")
    assert a["base"] == checkpoint.fingerprint(a["recipe"]["model"]["start"])
    assert a["parameters"] == sum(value.numel() for key, value in state.items() if not key.endswith("alpha"))
    assert checkpoint.find(name).stat().st_size < 150_000
    model, x, t = diffusion101.load("06-attention"), torch.zeros(1, 1, 28, 28), torch.tensor([500])
    with torch.no_grad():
        before = model.network(x, t)
        assert not torch.allclose(checkpoint.load_lora(model, name).network(x, t), before, atol=1e-3)


@pytest.mark.slow
def test_the_floor_is_what_real_pictures_score(mnist):
    """Measured anew; every file names the same one."""
    for name in DENOISERS:
        floor = about(name)["scores"]["floor"]
        assert {key: floor[key] for key in mnist.floor} == pytest.approx(mnist.floor, rel=0.02, abs=2e-3), name


# Drawn anew, 100 pictures each, 10 steps of DPM-Solver++, seed 1.


def look(drawn: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """What the judge reads in each picture, and whether it is more than 90 % sure."""
    probabilities, _ = judge.judge(judge.load_classifier(), drawn)
    sure, guess = probabilities.max(1)
    return guess, sure > 0.9


def test_05_draws_what_it_is_asked_for_and_anything_when_not_told():
    model, digits = diffusion101.load("05-guidance"), torch.arange(100) % 10
    guess, sure = look(pictures(model, Request(digits, guidance=2.0, seed=1)))
    assert (guess == digits).float().mean() >= 0.95 and sure.float().mean() >= 0.9
    guess, sure = look(pictures(model, Request(digits, guidance=0.0, seed=1)))
    assert (guess == digits).float().mean() < 0.25, "w = 0 ignores the label"
    assert sure.float().mean() > 0.3 and len(guess.unique()) >= 8, "but it draws digits, and all kinds"


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["seen", "unseen"])
def test_06_puts_two_digits_on_one_canvas(kind):
    """Also numbers that it was never shown; each half is the digit of its token."""
    model = diffusion101.load("06-attention")
    hidden = model.about["recipe"]["data"]["hidden"]
    numbers = torch.tensor((seen if kind == "seen" else unseen)(hidden))
    numbers = numbers[torch.arange(100) % len(numbers)]
    left, right = pictures(model, Request(numbers, guidance=2.0, seed=1, size=(28, 56))).chunk(2, dim=3)
    right_ones = (look(left)[0] == numbers[:, 0]) & (look(right)[0] == numbers[:, 1])
    assert right_ones.float().mean() >= 0.9


def test_06_draws_single_digits_too():
    model, digits = diffusion101.load("06-attention"), torch.arange(100) % 10
    guess, _ = look(pictures(model, Request(digits, guidance=2.0, seed=1)))
    assert (guess == digits).float().mean() >= 0.9


@pytest.mark.parametrize("held", [False, True])
def test_08_draws_what_a_sentence_says(held):
    """Also combinations that it was never shown. 40 sentences; they say digit, colour and place."""
    model, random = diffusion101.load("08-text"), Random(1)
    asked = [captions.forget(captions.draw(random, held=held), random, ("size", "hand")) for _ in range(40)]
    cond = model.condition.parse([captions.caption(scene, random) for scene in asked])
    drawn = pictures(model, Request(cond, guidance=3.0, seed=1, size=(32, 32)))
    share = scenes.shares(scenes.right(judge.load_classifier(), drawn, asked))
    assert share["colour"] >= 0.95 and share["place"] >= 0.9 and share["all"] >= (0.75 if held else 0.85), share


@pytest.mark.parametrize("key", ["colour", "digit", "place"])
def test_08_two_knows_whose_is_whose(key):
    """Two digits, and the same with one thing exchanged: to a bag of words both sentences are one. 30 pairs."""
    model, random, asked = diffusion101.load("08-two"), Random(2), []
    while len(asked) < 60:
        one, two = captions.draw(random, 2)
        swapped = replace(one, **{key: getattr(two, key)}), replace(two, **{key: getattr(one, key)})
        if getattr(one, key) != getattr(two, key) and not any(map(captions.held_out, swapped)):
            asked += [captions.forget(scene, random, ("size", "hand")) for scene in ((one, two), swapped)]
    cond = model.condition.parse([captions.caption(scene, random) for scene in asked])
    drawn = pictures(model, Request(cond, guidance=3.0, seed=1, size=(32, 32)))
    share = scenes.shares(scenes.right(judge.load_classifier(), drawn, asked))
    assert share["colour"] >= 0.95 and share["place"] >= 0.9 and share["all"] >= 0.9, share


@pytest.mark.slow
def test_10_draws_the_kind_that_it_is_asked_for():
    """One that does not listen would be right in a tenth; 40 pictures, w = 2; the judge errs in a tenth."""
    model, asked = diffusion101.load("10-cifar10"), torch.arange(40) % 10
    drawn = pictures(model, Request(asked, guidance=2.0, seed=1, size=(32, 32)))
    probabilities, _ = judge.judge(judge.load_judge("cifar10"), drawn)
    assert (probabilities.argmax(1) == asked).float().mean() >= 0.5


# The bars, by the scores in the files: n = 2,000 (scenes: 1,000), seed 0.


@pytest.mark.parametrize("name, least", JUDGES.items())
def test_a_judge_is_worth_asking(name, least):
    scores = checkpoint.read(name, "classifier")[0]["scores"]
    assert scores["accuracy"] >= least and scores["samples"] == 10_000


def test_the_bars_hold():
    scores = {name: about(name)["scores"] for name in [*DENOISERS, *TEXT]}
    assert scores["03-scales"]["recognised"] >= 0.60, "lesson 03's digits are mostly digits"
    assert scores["04-cosine"]["frechet"] < 5 * scores["04-cosine"]["floor"]["frechet"]
    assert scores["05-guidance"]["guidance"] == 2 and scores["05-guidance"]["accuracy"] >= 0.998
    numbers = scores["06-attention"]["numbers"]
    assert numbers["unseen"] >= numbers["real"] - 0.01 and numbers["hidden"] == 30
    for name in TEXT:  # the aims, as shares of what real scenes get
        for count, (seen_, held) in {"one digit": (0.98, 0.95), "two digits": (0.92, 0.85)}.items():
            if rows := scores[name]["scenes"].get(count):
                right = {kind: row["all"] / rows["real"]["all"] for kind, row in rows.items()}
                assert rows["real"]["all"] >= 0.98 and right["seen"] >= seen_ and right["held out"] >= held
    assert list(scores["08-two"]["scenes"]) == ["one digit", "two digits"]
