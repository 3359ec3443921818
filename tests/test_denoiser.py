"""The loss, and how a network's answer becomes a guess of x0 and eps."""

import pytest
import torch
from faraway import NoFloat64

from diffusion101 import schedules
from diffusion101.core.denoiser import LOSSES, Denoiser
from diffusion101.core.process import PREDICTIONS, WEIGHTS, at, draw_t, q_sample, target
from diffusion101.milestones import MILESTONES
from diffusion101.networks import UNet


class Oracle(torch.nn.Module):
    """A network that knows the one picture there is, and so the noise."""

    def __init__(self, x0, schedule, predict):
        super().__init__()
        self.x0, self.s, self.predict = x0, schedule, predict

    def forward(self, x, t, cond=None):
        eps = (x - at(self.s.signal, t, x) * self.x0) / at(self.s.noise, t, x)
        return target(self.predict, self.x0, t, eps, self.s)


class Constant(torch.nn.Module):
    def __init__(self, value):
        super().__init__()
        self.value = value

    def forward(self, x, t, cond=None):
        return torch.full_like(x, self.value)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize(
    "predict, weight", [(p, w) for p in PREDICTIONS for w in WEIGHTS if p == "v" or w != "min-snr-5"]
)
def test_loss_is_zero_for_an_oracle_only(predict, loss, weight):
    s, x0 = schedules.linear(), torch.rand(8, 1, 4, 4) * 2 - 1
    good = Denoiser(Oracle(x0, s, predict), s, predict, loss, weight)
    assert good.loss(x0).item() < 1e-6
    assert Denoiser(Oracle(-x0, s, predict), s, predict, loss, weight).loss(x0).item() > 1e-3


@pytest.mark.parametrize("loss, of_half, of_three", [("mse", 0.25, 9.0), ("l1", 0.5, 3.0), ("huber", 0.125, 2.5)])
def test_each_loss_is_what_its_name_says(loss, of_half, of_three):
    """Always wrong by 0.5, then by 3, where the three differ."""
    for value, expected in ((0.5, of_half), (-3.0, of_three)):
        model = Denoiser(Constant(value), schedules.linear(), "x0", loss)
        assert model.loss(torch.zeros(4, 1, 2, 2)).item() == pytest.approx(expected)


@pytest.mark.parametrize("weight", WEIGHTS)
def test_each_picture_counts_by_its_time(weight):
    s, x0 = schedules.cosine(), torch.zeros(50, 1, 2, 2)
    got = Denoiser(Constant(1.0), s, "v", weight=weight).loss(x0, generator=torch.Generator().manual_seed(4))
    g = torch.Generator().manual_seed(4)
    t, eps = draw_t(50, s, g), torch.randn(x0.shape, generator=g)
    each = (1 - target("v", x0, t, eps, s)).square().mean((1, 2, 3))
    torch.testing.assert_close(got, (each * WEIGHTS[weight](t, s)).mean())


@pytest.mark.parametrize("predict", PREDICTIONS)
def test_an_answer_becomes_a_guess(predict):
    s, x0 = schedules.cosine(), torch.rand(8, 1, 4, 4) * 2 - 1
    t, eps = torch.tensor([1, 5, 50, 200, 400, 600, 800, 950]), torch.randn(8, 1, 4, 4)
    guess = Denoiser(Oracle(x0, s, predict), s, predict)(q_sample(x0, t, eps, s), t)
    torch.testing.assert_close(guess.x0, x0, rtol=0, atol=1e-3)
    torch.testing.assert_close(guess.eps, eps, rtol=0, atol=1e-2)


def test_loss_draws_every_time_and_is_seeded():
    seen = []

    class Spy(torch.nn.Module):
        def forward(self, x, t, cond=None):
            seen.append(t)
            assert cond is None, "it has no condition"
            return x

    d = Denoiser(Spy(), schedules.linear(T=5))
    labels = torch.zeros(500)
    a, b = (d.loss(torch.zeros(500, 1, 2, 2), labels, torch.Generator().manual_seed(3)) for _ in range(2))
    assert a == b and set(seen[0].tolist()) == {1, 2, 3, 4, 5}


def test_the_network_is_told_the_condition():
    told = []

    class Spy(torch.nn.Module):
        config = MILESTONES["M5"]

        def forward(self, x, t, cond=None):
            told.append(cond)
            return x

    labels = torch.tensor([3, 10])
    Denoiser(Spy(), schedules.linear()).loss(torch.zeros(2, 1, 2, 2), labels)
    assert torch.equal(told[0], labels) and Denoiser(Spy(), schedules.linear()).condition == MILESTONES["M5"].condition


@pytest.mark.parametrize("name", ["M3", "M5", "M6"])
@pytest.mark.parametrize("predict", PREDICTIONS)
def test_a_step_of_training_neither_waits_for_the_device_nor_needs_float64(name, predict):
    """A meta tensor has no values: reading one is an error."""
    weight = "min-snr-5" if predict == "v" else "time"
    model = Denoiser(UNet(MILESTONES[name]).to("meta"), schedules.cosine(), predict, weight=weight)
    cond = model.condition.spread(2).to("meta") if model.condition else None
    with NoFloat64():
        model.loss(torch.zeros(2, 1, 8, 8, device="meta"), cond).backward()
    assert all(p.grad is not None for p in model.parameters())


def test_denoiser_refuses():
    s = schedules.linear()
    with pytest.raises(ValueError, match="predict is 'noise'; it must be one of eps, x0, v"):
        Denoiser(torch.nn.Identity(), s, "noise")
    with pytest.raises(ValueError, match="loss is 'l2'; it must be one of mse, l1, huber"):
        Denoiser(torch.nn.Identity(), s, "v", "l2")
    with pytest.raises(ValueError, match="weight is 'heavy'; it must be one of uniform, min-snr-5"):
        Denoiser(torch.nn.Identity(), s, "v", "mse", "heavy")
    with pytest.raises(ValueError, match="weight min-snr-5 is for errors in v, not in eps"):
        Denoiser(torch.nn.Identity(), s, "eps", "mse", "min-snr-5")


@pytest.mark.parametrize("predict", PREDICTIONS)
def test_the_losses_of_the_parts_of_a_batch_have_its_mean(predict):
    """Whatever part is asked for, t and noise are drawn for all: so processes that share a batch see the same."""
    s, x0 = schedules.cosine(), torch.randn(6, 1, 4, 4)

    class Echo(torch.nn.Module):
        config = MILESTONES["M5"]

        def forward(self, x, t, cond=None):
            return x * (1 + cond.view(-1, 1, 1, 1)) + t.view(-1, 1, 1, 1) / 1000

    model = Denoiser(Echo(), s, predict)

    def loss(part):
        return model.loss(x0, torch.arange(6), torch.Generator().manual_seed(4), part)

    parts = [loss(slice(i, i + 2)) for i in (0, 2, 4)]
    torch.testing.assert_close(torch.stack(parts).mean(), loss(slice(None)))
    assert len({part.item() for part in parts}) == 3
