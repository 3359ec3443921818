import json
from pathlib import Path

import pytest
import torch
from torch import nn

from diffusion101 import lora
from diffusion101.milestones import MILESTONES
from diffusion101.networks import UNet

GOLDEN = json.loads((Path(__file__).parent / "golden" / "lora.json").read_text())
EVERYWHERE = r"conv\d$|to_(q|k|v|out)$"


@pytest.fixture
def net() -> UNet:
    """M6 with random values everywhere."""
    net, g = UNet(MILESTONES["M6"]), torch.Generator().manual_seed(0)
    with torch.no_grad():
        for p in net.parameters():
            p.copy_(torch.randn(p.shape, generator=g) * 0.1)
    return net


def inputs():
    g = torch.Generator().manual_seed(1)
    return torch.randn(2, 1, 8, 16, generator=g), torch.tensor([3, 700]), torch.tensor([[3, 7], [1, 10]])


def learn(net, name="default", seed=2):
    """Give an adapter values as if it had been trained."""
    g = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for layer in lora.layers(net).values():
            if name in layer.adapters:
                up = layer.adapters[name].up.weight
                up.copy_(torch.randn(up.shape, generator=g) * 0.1)


@pytest.mark.parametrize("case", GOLDEN["cases"], ids=lambda case: case["layer"])
def test_equals_peft(case):
    make, shape = {
        "linear": (lambda: nn.Linear(5, 3), (2, 5)),
        "conv": (lambda: nn.Conv2d(4, 3, 3, stride=2, padding=1), (2, 4, 6, 6)),
    }[case["layer"]]
    model = nn.Sequential(make()).double()
    parameters = list(model.parameters())
    lora.wrap(model, case["rank"], case["alpha"], match="0")
    adapter = model[0].adapters["default"].double()
    for group in (parameters, [adapter.down.weight, adapter.up.weight]):
        with torch.no_grad():
            for i, p in enumerate(group):
                p.copy_(torch.sin(torch.arange(p.numel(), dtype=torch.float64) * 0.7 + i).view(p.shape))
    x = torch.cos(torch.arange(torch.Size(shape).numel(), dtype=torch.float64) * 0.3).view(shape)
    torch.testing.assert_close(model(x).flatten(), torch.tensor(case["y"], dtype=torch.float64))


@pytest.mark.parametrize("match", [lora.MATCH, EVERYWHERE])
def test_born_the_identity_and_only_the_adapter_learns(net, match):
    x, t, cond = inputs()
    before = net(x, t, cond)
    frozen = {key: value.clone() for key, value in net.state_dict().items()}
    lora.wrap(net, rank=3, match=match)
    assert torch.equal(net(x, t, cond), before)
    optimizer = torch.optim.SGD([p for p in net.parameters() if p.requires_grad], lr=0.1)
    for _ in range(2):  # the first step moves only B, since B = 0 hides A
        optimizer.zero_grad()
        net(x, t, cond).square().sum().backward()
        optimizer.step()
    after = {key.replace(".base.", "."): value for key, value in net.state_dict().items() if ".adapters." not in key}
    assert frozen.keys() == after.keys() and all(torch.equal(frozen[key], after[key]) for key in frozen)
    assert all(p.grad is None for key, p in net.named_parameters() if ".adapters." not in key)
    assert all(a.adapters["default"].up.weight.any() for a in lora.layers(net).values())
    assert not torch.equal(net(x, t, cond), before)


@pytest.mark.parametrize("match", [lora.MATCH, EVERYWHERE])
def test_merged_equals_unmerged_and_unmerging_is_exact(net, match):
    x, t, cond = inputs()
    base = {key: value.clone() for key, value in net.state_dict().items()}
    lora.wrap(net, rank=3, alpha=1.5, match=match)
    learn(net)
    unmerged = net(x, t, cond)
    torch.testing.assert_close(lora.merge(net)(x, t, cond), unmerged, rtol=1e-5, atol=1e-5)
    lora.merge(net)  # twice changes nothing more
    torch.testing.assert_close(net(x, t, cond), unmerged, rtol=1e-5, atol=1e-5)
    with pytest.raises(ValueError, match="unmerge first"):
        lora.scale(net, 0.5)
    lora.unmerge(net)
    for key, value in net.state_dict().items():
        if ".adapters." not in key:
            assert torch.equal(value, base[key.replace(".base.", ".")]), key
    assert torch.equal(net(x, t, cond), unmerged)


def test_scale_zero_is_the_base(net):
    x, t, cond = inputs()
    before = net(x, t, cond)
    learn(lora.wrap(net, rank=2))
    lora.scale(net, 0.0)
    assert torch.equal(net(x, t, cond), before)


