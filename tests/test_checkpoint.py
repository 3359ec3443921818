import json

import pytest
import torch

import diffusion101
from diffusion101 import checkpoint, runs, schedules
from diffusion101.denoiser import Denoiser
from diffusion101.networks import UNet, UNetConfig


@pytest.fixture
def saved(tmp_path):
    torch.manual_seed(1)
    network = UNet(UNetConfig(widths=(16, 16), blocks=1, time=16, classes=10))
    with torch.no_grad():
        for p in network.parameters():
            p.copy_((torch.randn_like(p) * 0.1).half())
    denoiser = Denoiser(network, schedules.cosine(T=50), "v")
    checkpoint.write(tmp_path / "m.safetensors", network.state_dict(), checkpoint.describe(denoiser) | {"note": 1})
    return denoiser, tmp_path / "m.safetensors"


def test_round_trip(saved):
    denoiser, path = saved
    loaded = diffusion101.load(path)
    x, t, cond = torch.randn(2, 1, 8, 8), torch.tensor([3, 50]), torch.tensor([0, 10])
    for a, b in zip(loaded(x, t, cond), denoiser(x, t, cond)):
        assert torch.equal(a, b)
    assert not loaded.training and loaded.about["note"] == 1 and loaded.predict == "v" and loaded.schedule.T == 50


def test_weights_are_half_precision(saved):
    _, path = saved
    parameters = sum(p.numel() for p in saved[0].parameters())
    assert path.stat().st_size < 2 * parameters + 10_000


@pytest.mark.parametrize("keep", [0, 4, 100, 5000])
def test_cut_off(saved, keep):
    _, path = saved
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ValueError, match="m.safetensors is damaged or not a diffusion101 weight file"):
        diffusion101.load(path)


def test_damaged_in_the_middle(saved):
    _, path = saved
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b'"body.down.0.conv1.weight"', b'"body.down.0.conv9.weight"'))
    with pytest.raises(ValueError, match="does not fit: body.down.0.conv1.weight should be .*, the file has nothing"):
        diffusion101.load(path)


def test_foreign_files(tmp_path):
    from safetensors.torch import save_file

    save_file({"w": torch.zeros(3)}, tmp_path / "foreign.safetensors")
    with pytest.raises(ValueError, match="not a diffusion101 weight file"):
        diffusion101.load(tmp_path / "foreign.safetensors")
    with pytest.raises(ValueError, match="classifier is a classifier, not a denoiser"):
        diffusion101.load("classifier")
    with pytest.raises(ValueError, match="no weight file"):
        diffusion101.load(tmp_path / "none.safetensors")
    with pytest.raises(ValueError, match="unknown model '99-none'; there are .*classifier"):
        diffusion101.load("99-none")


def test_files_appear_whole(tmp_path):
    def fail(beside):
        beside.write_text("half")
        raise OSError("disk full")

    (tmp_path / "file").write_text("before")
    with pytest.raises(OSError, match="disk full"):
        checkpoint.whole(tmp_path / "file", fail)
    assert (tmp_path / "file").read_text() == "before" and len(list(tmp_path.iterdir())) == 1


def test_warm_start(saved):
    denoiser, path = saved
    bigger = UNet(UNetConfig(widths=(16, 16, 32), blocks=1, time=16, classes=10))
    new = checkpoint.warm_start(bigger, path)
    assert new and all("inner.inner" in key or "inner.shrink" in key or "inner.grow" in key for key in new)
    x, t = torch.randn(2, 1, 8, 8), torch.tensor([3, 50])
    torch.testing.assert_close(bigger(x, t), denoiser.network(x, t))
    with pytest.raises(ValueError, match="cannot start from .*: its label.weight .* has no place"):
        checkpoint.warm_start(UNet(UNetConfig(widths=(16, 16), blocks=1, time=16)), path)


def committed(kind: str) -> list[str]:
    return [name for name in checkpoint.names() if checkpoint.read(name)[0]["kind"] == kind]


@pytest.mark.parametrize("name", committed("denoiser"))
def test_committed_weights(name):
    """Each loads, is what its recipe builds, and carries its scores with n, seed, hardware and floor."""
    from diffusion101.recipe import Recipe, from_dict

    denoiser = diffusion101.load(name)
    about = denoiser.about
    built = runs.build(from_dict(Recipe, about["recipe"] | {"warm_start": ""}))
    assert built.network.config == denoiser.network.config and built.schedule.spec == denoiser.schedule.spec
    assert about["data"] == "mnist" and about["images"] > 50_000 and about["hardware"] and about["version"]
    assert {"samples", "seed", "sampler", "steps", "frechet", "floor", "hardware"} <= set(about["scores"])
    assert all(p.isfinite().all() for p in denoiser.parameters())


@pytest.mark.parametrize("name", committed("lora"))
def test_committed_adapters(name):
    """Each fits the model that its recipe names, changes its answers, and weighs tens of kilobytes."""
    about, _ = checkpoint.read(name)
    base = diffusion101.load(about["recipe"]["warm_start"])
    x, t = torch.zeros(1, 1, 28, 28), torch.tensor([500])
    before = base.network(x, t)
    assert not torch.allclose(checkpoint.load_lora(base, name).network(x, t), before, atol=1e-3)
    assert about["data"] == "mnist" and about["images"] > 50_000 and about["hardware"] and about["version"]
    assert {"samples", "seed", "sampler", "steps", "frechet", "floor", "hardware"} <= set(about["scores"])
    assert checkpoint.find(name).stat().st_size < 100_000


def test_lesson_05_meets_its_bars():
    """At w = 2 the digit asked for in 998 of 1000; at the best w within 1.3 times the distance of real digits."""
    about, _ = checkpoint.read("05-guidance")
    measured = json.loads((checkpoint.FOLDER.parent / "measured" / "05_guidance.json").read_text())
    assert about["parameters"] < 1_200_000 and about["scores"]["guidance"] == 2 and about["scores"]["samples"] == 2000
    assert about["scores"]["accuracy"] >= 0.998 and measured["model"] == "05-guidance"
    assert min(measured["frechet"]) < 1.3 * measured["floor"]["frechet"]
