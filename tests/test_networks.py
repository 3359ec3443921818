import copy

import pytest
import torch

from diffusion101 import lora, schedules
from diffusion101.denoiser import LOSSES, Denoiser
from diffusion101.milestones import MILESTONES
from diffusion101.networks import UNet, UNetConfig
from diffusion101.networks.blocks import ResBlock
from diffusion101.networks.embeddings import sinusoidal

CHAIN = [*zip(MILESTONES, [*MILESTONES][1:]), ("M6", "M7")]  # M7 is M6 with adapters


def awake(module: torch.nn.Module, seed: int = 0) -> torch.nn.Module:
    """Random values everywhere, so that nothing is the identity by being unborn."""
    g = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in module.parameters():
            p.copy_(torch.randn(p.shape, generator=g) * 0.1)
    return module


def inputs(config: UNetConfig, size: int = 16):
    g = torch.Generator().manual_seed(1)
    x, t = torch.randn(3, config.channels, size, size, generator=g), torch.tensor([1, 400, 1000])
    return x, t, torch.tensor([0, 3, 9]) if config.classes else None


@pytest.mark.parametrize("before, after", CHAIN)
def test_every_addition_is_born_the_identity(before, after):
    """Law 3: started from the milestone before, the output is the same, and only new modules lack weights."""
    old = awake(UNet(MILESTONES[before]))
    if after == "M7":
        new, kept = lora.wrap(copy.deepcopy(old), rank=4), old.state_dict().keys()
        missing = [key for key in new.state_dict() if key.replace(".base.", ".") not in kept]
    else:
        new = UNet(MILESTONES[after])
        missing, unexpected = new.load_state_dict(old.state_dict(), strict=False)
        assert not unexpected
    parts = {
        "M2": ("time.", ".emb."),
        "M3": (".shrink.", ".inner.", ".grow."),
        "M5": ("label.",),
        "M6": ("tokens.", "_ask."),
        "M7": (".adapters.",),
    }
    assert all(any(part in f"body.{key}" for part in parts.get(after, ())) for key in missing), missing
    assert bool(missing) == (after != "M4")  # M4 is the same network
    x, t, cond = inputs(new.config)
    known = None if after == "M6" or not old.config.classes else cond  # M6 reads tokens instead
    torch.testing.assert_close(new(x, t, cond), old(x, t, known), rtol=1e-5, atol=1e-5)


def test_a_fresh_network_answers_zero():
    x, t, _ = inputs(MILESTONES["M3"])
    assert (UNet(MILESTONES["M3"])(x, t) == 0).all()


@pytest.mark.parametrize("name", MILESTONES)
def test_every_parameter_learns(name):
    """No module is left out of the forward pass."""
    net = awake(UNet(MILESTONES[name]))
    x, t, cond = inputs(MILESTONES[name])
    net(x, t, cond).square().sum().backward()
    assert not [key for key, p in net.named_parameters() if p.grad is None or not p.grad.any()]


def test_time_is_felt_from_M2_on():
    for name, felt in (("M1", False), ("M2", True), ("M3", True)):
        net = awake(UNet(MILESTONES[name]))
        x, t, _ = inputs(MILESTONES[name])
        assert torch.equal(net(x, t), net(x, t + 3)) != felt


def test_receptive_field_grows_with_depth():
    """How far one pixel's change is felt: 6 convolutions reach 6 pixels, three resolutions see all of a digit."""
    reach = {}
    for name in ("M2", "M3"):
        net = awake(UNet(MILESTONES[name])).double()
        for module in net.modules():  # statistics over the whole picture would be felt everywhere
            if isinstance(module, torch.nn.GroupNorm):
                module.forward = lambda h: h
        x = torch.zeros(1, 1, 48, 48, dtype=torch.float64)
        y = x.clone()
        y[0, 0, 24, 24] = 1
        t = torch.tensor([500])
        net.time.forward = lambda t: torch.zeros(1, 128, dtype=torch.float64)
        felt = (net(y, t) - net(x, t))[0, 0].abs() > 0
        reach[name] = felt.any(0).sum().item()
    assert reach["M2"] == 2 * 6 + 1 and reach["M3"] >= 28, reach