def test_two_adapters_mix(net):
    """On one layer the answers add up, each at its own scale."""
    layer = nn.Sequential(nn.Linear(4, 3))
    x = torch.randn(2, 4)
    base = layer(x)
    lora.wrap(layer, 2, match="0", name="a")
    lora.wrap(layer, 1, match="0", name="b")
    learn(layer, "a"), learn(layer, "b", seed=5)
    both = layer(x)
    lora.scale(layer, 0.0, "b")
    only_a = layer(x)
    lora.scale(layer, 0.0, "a")
    lora.scale(layer, 1.0, "b")
    torch.testing.assert_close(both - base, (only_a - base) + (layer(x) - base))
    assert (
        set(lora.state(layer, "a")) == {"0.down", "0.up", "0.alpha"} and lora.state(layer, "a")["0.down"].shape[0] == 2
    )


def test_state_round_trip(net):
    x, t, cond = inputs()
    other = UNet(MILESTONES["M6"])
    other.load_state_dict(net.state_dict())
    lora.wrap(net, rank=3, alpha=6.0, match=EVERYWHERE)
    learn(net)
    tensors = lora.state(net)
    lora.load(other, tensors)
    assert torch.equal(other(x, t, cond), net(x, t, cond))


def test_a_foreign_adapter_is_refused_by_its_first_layer(net):
    tensors = lora.state(learn(lora.wrap(net, rank=3)) or net)
    with pytest.raises(ValueError, match="no layer body.inner.down_ask.0.attend.to_k here"):
        lora.load(UNet(MILESTONES["M5"]), tensors)
    wider = UNet(MILESTONES["M6"].__class__(**{**MILESTONES["M6"].__dict__, "context": 32}))
    with pytest.raises(ValueError, match=r"its body.inner.down_ask.0.attend.to_k is \(64, 64\), here it is \(64, 32\)"):
        lora.load(wider, tensors)
    assert not lora.layers(wider), "nothing may be half loaded"


def test_refuses(net):
    with pytest.raises(ValueError, match="no linear or convolution layer's name matches 'attn9'"):
        lora.wrap(net, match="attn9")
    with pytest.raises(ValueError, match="rank is 0"):
        lora.wrap(net, rank=0)
    lora.wrap(net)
    with pytest.raises(ValueError, match="already has an adapter named 'default'"):
        lora.wrap(net)


def test_a_file_trained_by_a_recipe_then_drawn_with(net, tmp_path, monkeypatch, capsys, pictures):
    """lora train, sample with --lora at scales 0 and 1, merged or not, and a model that it does not fit."""
    from diffusion101 import checkpoint, runs, schedules
    from diffusion101.__main__ import main
    from diffusion101.denoiser import Denoiser
    from diffusion101.recipe import load

    base = tmp_path / "base.safetensors"
    checkpoint.write(base, net.state_dict(), checkpoint.describe(Denoiser(net, schedules.cosine(), "v")))
    (tmp_path / "mine.yaml").write_text(
        f"kind: lora\nwarm_start: {base}\ndata: strokes\nhand: heavy\nshots: 20\nimages: 80\nbatch: 8\nlr: 0.05\n"
        "evaluate: {samples: 0}\n"
    )
    monkeypatch.setattr("diffusion101.data.load", lambda *a: pictures)
    assert main(["lora", "train", "--recipe", str(tmp_path / "mine.yaml"), "--out", str(tmp_path / "run")]) == 0
    adapter = tmp_path / "run" / "model.safetensors"
    about, tensors = checkpoint.read(adapter)
    assert about["kind"] == "lora" and about["parameters"] == sum(
        v.numel() for k, v in tensors.items() if "alpha" not in k
    )
    assert adapter.stat().st_size < base.stat().st_size / 10
    common = f"sample --model {base} --digits 1 2 --steps 2".split()
    files = {}
    for name, words in {
        "base": [],
        "zero": ["--lora", adapter, "--lora-scale", 0],
        "one": ["--lora", adapter],
        "merged": ["--lora", adapter, "--merge"],
    }.items():
        out = tmp_path / f"{name}.png"
        assert main([*common, *map(str, words), "--out", str(out)]) == 0
        files[name] = out.read_bytes()
    assert files["base"] == files["zero"] != files["one"]
    assert load(tmp_path / "mine.yaml").hand == "heavy" and runs.build(load(tmp_path / "mine.yaml")).null == 10
    assert main(["sample", "--model", "01-basic", "--lora", str(adapter), "--out", str(tmp_path / "no.png")]) == 2
    assert "there is no layer body" in capsys.readouterr().err
    assert main(["sample", "--model", str(base), "--lora", "classifier", "--out", str(tmp_path / "no.png")]) == 2
    assert "is a classifier, not a lora" in capsys.readouterr().err and not (tmp_path / "no.png").exists()
