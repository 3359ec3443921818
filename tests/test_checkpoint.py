"""Weight files: what was written comes back; whatever else lies there is refused by name, quickly."""

import json
import time
from dataclasses import asdict, replace

import pytest
import torch
from safetensors.torch import load_file, save_file

import diffusion101
from diffusion101 import checkpoint, writing
from diffusion101.core import schedules
from diffusion101.core.denoiser import Denoiser
from diffusion101.data.images import STAND_INS
from diffusion101.data.sources import SOURCES
from diffusion101.networks import Labels, Level, UNet, UNetConfig
from diffusion101.reading import read
from diffusion101.scoring.judge import judge_of, load_classifier
from diffusion101.training import recipe, tasks

CONFIG = UNetConfig(levels=(Level(16), Level(16)), time=16, condition=Labels(10))
SCORED = {"samples", "seed", "sampler", "steps", "frechet", "floor", "hardware"}


@pytest.fixture
def saved(tmp_path):
    network = UNet(CONFIG)
    with torch.no_grad():
        for p in network.parameters():
            p.copy_((torch.randn_like(p) * 0.1).half())
    denoiser, path = Denoiser(network, schedules.cosine(T=50), "v"), tmp_path / "m.safetensors"
    about = {"kind": "denoiser", "network": asdict(CONFIG), "schedule": denoiser.schedule.spec, "predict": "v"}
    checkpoint.write(path, network.state_dict(), about | {"note": 1})
    return denoiser, path


def rewrite(path, change=lambda about: about, spoil=lambda state: state) -> None:
    """The same file with other metadata (a dict, or any text) and other tensors."""
    about = change(checkpoint.read(path, "denoiser")[0])
    text = about if isinstance(about, str) else json.dumps(about)
    save_file(spoil(load_file(path)), path, metadata={"diffusion101": text})


def test_round_trip(saved):
    denoiser, path = saved
    loaded = diffusion101.load(path)
    x, t, cond = torch.randn(2, 1, 8, 8), torch.tensor([3, 50]), torch.tensor([0, 10])
    for a, b in zip(loaded(x, t, cond), denoiser(x, t, cond)):
        assert torch.equal(a, b)
    assert not loaded.training and loaded.about["note"] == 1 and loaded.predict == "v" and loaded.schedule.T == 50


def test_weights_are_half_precision_and_everybody_may_read_them(saved, tmp_path):
    denoiser, path = saved
    assert path.stat().st_size < 2 * sum(p.numel() for p in denoiser.parameters()) + 10_000
    (tmp_path / "plain").touch()
    assert path.stat().st_mode == (tmp_path / "plain").stat().st_mode


@pytest.mark.parametrize("keep", [0, 4, 100, 5000])
def test_cut_off(saved, keep):
    _, path = saved
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ValueError, match="m.safetensors is damaged or not a diffusion101 weight file"):
        diffusion101.load(path)


HUGE = {"levels": [{"width": 4096, "blocks": 64}] * 10, "time": 8192}
HOSTILE_NETWORKS = [
    (None, "network is None"),
    ([1, 2], "network is"),
    ({}, "too few|does not fit"),
    (HUGE, "too few for its network"),
    ({"levels": [{"width": 4096}] * 2, "time": 4096}, "does not fit"),
    ({"levels": [{"width": 10**9}]}, "a width from 1 to 4096"),
    ({"levels": [{"width": 16, "blocks": 10**9}]}, "1 to 64 blocks"),
    ({"levels": []}, "1 to 10 levels"),
    ({"levels": [{"width": 16}], "heads": "many"}, "network.heads is 'many'"),
    ({"levels": [{"width": 16, "cross": True}], "heads": 0, "condition": {"vocab": 10}}, "0 heads do not divide"),
    ({"levels": [{"width": 16}], "time": 16, "condition": {"classes": 10**9}}, "classes is 1000000000"),
    ({"levels": [{"width": 16}], "depth": 3}, "network.depth"),
    ({"levels": [{"width": 16}], "dropout": float("nan")}, "dropout"),
]


