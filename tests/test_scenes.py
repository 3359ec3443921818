"""Scenes: what is drawn is what was said, training sees nothing held out, and the judges tell right from wrong."""

import json
from dataclasses import replace
from itertools import product
from random import Random

import pytest
import torch

from diffusion101 import data
from diffusion101.__main__ import main
from diffusion101.data.captions import PLACES, PLAIN, Thing, draw, held_out, parse
from diffusion101.data.handwriting import bold, thin
from diffusion101.data.scenes import COLOURS, HANDS, SIZES, Scenes, box, render
from diffusion101.scoring import scenes as judging
from diffusion101.scoring.judge import load_classifier
from diffusion101.training import recipe, tasks

PLAINLY = Thing(7, "red", "small", "top left", PLAIN)


def drawn(digits, *things, seed=0):
    return render([things], digits, torch.Generator().manual_seed(seed))


def listening() -> tuple[list, object]:
    """What a stream told, and the ear that it told it to."""
    heard = []
    return heard, lambda captions: heard.extend(captions) or torch.zeros(len(captions), 1)


def test_a_thing_has_the_colour_size_and_place_it_was_given(pictures):
    things = [Thing(3, *parts, PLAIN) for parts in product(COLOURS, SIZES, PLACES)]
    light = (render([(thing,) for thing in things], pictures, torch.Generator().manual_seed(0)) + 1) / 2
    low, high = box(light.amax(1))
    for i, thing in enumerate(things):
        brightest = light[i].flatten(1)[:, light[i].amax(0).argmax()]
        torch.testing.assert_close(brightest, torch.tensor(COLOURS[thing.colour]), rtol=0, atol=0.01)
        assert abs((high - low)[i].max() - SIZES[thing.size][0]) <= 2, thing
        wanted = 16 + torch.tensor(PLACES[thing.place]) * SIZES[thing.size][1]
        assert ((low + high)[i] / 2 - wanted).abs().max() <= 1.5, thing
        assert 0 <= low[i].min() and high[i].max() <= 32


def test_two_things_do_not_touch(pictures):
    """Somewhere between them there is a black row or column."""
    random = Random(0)
    for i in range(40):
        scene = draw(random, 2)
        one, two = (drawn(pictures, thing, seed=i).amax(1)[0] > -0.5 for thing in scene)
        assert not (one & two).any()


def test_handwritings_are_true(pictures):
    ink = pictures.images.float() / 255
    assert (thin(ink).sum() < 0.85 * ink.sum()) and (bold(ink).sum() > 1.15 * ink.sum())
    assert (thin(ink) <= bold(ink)).all()
    one = pictures.images[pictures.labels == 1].float() / 255
    leaning = HANDS["slanted"](one)
    across = torch.arange(28.0)

    def lean(ink):
        """How much further to the right the upper half's ink is."""
        x = [(half * across).sum() / half.sum() for half in (ink[..., :14, :], ink[..., 14:, :])]
        return x[0] - x[1]

    assert lean(leaning) > lean(one) + 3


@pytest.mark.parametrize("things", [1, 2])
def test_training_sees_nothing_held_out(pictures, things, monkeypatch):
    shown, heard = [], listening()
    real = render
    monkeypatch.setattr("diffusion101.data.scenes.render", lambda scenes, *a: shown.extend(scenes) or real(scenes, *a))
    stream = Scenes(pictures, heard[1], things, side=16)
    for step in range(4):
        x0, cond = stream.batch(step, 100)
        assert x0.shape == (100, 3, 16, 16) and len(cond) == 100 and x0.min() == -1 and 0.9 < x0.max() <= 1
    assert not [thing for scene in shown for thing in scene if held_out(thing)]
    assert {len(scene) for scene in shown} == {*range(1, things + 1)}
    for scene, said in zip(shown, map(parse, heard[0])):
        for thing, told in zip(scene, said, strict=True):
            assert {k: v for k, v in vars(told).items() if v is not None}.items() <= vars(thing).items()
    assert any(None in vars(thing).values() for said in map(parse, heard[0]) for thing in said), "some is left unsaid"


def test_any_step_can_be_had_again(pictures):
    heard, ear = listening()
    stream = Scenes(pictures, ear, 2)
    (a, _), (b, _), (c, _), (d, _) = (stream.batch(step, 8, seed) for step, seed in ((3, 1), (3, 1), (4, 1), (3, 2)))
    assert torch.equal(a, b) and heard[:8] == heard[8:16] and heard[:8] != heard[16:24] != heard[24:]
    assert not torch.equal(a, c) and not torch.equal(a, d)


def test_black_pictures_are_scenes_too():
    """A run's duration is measured on them."""
    black = data.Images("", torch.zeros(10, 1, 28, 28, dtype=torch.uint8), torch.arange(10), "")
    assert (drawn(black, PLAINLY) == -1).all()


@pytest.fixture(scope="module")
def real():
    """The committed judge, and MNIST's test digits."""
    test = data.load("mnist", "test")
    if test.name != "mnist":
        pytest.skip("MNIST is not at hand and cannot be downloaded")
    return load_classifier(), test


@pytest.mark.parametrize("things, least", [(1, 0.98), (2, 0.97)])
def test_the_judges_read_real_scenes(real, things, least):
    """The ceiling; n = 300 here, 1,000 in every evaluation."""
    classifier, test = real
    random = Random(3)
    asked = [draw(random, things, held=i % 2 == 1) for i in range(300)]
    x = render(asked, test, torch.Generator().manual_seed(3))
    shares = judging.shares(judging.right(classifier, x, asked))
    assert shares["all"] >= least and shares["colour"] == shares["place"] == shares["size"] == 1, shares


