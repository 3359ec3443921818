"""Hypothesis: whatever stands in a recipe, a weight file or a command line, only sentences come out."""

import json
import os
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import asdict
from unittest.mock import patch

import pytest
import torch
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

import diffusion101
from diffusion101 import checkpoint, commands
from diffusion101.__main__ import ERRORS, main
from diffusion101.core import schedules
from diffusion101.core.samplers import Step
from diffusion101.drawing import draw
from diffusion101.networks import Labels, Level, UNet, UNetConfig
from diffusion101.reading import read
from diffusion101.training import recipe, tasks


def examples(count: int):
    """The same ones in every run; none is too slow on a busy machine."""
    calm = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
    return settings(deadline=None, max_examples=count, suppress_health_check=calm, derandomize=True, database=None)


NUMBERS = st.sampled_from([0, -1, 1, 2, 3, 10, 16, 28, 10**9, 10**30, -(2**63), 2**63, 0.0, 0.5, 2e-3, 1e308, 5e-324])
WORDS = st.sampled_from(["", "eps", "v", "cosine", "linear", "ddim", "M1", "M6", "05-guidance", "mnist", "1e-3", "é\n"])
ODD = st.sampled_from([float("nan"), float("inf")])
LEAVES = st.none() | st.booleans() | NUMBERS | ODD | WORDS
JSON = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3), max_leaves=8
)


def paths(values, above=()):
    """Every place in nested dicts and lists, as keys to follow."""
    items = values.items() if isinstance(values, dict) else enumerate(values) if isinstance(values, list) else ()
    return [above, *(path for key, value in items for path in paths(value, (*above, key)))]


@st.composite
def spoilt(draw, values):
    """Nested values with up to three places changed, dropped or added to."""
    values = deepcopy(values)
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from(paths(values)[1:]))
        *above, last = path
        inner = values
        for key in above:
            inner = inner[key]
        what = draw(st.integers(0, 5))
        if what == 0:
            del inner[last]
        elif what == 1 and isinstance(inner, dict):
            inner[draw(WORDS)] = draw(JSON)
        else:
            inner[last] = draw(JSON)
        if not paths(values)[1:]:
            break
    return values


def as_json(values):
    return json.loads(json.dumps(values))


@pytest.mark.parametrize("name", recipe.names())
@examples(25)
@given(data=st.data())
def test_recipes(name, data, tmp_path):
    """A Recipe, which survives being kept, or one sentence."""
    text = (recipe.FOLDER / f"{name}.yaml").read_text()
    values = data.draw(spoilt(yaml.safe_load(text)) | JSON)
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(values))
    try:
        found = recipe.load(path)
    except ValueError as error:
        assert "mine.yaml" in str(error)
        return
    assert read(recipe.Recipe, as_json(asdict(found)), "kept") == found and found.steps >= 1
    tasks.task(found)


CONFIG = UNetConfig(levels=(Level(8),), time=8, condition=Labels(10))


@pytest.fixture
def weights(tmp_path):
    about = {"kind": "denoiser", "network": asdict(CONFIG), "schedule": schedules.cosine(T=20).spec, "predict": "v"}
    about |= {"data": "synthetic", "recipe": asdict(recipe.Recipe(model=recipe.Model(network=CONFIG)))}
    checkpoint.write(tmp_path / "m.safetensors", UNet(CONFIG).state_dict(), about)
    return tmp_path / "m.safetensors", as_json(about)


@examples(100)
@given(data=st.data())
def test_metadata_of_weight_files(weights, data, tmp_path):
    path, about = weights
    kind = {"kind": data.draw(st.sampled_from(["denoiser", "lora", "classifier"]))}
    found = data.draw(JSON | spoilt({key: value for key, value in about.items() if key != "recipe"}))
    found = found | kind if isinstance(found, dict) else found
    other = tmp_path / "other.safetensors"
    save_file(load_file(path), other, metadata={"diffusion101": json.dumps(found)})
    for read_it in (diffusion101.load, lambda name: checkpoint.load_lora(diffusion101.load(path), name)):
        try:
            read_it(other)
        except ValueError as error:
            assert "other" in str(error) and len(str(error)) < 5000


VALUES = "0 1 3 -1 42 7_ nan inf 1e3 x 99999999999999999999 cpu meta cuda:7 FILE DIR".split() + [""]
FLAGS = "--model --out --digits --prompt --count --size --steps --sampler --guidance --seed --lora --lora-scale --merge"
FLAGS = [
    *FLAGS.split(),
    *"--spacing --format --raw --grid --again".split(),
    *"--samples --data --json --device --recipe --images --resume --wrong".split(),
]


@examples(150)
@given(
    st.sampled_from(["sample", "evaluate", "train", "lora", "wrong"]),
    st.lists(st.tuples(st.sampled_from(FLAGS), st.lists(st.sampled_from(VALUES), max_size=2)), max_size=4),
)
def test_command_lines(weights, tmp_path, command, options):
    """Exit code 0 or 2 and at most one line of complaint, however the flags are mixed."""

    def cheap(model, request):
        draw(model, request)  # it checks, and then waits to be asked
        return iter([Step(0, torch.zeros(1, 1, 8, 8), None)])

    names = {"FILE": str(weights[0]), "DIR": str(tmp_path)}
    needed = {
        "sample": ["--model", names["FILE"], "--size", "8", "--out", str(tmp_path / "a.png")],
        "evaluate": ["--model", names["FILE"], "--samples", "10"],
        "train": ["--recipe", "mnist-m1", "--out", str(tmp_path / "run")],
        "lora": ["train", "--recipe", "lora-outline", "--out", str(tmp_path / "run")],
    }
    words = [word for flag, values in options for word in (flag, *(names.get(value, value) for value in values))]
    with (
        chdir(tmp_path),  # some values are names of files
        patch.object(commands, "draw", cheap),
        patch.object(commands.drawing, "seconds", lambda *a: 0.0),
        patch.object(commands.fit, "fit", lambda *a, **k: {}),
        patch.object(tasks, "score_model", lambda *a: {}),
        patch.object(tasks.DenoiserTask, "images", lambda *a: small()),
        patch.object(tasks.DenoiserTask, "seconds_to_score", lambda *a: 0.0),
    ):
        assert main([command, *needed.get(command, []), *words]) in (0, 2)
    assert not list(tmp_path.rglob(ERRORS))


@contextmanager
def chdir(path):
    before = os.getcwd()
    os.chdir(path)
    try:
        yield
    finally:
        os.chdir(before)


def small():
    from diffusion101.data import Images, synthetic

    return Images("synthetic", *synthetic.dataset(20), "")