@pytest.mark.parametrize(("network", "message"), HOSTILE_NETWORKS)
def test_hostile_networks(saved, network, message):
    _, path = saved
    rewrite(path, lambda about: about | {"network": network})
    began = time.process_time()
    with pytest.raises(ValueError, match=message) as error:
        diffusion101.load(path)
    assert "m.safetensors" in str(error.value) and time.process_time() - began < 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda about: [about], "file of unknown kind, not a denoiser"),
        (lambda about: "null", "file of unknown kind, not a denoiser"),
        (lambda about: "[" * 100_000, "m.safetensors is damaged"),
        (lambda about: '{"kind": ', "m.safetensors is damaged"),
        (lambda about: about | {"kind": ["denoiser"]}, "file of unknown kind"),
        (lambda about: about | {"kind": "lora"}, "m.safetensors is a lora, not a denoiser"),
        (lambda about: {key: about[key] for key in about if key != "predict"}, "predict: Field required"),
        (lambda about: about | {"predict": ["v"]}, r"predict is \['v'\]"),
        (lambda about: about | {"predict": "w"}, "predict is 'w'"),
        (lambda about: about | {"schedule": None}, "schedule is None"),
        (lambda about: about | {"schedule": {"T": 50}}, "unknown schedule ''"),
        (lambda about: about | {"schedule": {"kind": ["cosine"]}}, "unknown schedule"),
        (lambda about: about | {"schedule": {"kind": "cosine", "T": 10**13}}, "T is 10000000000000"),
        (lambda about: about | {"schedule": {"kind": "cosine", "T": True}}, "T is True"),
        (lambda about: about | {"schedule": {"kind": "cosine", "s": 10**400}}, "s must be|schedule cosine: "),
        (lambda about: about | {"schedule": {"kind": "linear", "beta_end": "0.02"}}, "schedule linear"),
    ],
)
def test_hostile_metadata(saved, change, message):
    _, path = saved
    rewrite(path, change)
    with pytest.raises(ValueError, match=message):
        diffusion101.load(path)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda s: s | {"conv_in.bias": s["conv_in.bias"] * torch.nan}, "conv_in.bias holds values that are not"),
        (lambda s: s | {"conv_in.bias": s["conv_in.bias"] * torch.inf}, "conv_in.bias holds values that are not"),
        (lambda s: s | {"conv_in.bias": s["conv_in.bias"].int()}, "conv_in.bias holds values that are not"),
        (lambda s: {k: v for k, v in s.items() if k != "conv_in.bias"}, r"conv_in.bias should be \(16,\), .* nothing"),
        (lambda s: s | {"more": torch.zeros(2)}, r"more should be nothing, the file has \(2,\)"),
        (lambda s: s | {"conv_in.bias": torch.zeros(2)}, r"conv_in.bias should be \(16,\), the file has \(2,\)"),
    ],
)
def test_spoilt_tensors(saved, spoil, message):
    _, path = saved
    rewrite(path, spoil=spoil)
    with pytest.raises(ValueError, match=message):
        diffusion101.load(path)


HOSTILE_JUDGES = [None, [3], {"classes": 10**9}, {"width": 10**7}, {"width": 0}, {"depth": 1}, {"width": "x"}]


@pytest.mark.parametrize("network", HOSTILE_JUDGES)
def test_a_hostile_judge(tmp_path, network):
    _, state = checkpoint.read("classifier", "classifier")
    checkpoint.write(tmp_path / "judge.safetensors", state, {"kind": "classifier", "network": network})
    with pytest.raises(ValueError, match="judge.safetensors"):
        load_classifier(tmp_path / "judge.safetensors")


@pytest.mark.parametrize("base", [None, [1], "05", {"name": 3}, {"fingerprint": "of another"}])
def test_an_adapter_whose_base_is_not_named(saved, base, tmp_path):
    denoiser = diffusion101.load(saved[1])
    checkpoint.write(tmp_path / "a.safetensors", {"w": torch.zeros(1)}, {"kind": "lora", "base": base})
    with pytest.raises(ValueError, match="a.safetensors is an adapter for (3|another model), not for this one"):
        checkpoint.load_lora(denoiser, tmp_path / "a.safetensors")


def test_foreign_files(tmp_path):
    save_file({"w": torch.zeros(3)}, tmp_path / "foreign.safetensors")
    with pytest.raises(ValueError, match="not a diffusion101 weight file"):
        diffusion101.load(tmp_path / "foreign.safetensors")
    with pytest.raises(ValueError, match="classifier.safetensors is a classifier, not a denoiser"):
        diffusion101.load("classifier")
    with pytest.raises(ValueError, match="no weight file"):
        diffusion101.load(tmp_path / "none.safetensors")
    with pytest.raises(ValueError, match="unknown model '99-none'; there are .*classifier"):
        diffusion101.load("99-none")


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), RuntimeError("No space left on device")])
def test_files_appear_whole(tmp_path, error):
    def fail(beside):
        beside.write_text("half")
        raise error

    (tmp_path / "file").write_text("before")
    with pytest.raises(ValueError, match="cannot write .*file': No space left on device"):
        writing.whole(tmp_path / "file", fail)
    assert (tmp_path / "file").read_text() == "before" and len(list(tmp_path.iterdir())) == 1