@pytest.mark.parametrize("size", [4, 8, 28, 32, 44])
def test_any_size_the_depth_divides(size):
    net = UNet(MILESTONES["M3"])
    assert net(torch.zeros(1, 1, size, size + 4), torch.ones(1, dtype=torch.int64)).shape == (1, 1, size, size + 4)


def test_bad_inputs_are_told():
    net, t = UNet(MILESTONES["M3"]), torch.ones(1, dtype=torch.int64)
    with pytest.raises(ValueError, match=r"\(1, 1, 30, 28\).*divisible by 4"):
        net(torch.zeros(1, 1, 30, 28), t)
    with pytest.raises(ValueError, match=r"\(B, 1, H, W\)"):
        net(torch.zeros(1, 3, 28, 28), t)
    with pytest.raises(ValueError, match="no labels"):
        net(torch.zeros(1, 1, 28, 28), t, t)
    with pytest.raises(ValueError, match="vocab and attend go together"):
        UNetConfig(vocab=10)
    with pytest.raises(ValueError, match="depths below 1"):
        UNetConfig(vocab=10, attend=(1,))
    with pytest.raises(ValueError, match=r"cond is \(1, 3\); it must be \(B,\) or \(B, L\) with L up to 2"):
        UNet(MILESTONES["M6"])(torch.zeros(1, 1, 8, 8), t, torch.zeros(1, 3, dtype=torch.int64))
    with pytest.raises(ValueError, match="positive"):
        UNetConfig(widths=())
    with pytest.raises(ValueError, match="classes join the time embedding"):
        UNetConfig(classes=10)


def test_no_label_is_the_null_label():
    net = awake(UNet(MILESTONES["M5"]))
    x, t, _ = inputs(MILESTONES["M5"])
    assert torch.equal(net(x, t), net(x, t, torch.full((3,), net.null)))


def test_sinusoidal():
    e = sinusoidal(torch.arange(1001), 128)
    assert e.shape == (1001, 128) and torch.equal(e[0], torch.cat([torch.ones(64), torch.zeros(64)]))
    torch.testing.assert_close(e.norm(dim=1), torch.full((1001,), 8.0))
    near, far = (e[500] - e[501]).norm(), (e[500] - e[700]).norm()
    assert near < far / 3
    with pytest.raises(ValueError, match="width is 7"):
        sinusoidal(torch.arange(3), 7)


def test_res_block_is_born_the_identity():
    x = torch.randn(2, 32, 8, 8)
    assert torch.equal(ResBlock(32, 32, 16)(x, torch.randn(2, 16)), x)


class Oracle(torch.nn.Module):
    """A network that knows the one picture there is, and so the noise."""

    null = 0

    def __init__(self, x0, schedule, predict):
        super().__init__()
        self.x0, self.s, self.predict = x0, schedule, predict

    def forward(self, x, t, cond=None):
        from diffusion101.process import at, target

        eps = (x - at(self.s.signal, t, x) * self.x0) / at(self.s.noise, t, x)
        return target(self.predict, self.x0, t, eps, self.s)


@pytest.mark.parametrize("predict", ["eps", "x0", "v"])
@pytest.mark.parametrize("loss", LOSSES)
def test_loss_is_zero_for_an_oracle_only(predict, loss):
    s, x0 = schedules.linear(), torch.rand(8, 1, 4, 4) * 2 - 1
    good = Denoiser(Oracle(x0, s, predict), s, predict, loss)
    assert good.loss(x0).item() < 1e-6
    assert Denoiser(Oracle(-x0, s, predict), s, predict, loss).loss(x0).item() > 1e-3


def test_loss_draws_every_time_and_is_seeded():
    seen = []

    class Spy(torch.nn.Module):
        null = 0

        def forward(self, x, t, cond=None):
            seen.append(t)
            return x

    d = Denoiser(Spy(), schedules.linear(T=5))
    a, b = (d.loss(torch.zeros(500, 1, 2, 2), generator=torch.Generator().manual_seed(3)) for _ in range(2))
    assert a == b and set(seen[0].tolist()) == {1, 2, 3, 4, 5}


def test_denoiser_refuses():
    with pytest.raises(ValueError, match="predict is 'noise'; it must be one of eps, x0, v"):
        Denoiser(torch.nn.Identity(), schedules.linear(), "noise")
    with pytest.raises(ValueError, match="loss is 'l2'"):
        Denoiser(torch.nn.Identity(), schedules.linear(), "v", "l2")
