import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from diffusion101 import checkpoint, lora
from diffusion101.__main__ import main
from diffusion101.core import schedules
from diffusion101.networks import Labels, Level, Tokens, UNet, UNetConfig
from diffusion101.training import recipe, tasks

GOLDEN = json.loads((Path(__file__).parent / "golden" / "lora.json").read_text())
EVERYWHERE = r"conv\d?$|to_(q|k|v|out)$"
CONFIG = UNetConfig(levels=(Level(16), Level(32, cross=True)), time=16, condition=Tokens(width=24))


@pytest.fixture
def net() -> UNet:
    """A small UNet that reads tokens, with random values everywhere."""
    net, g = UNet(CONFIG), torch.Generator().manual_seed(0)
    with torch.no_grad():
        for p in net.parameters():
            p.copy_((torch.randn(p.shape, generator=g) * 0.1).half())  # as a weight file keeps them
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


def test_a_layer_can_be_asked_by_hand(net):
    """W x + scale B A x at every token and pixel, whatever the layer, is what the adapted network does."""
    lora.wrap(net, 2, alpha=3.0, match=EVERYWHERE)
    learn(net)
    lora.scale(net, 0.5)
    asked = []

    def answer(x, W, A, B, scale):
        asked.append((len(x), scale))
        assert W.shape == (len(B), x.shape[1]) and len(A) == B.shape[1] == 2
        return x @ W.T + scale * x @ A.T @ B.T

    with torch.no_grad():
        wanted = net(*inputs())
        found = lora.by_hand(net, answer)(*inputs())
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-5)
    assert {scale for _, scale in asked} == {0.75} and {n for n, _ in asked} >= {2 * 8 * 16, 2 * 4 * 8, 2 * 2}


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


def test_strength_0_is_the_base_and_1_what_was_trained_whatever_alpha(net):
    x, t, cond = inputs()
    before = net(x, t, cond)
    learn(lora.wrap(net, rank=2, alpha=7.0))
    trained = net(x, t, cond)
    for strength, expected in ((0.0, before), (1.0, trained)):
        lora.scale(net, strength)
        assert torch.equal(net(x, t, cond), expected)
    adapter = next(iter(lora.layers(net).values())).adapters["default"]
    lora.scale(net, 0.5)
    assert adapter.strength == 0.5 and adapter.factor == 0.5 * 7.0 / 2
    with pytest.raises(ValueError, match="no adapter named 'other'"):
        lora.scale(net, 1.0, "other")


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
    other = UNet(CONFIG)
    other.load_state_dict(net.state_dict())
    lora.wrap(net, rank=3, alpha=6.0, match=EVERYWHERE)
    learn(net)
    tensors = lora.state(net)
    lora.load(other, tensors)
    assert torch.equal(other(x, t, cond), net(x, t, cond))


def test_a_foreign_adapter_is_refused_by_its_first_layer(net):
    tensors = lora.state(learn(lora.wrap(net, rank=3)) or net)
    with pytest.raises(ValueError, match="no layer body.inner.down_ask.0.attend.to_k here"):
        lora.load(UNet(replace(CONFIG, levels=(Level(16), Level(32)), condition=Labels())), tensors)
    wider = UNet(replace(CONFIG, condition=Tokens(width=32)))
    with pytest.raises(ValueError, match=r"its body.inner.down_ask.0.attend.to_k is \(32, 24\), here it is \(32, 32\)"):
        lora.load(wider, tensors)
    assert not lora.layers(wider), "nothing may be half loaded"


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda t: t.pop("0.up"), "0.up is missing"),
        (lambda t: t.update({"0.what": t["0.up"]}), "nobody knows what 0.what is"),
        (lambda t: t.update({"0.up": t["0.up"][:, :1]}), "do not belong together"),
        (lambda t: t.update({"0.up": t["0.up"][:, :0], "0.down": t["0.down"][:0]}), "do not belong together"),
        (lambda t: t.update({"0.alpha": torch.tensor([1.0, 2.0])}), "do not belong together"),
        (lambda t: t.update({"0.alpha": torch.tensor(torch.nan)}), "do not belong together"),
        (lambda t: t.clear(), "is empty"),
    ],
)
def test_damaged_adapters_are_refused_and_nothing_is_half_loaded(spoil, message):
    def fresh():
        return nn.Sequential(nn.Linear(5, 3), nn.Linear(3, 2))

    tensors = lora.state(lora.wrap(fresh(), rank=2, match="0|1"))
    spoil(tensors)
    model = fresh()
    with pytest.raises(ValueError, match=message):
        lora.load(model, tensors)
    assert not lora.layers(model) and all(p.requires_grad for p in model.parameters())


def test_a_second_file_on_the_same_layers_leaves_the_first_alone(net):
    x, t, cond = inputs()
    lora.wrap(net, rank=2)
    learn(net)
    everywhere = UNet(CONFIG)
    tensors = lora.state(lora.wrap(everywhere, rank=3, match=EVERYWHERE))
    before, layers = net(x, t, cond), set(lora.layers(net))
    with pytest.raises(ValueError, match="already has an adapter named 'default'"):
        lora.load(net, tensors)
    assert set(lora.layers(net)) == layers and torch.equal(net(x, t, cond), before)
    lora.load(net, tensors, "second")
    assert set(lora.layers(net)) > layers