def test_warm_start(saved):
    denoiser, path = saved
    bigger = UNet(replace(CONFIG, levels=(*CONFIG.levels, Level(32))))
    new = checkpoint.warm_start(bigger, path)
    assert new and all("inner.inner" in key or "inner.shrink" in key or "inner.grow" in key for key in new)
    x, t = torch.randn(2, 1, 8, 8), torch.tensor([3, 50])
    torch.testing.assert_close(bigger(x, t), denoiser.network(x, t))
    with pytest.raises(ValueError, match="cannot start from .*: its .*hear.1.* has no place"):
        checkpoint.warm_start(UNet(replace(CONFIG, condition=None)), path)


def test_what_weights_started_from_is_counted_along(saved):
    """600 of its own, 400 of what it had started from."""
    _, path = saved
    assert checkpoint.origin(path) == checkpoint.fingerprint(path) | {"images": 0}  # its metadata does not count
    rewrite(path, lambda about: about | {"images": 600, "start": {"name": "older", "images": 400}})
    assert checkpoint.origin(path) == checkpoint.fingerprint(path) | {"images": 1000}
    for bad in ({"images": "many"}, {"images": -1}, {"images": None}, {"start": {"images": 0.5}}):
        rewrite(path, lambda about, bad=bad: about | {"images": 600} | bad)
        with pytest.raises(ValueError, match="m.safetensors: its metadata says .* where it should count images"):
            checkpoint.origin(path)


def committed(kind: str) -> list[str]:
    found = []
    for name in checkpoint.names():
        try:
            checkpoint.read(name, kind)
        except ValueError:
            continue
        found.append(name)
    return found


def test_every_committed_file_is_of_some_kind():
    assert sorted(committed("denoiser") + committed("lora") + committed("classifier")) == checkpoint.names()


def published(used: str, asked: str) -> bool:
    """Whether these are the data that were asked for, if in another file format: nothing that was drawn on the spot."""
    return used in SOURCES and used in (asked, *STAND_INS.get(asked, ()))


@pytest.mark.parametrize("name", committed("classifier"))
def test_committed_judges(name):
    """Each loads, judges the published data that it was trained on, and carries its own accuracy."""
    classifier = load_classifier(name)
    about, chosen = classifier.about, judge_of(classifier.about["data"])
    assert about["data"] in SOURCES and (chosen.weights, chosen.recipe) == (name, about["recipe"]["name"])
    assert classifier.options["layout"] == chosen.layout
    assert about["images"] > 100_000 and about["hardware"] and about["version"]
    assert 0.5 < about["scores"]["accuracy"] < 1 and about["scores"]["samples"] == 10_000


@pytest.mark.parametrize("name", committed("denoiser"))
def test_committed_weights(name):
    """Each loads, is what its recipe builds, and carries its scores with n, seed, hardware and floor."""
    denoiser = diffusion101.load(name)
    about = denoiser.about
    learned = read(recipe.Recipe, about["recipe"], name)
    built = tasks.task(replace(learned, model=replace(learned.model, start=None))).build()
    assert built.network.config == denoiser.network.config and built.schedule.spec == denoiser.schedule.spec
    assert built.predict == denoiser.predict and about["images"] == learned.steps * learned.train.batch
    assert published(about["data"], learned.data.name) and about["images"] > 20_000
    assert about["hardware"] and about["version"]
    judged = SCORED - {"frechet", "floor"} | {"scenes"} if learned.data.scenes else SCORED
    assert set(about["scores"]) >= judged


@pytest.mark.parametrize("name", committed("lora"))
def test_committed_adapters(name):
    """Each is for the model that its recipe names, changes its answers, and weighs tens of kilobytes."""
    about, _ = checkpoint.read(name, "lora")
    base = diffusion101.load(about["recipe"]["model"]["start"])
    x, t = torch.zeros(1, 1, 28, 28), torch.tensor([500])
    before = base.network(x, t)
    assert not torch.allclose(checkpoint.load_lora(base, name).network(x, t), before, atol=1e-3)
    assert about["data"] == "mnist" and about["images"] > 4_000 and about["hardware"] and about["version"]
    assert set(about["scores"]) >= SCORED and checkpoint.find(name).stat().st_size < 150_000