def test_the_judges_tell_what_is_wrong(real):
    classifier, test = real
    x = drawn(test, PLAINLY)
    wrong = {"digit": 2, "colour": "yellow", "place": "top", "size": "big"}
    assert all(judging.right(classifier, x, [(PLAINLY,)])[0].values())
    for key, value in wrong.items():
        answer = judging.right(classifier, x, [(replace(PLAINLY, **{key: value}),)])[0]
        assert answer == {k: k != key for k in judging.KEYS}
        assert all(
            judging.right(classifier, x, [(replace(Thing(7), **{key: None}) if key != "digit" else PLAINLY,)])[0]
        )
    assert all(judging.right(classifier, x, [(Thing(7),)])[0].values()), "what is unsaid is free"
    nothing = torch.full((1, 3, 32, 32), -1.0)
    assert len(judging.right(classifier, nothing, [(PLAINLY,)])) == 1, "a black picture is judged like any other"


def test_of_two_things_each_must_have_its_own(real):
    classifier, test = real
    one, two = Thing(7, "red", "small", "left", PLAIN), Thing(4, "blue", "small", "right", PLAIN)
    x = drawn(test, one, two)
    for asked in ((one, two), (two, one), (Thing(4), Thing(7, "red"))):
        assert all(judging.right(classifier, x, [asked])[0].values()), asked
    swapped = judging.right(classifier, x, [(replace(one, colour="blue"), replace(two, colour="red"))])[0]
    assert swapped == {"digit": True, "colour": False, "place": True, "size": True}
    assert not judging.right(classifier, x, [(one, one)])[0]["digit"]


def test_shares_count_what_was_asked_for():
    yes, no = dict.fromkeys(judging.KEYS, True), {"digit": True, "colour": True, "place": False, "size": True}
    small = {"digit": True, "colour": True, "place": True, "size": False}
    got = judging.shares([yes, no, small, yes])
    assert got == {"digit": 1.0, "colour": 1.0, "place": 0.75, "size": 0.75, "all": 0.75}


def test_the_table_has_the_ceiling_first():
    row = {"digit": 0.9, "colour": 1.0, "place": 1.0, "size": 1.0, "all": 0.9}
    rows = {"real": row, "seen": row | {"all": 0.45}, "held out": row | {"all": 0.0}}
    lines = judging.table({"scenes": {"one digit": rows, "two digits": rows}}).splitlines()
    assert len(lines) == 7 and "real" in lines[1] and lines[2].split()[-2:] == ["0.450", "0.500"]


def test_a_network_without_words_cannot_be_told_captions(tiny, pictures):
    job = tasks.task(replace(tiny, task="text", data=replace(tiny.data, scenes=1)))
    with pytest.raises(ValueError, match="task text needs a network that reads words, as milestone M8"):
        job.check(job.build(), pictures, pictures)


def test_scenes_are_made_of_grey_digits(tiny, pictures):
    chosen = recipe.load("mnist-text", model__change={"levels": [{"width": 8}, {"width": 8, "cross": True}]})
    job = tasks.task(chosen)
    colour = replace(pictures, name="cifar10-jpeg", images=pictures.images.expand(-1, 3, -1, -1))
    with pytest.raises(ValueError, match="scenes are made of grey digits, not of cifar10-jpeg pictures"):
        job.check(job.build(), colour, colour)


def test_train_sample_evaluate_by_the_command_line(tmp_path, monkeypatch, capsys, small_synthetic):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.yaml").write_text(
        "task: text\n"
        "model: {milestone: M8, change: {levels: [{width: 8}, {width: 8, cross: true}], condition: {width: 8}}}\n"
        "process: {schedule: {kind: cosine}, predict: v}\n"
        "data: {name: synthetic, scenes: 2, size: 16}\n"
        "train: {batch: 4}\nscore: {samples: 10, steps: 1, guidance: 3.0}\n"
    )
    assert main("train --recipe text.yaml --out run --images 8".split()) == 0
    assert '"two digits": {"real": {"digit": ' in capsys.readouterr().out
    sample = ["sample", "--model", "run/model.safetensors", "--steps", "1", "--out"]
    assert main([*sample, "a.png", "--prompt", "a small red seven, top left"]) == 0
    assert main([*sample, "b.png", "--prompt", "a small rad seven"]) == 2
    assert "does not know the word 'rad'; the nearest it knows: red" in capsys.readouterr().err
    assert (tmp_path / "a.png").exists() and not (tmp_path / "b.png").exists()
    asked, drawn = [], judging.pictures
    monkeypatch.setattr(judging, "pictures", lambda model, request, bar: asked.append(request) or drawn(model, request))
    assert main("evaluate --model run/model.safetensors --samples 10 --steps 1 --spacing karras".split()) == 0
    printed = capsys.readouterr()
    scores = json.loads(printed.out)
    assert {(request.spacing, request.guidance) for request in asked} == {("karras", 3.0)}
    assert (scores["guidance"], scores["spacing"]) == (3, "karras")
    assert [*scores["scenes"]["one digit"]] == ["real", "seen", "held out"]
    assert "of the ceiling" in printed.err and "held out" in printed.err