def test_training_on_after_load_trains_every_tensor_of_the_adapter(net):
    x, t, cond = inputs()
    tensors = lora.state(learn(lora.wrap(net, rank=3, match=EVERYWHERE)) or net)
    other = UNet(CONFIG)
    base = {key: value for key, value in net.state_dict().items() if ".adapters." not in key}
    other.load_state_dict({key.replace(".base.", "."): value for key, value in base.items()})
    lora.load(other, tensors)
    other(x, t, cond).square().mean().backward()
    learning = {key for key, p in other.named_parameters() if p.grad is not None and p.grad.any()}
    assert learning == {key for key, _ in other.named_parameters() if ".adapters." in key}
    assert {key for key, p in other.named_parameters() if p.requires_grad} == learning


def test_an_adapter_added_while_merged_is_refused(net):
    learn(lora.wrap(net, rank=2))
    tensors = lora.state(net)
    lora.merge(net)
    weights = {key: value.clone() for key, value in net.state_dict().items()}
    for add in (lambda: lora.wrap(net, rank=1, name="b"), lambda: lora.load(net, tensors, "b")):
        with pytest.raises(ValueError, match="unmerge first"):
            add()
    assert weights.keys() == net.state_dict().keys()


def test_refuses(net):
    with pytest.raises(ValueError, match="no linear or convolution layer's name matches 'attn9'"):
        lora.wrap(net, match="attn9")
    with pytest.raises(ValueError, match="rank is 0"):
        lora.wrap(net, rank=0)
    lora.wrap(net)
    with pytest.raises(ValueError, match="already has an adapter named 'default'"):
        lora.wrap(net)


@pytest.fixture
def base(net, tmp_path):
    """A weight file of the small network, and the recipe of an adapter for it."""
    path = tmp_path / "base.safetensors"
    about = {"network": asdict(CONFIG), "schedule": schedules.cosine().spec, "predict": "v"}
    checkpoint.write(path, net.state_dict(), about | {"kind": "denoiser"})
    (tmp_path / "mine.yaml").write_text(
        f"task: adapter\nmodel: {{start: {path}}}\nprocess: {{schedule: {{kind: cosine}}, predict: v, loss: l1}}\n"
        "data: {name: synthetic, size: 8, handwriting: heavy, shots: 20}\n"
        "train: {batch: 8, optimizer: adamw, lr: 0.05, ema: 0.9}\nscore: {samples: 0}\n"
    )
    return path


def test_an_adapter_keeps_the_process_of_its_model_and_takes_the_recipes_loss(base, tmp_path):
    mine = recipe.load(tmp_path / "mine.yaml")
    assert tasks.task(mine).build().loss_name == "l1"
    with pytest.raises(ValueError, match="process must be that of .*base.safetensors: Schedule.kind=cosine.*, v"):
        tasks.task(replace(mine, process=replace(mine.process, predict="eps"))).build()
    with pytest.raises(ValueError, match="match is '.', which is no regular expression"):
        tasks.task(replace(mine, adapter=recipe.Adapter(match="("))).build()


def test_trained_by_a_recipe_then_drawn_with(base, tmp_path, capsys, small_synthetic):
    """lora train, sample with --lora at strengths 0 and 1, merged or not, and bases that it is not for."""
    run = tmp_path / "run"
    assert main(["lora", "train", "--recipe", str(tmp_path / "mine.yaml"), "--out", str(run), "--images", "160"]) == 0
    adapter = run / "model.safetensors"
    about, tensors = checkpoint.read(adapter, "lora")
    assert about["parameters"] == sum(v.numel() for k, v in tensors.items() if "alpha" not in k)
    assert about["base"]["fingerprint"] == checkpoint.load(base).about["fingerprint"]
    common = f"sample --model {base} --prompt 1 2 --size 8 --steps 2".split()
    files = {}
    for name, words in {
        "base": [],
        "zero": ["--lora", adapter, "--lora-scale", 0],
        "one": ["--lora", adapter],
        "merged": ["--lora", adapter, "--merge"],
    }.items():
        out = tmp_path / f"{name}.png"
        assert main([*common, *map(str, words), "--out", str(out)]) == 0
        files[name] = np.asarray(Image.open(out), dtype=int)
    assert (files["base"] == files["zero"]).all() and (files["base"] != files["one"]).any()
    assert abs(files["one"] - files["merged"]).max() <= 1
    capsys.readouterr()

    other, refused = tmp_path / "other.safetensors", ["--size", "8", "--out", str(tmp_path / "no.png")]
    about, state = checkpoint.read(base, "denoiser")
    checkpoint.write(other, {key: value + 0.1 for key, value in state.items()}, about)
    assert main(["sample", "--model", str(other), "--lora", str(adapter), *refused]) == 2
    assert "is an adapter for base, not for this one" in capsys.readouterr().err
    assert main(["sample", "--model", str(base), "--lora", str(base), *refused]) == 2
    assert "is a denoiser, not a lora" in capsys.readouterr().err and not (tmp_path / "no.png").exists()
