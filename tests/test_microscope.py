"""The trajectory microscope, with a small untrained network whose reference is quickly drawn."""

import pytest
import torch
from torch import nn

from diffusion101 import Denoiser, Request, UNet, UNetConfig, schedules
from diffusion101.core.process import q_sample
from diffusion101.core.samplers import full
from diffusion101.figures import microscope
from diffusion101.networks import Labels, Level

NAMES = ("ddpm", "ddim", "dpmpp_2m")


@pytest.fixture(scope="module")
def model():
    network = UNet(UNetConfig(levels=(Level(8),), time=8, condition=Labels(3)))
    generator = torch.Generator().manual_seed(0)
    for p in network.parameters():  # awake: what is born zero would hide the label
        nn.init.normal_(p, std=0.15, generator=generator)
    return Denoiser(network, schedules.cosine(T=24), "v").eval()


def asked(steps, **how):
    return Request(torch.tensor([2]), guidance=2.0, steps=steps, size=(8, 8), **how)


def test_steps_of_one_are_the_reference_itself(model):
    looks = microscope.look(model, asked(24))
    ddpm, ddim, _ = torch.tensor([now.rms() for now in looks]).T
    assert ddim.max() < 1e-4 and ddpm[:-1].min() > 1e-3, "only ddpm draws noise of its own"


def test_a_step_leads_from_look_to_look(model):
    looks = microscope.look(model, asked(6, spacing="log_snr"))
    assert [now.t for now in looks] + [0] == model.schedule.times(6, "log_snr") == [24, *(now.r for now in looks)]
    assert torch.equal(looks[0].x, looks[0].x[:1].expand(3, -1, -1, -1)), "all start from the same noise"
    for now, after in zip(looks, looks[1:]):
        ddim = q_sample(now.x0[1:2], full(now.x[:1], now.r), now.eps[1:2], model.schedule)
        torch.testing.assert_close(after.x[1:2], ddim, rtol=0, atol=1e-4)
        assert not torch.equal(after.x[1], after.x[2])


def test_the_push_is_what_guidance_adds(model):
    for now in microscope.look(model, asked(3, clip=False)):
        u, c = (model(now.x, full(now.x, now.t), torch.full((3,), label)).eps for label in (3, 2))
        torch.testing.assert_close(now.push, c - u, rtol=0, atol=1e-4)
        torch.testing.assert_close(now.eps, u + 2 * now.push, rtol=1e-3, atol=1e-3)


def test_the_figures(model, monkeypatch):
    looks, shown = microscope.look(model, asked(3), names=NAMES[1:]), {}
    monkeypatch.setattr(microscope.widgets, "explore", lambda draw, still, **sliders: shown.update(locals()))
    microscope.explore(looks, NAMES[1:])
    assert shown["sliders"] == {"step": (1, 3, 1, 1)} and repr(shown["still"]) == "<picture, 12 panels>"
    assert repr(shown["draw"](1)) == repr(shown["draw"](3)) == "<picture, 10 panels>"
    assert shown["draw"](1).png != shown["draw"](3).png


@pytest.mark.parametrize("cond", [None, torch.tensor([1, 2])])
def test_it_looks_at_one_picture(model, cond):
    with pytest.raises(ValueError, match="one picture with a condition"):
        microscope.look(model, Request(cond, size=(8, 8)))
