"""Samplers against a mixture whose exact denoiser is known, then against diffusers' frozen answers."""

import json
from functools import partial
from pathlib import Path

import mixture
import pytest
import torch
from faraway import NoFloat64

from diffusion101 import guidance, samplers, schedules
from diffusion101.core.process import Denoised, from_eps
from diffusion101.networks import Labels, Tokens

GOLDEN = json.loads((Path(__file__).parent / "golden" / "schedules.json").read_text())
KINDS = ["linear", "cosine"]
SAMPLERS = {
    "ddpm-beta": partial(samplers.ddpm, variance="beta"),
    "ddim-half": partial(samplers.ddim, eta=0.5),
    "dpmpp_2m-half": partial(samplers.dpmpp_2m, eta=0.5),
    **samplers.SAMPLERS,
}
# largest errors allowed in (share, centre, width) of the modes: about twice what 4,000 samples showed,
# of which 0.01, 0.01 and 0.05 are there between two sets of real samples
ALLOWED = {20: (0.05, 0.1, 0.75), 250: (0.03, 0.03, 0.15)}


def run(sampler, kind, steps, n=4000):
    s = schedules.make(kind)
    x = torch.randn(n, 2, generator=torch.Generator().manual_seed(0))
    return list(SAMPLERS[sampler](mixture.exact(s), x, s, steps=steps, generator=torch.Generator().manual_seed(1)))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("steps", ALLOWED)
def test_exact_denoiser_gives_the_mixture(sampler, kind, steps):
    path = run(sampler, kind, steps)
    assert len(path) == steps and path[-1].t == 0
    miss = mixture.miss(path[-1].x)
    for (what, value), most in zip(miss.items(), ALLOWED[steps]):
        assert value < most, f"{what} is off by {value:.3f}"


def test_the_oracle_can_fail():
    """Samples of a slightly wrong mixture do not pass: one centre moved by a third of a mode's width."""
    x = mixture.draw(4000)
    x[x[:, 0] < 0] += 0.05
    assert mixture.miss(x)["centre"] > ALLOWED[250][1]


@pytest.mark.parametrize("kind", KINDS)
def test_ddim_with_eta_1_is_ddpm(kind):
    s = schedules.make(kind, T=100)
    x = torch.randn(16, 2, generator=torch.Generator().manual_seed(0))
    paths = [
        f(mixture.exact(s), x, s, steps=20, generator=torch.Generator().manual_seed(5), **extra)
        for f, extra in ((samplers.ddpm, {}), (samplers.ddim, {"eta": 1.0}))
    ]
    for a, b in zip(*paths):
        torch.testing.assert_close(a.x, b.x, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("case", GOLDEN["samples"], ids=lambda c: f"{c['schedule']}-{c['sampler']}-{c['steps']}")
def test_equals_diffusers(case):
    s = schedules.make(case["schedule"])

    def denoise(x, t):
        return from_eps(torch.sin(3 * x) * 0.5 + x * t.view(-1, 1) / 1000, x, t, s)

    x = torch.linspace(-2, 2, 8, dtype=torch.float64).view(8, 1)
    *_, last = samplers.SAMPLERS[case["sampler"]](denoise, x, s, steps=case["steps"])
    torch.testing.assert_close(last.x.flatten(), torch.tensor(case["x"], dtype=torch.float64), rtol=1e-3, atol=1e-3)


def test_one_seed_one_picture():
    a, b = (run("ddpm", "cosine", 20, n=10)[-1].x for _ in range(2))
    assert torch.equal(a, b)


@pytest.mark.parametrize("sampler", samplers.SAMPLERS)
def test_the_caller_keeps_its_gradients(sampler):
    """A generator must not leak no_grad between its steps."""
    s = schedules.linear(T=10)
    for step in samplers.SAMPLERS[sampler](mixture.exact(s), torch.randn(2, 2), s, steps=3):
        assert torch.is_grad_enabled() and not step.x.requires_grad


@pytest.mark.parametrize("sampler", samplers.SAMPLERS)
def test_no_float64_on_the_device_and_no_waiting_for_it(sampler):
    """mps knows no float64, and CUDA waits whenever a value is read; a meta tensor has no value to read."""
    s, x = schedules.cosine(), torch.randn(2, 3, device="meta")

    def denoise(x, t):
        assert t.device == x.device and t.dtype == torch.int64
        return from_eps(0.1 * x, x, t, s)

    with NoFloat64():
        steps = list(samplers.SAMPLERS[sampler](guidance.clip(denoise, s), x, s, steps=5))
    assert steps[-1].x.device.type == "meta" and steps[-1].x.dtype == torch.float32


def test_noise_comes_from_the_generators_device():
    """A CPU generator beside a model elsewhere: the same picture as on the CPU."""
    s = schedules.linear()
    steps = samplers.ddpm(lambda x, t: Denoised(x, x), torch.zeros(2, 3, device="meta"), s, 2, torch.Generator())
    assert next(steps).x.device.type == "meta"


@pytest.mark.parametrize("name, noisy", [("ddpm", True), ("ddim", False), ("dpmpp_2m", False), ("dpmpp_2m_sde", True)])
def test_who_adds_fresh_noise(name, noisy):
    """A denoiser that says 0 leaves only the first noise, shrunk, or fresh noise beside it; the last step adds none."""
    s, x = schedules.linear(), torch.ones(1000, 1)
    *_, before, last = samplers.SAMPLERS[name](lambda x, t: Denoised(0 * x, 0 * x), x, s, steps=3)
    assert (before.x.std() > 0.1) == noisy and (last.x == 0).all()


def test_the_larger_variance_too_adds_none_in_the_last_step():
    s, x = schedules.linear(), torch.ones(1000, 1)
    *_, before, last = samplers.ddpm(lambda x, t: Denoised(0 * x, 0 * x), x, s, steps=3, variance="beta")
    assert before.x.std() > 0.1 and (last.x == 0).all()


def test_what_a_step_tells():
    s = schedules.cosine()
    path = run("dpmpp_2m", "cosine", 7, n=3)
    assert [step.t for step in path] == s.times(7)[1:]
    assert torch.equal(path[-1].x, path[-1].x0), "the last step ends on its guess"


def test_refuses():
    s = schedules.linear()
    for bad in (dict(steps=0), dict(steps=1001)):
        with pytest.raises(ValueError, match="steps"):
            next(samplers.ddim(mixture.exact(s), torch.randn(2, 2), s, **bad))
    for eta in (1.5, -0.1, float("nan")):
        with pytest.raises(ValueError, match=f"eta is {eta}"):
            next(samplers.ddim(mixture.exact(s), torch.randn(2, 2), s, eta=eta))
        with pytest.raises(ValueError, match=f"eta is {eta}"):
            next(samplers.dpmpp_2m(mixture.exact(s), torch.randn(2, 2), s, eta=eta))
    with pytest.raises(ValueError, match="'posterior' or 'beta'"):
        next(samplers.ddpm(mixture.exact(s), torch.randn(2, 2), s, variance="large"))


class Two:
    """A model that answers with its condition, and counts its calls."""

    condition, calls = Labels(9), 0

    def __call__(self, x, t, cond):
        self.calls += 1
        return Denoised(cond.view(-1, 1) * torch.ones_like(x), x - cond.view(-1, 1))


@pytest.mark.parametrize("scale, expected", [(0, 9), (1, 3), (2, -3), (0.5, 6)])
def test_guide(scale, expected):
    model, x = Two(), torch.zeros(4, 2)
    answer = guidance.guide(model, torch.full((4,), 3), scale)(x, torch.full((4,), 1))
    assert model.calls == 1 and (answer.x0 == expected).all() and (answer.eps == -expected).all()


def test_guidance_in_an_interval_asks_one_of_the_two():
    asked = {"guided": Two(), "plain": Two()}
    denoise = guidance.interval(*(guidance.guide(model, torch.tensor([3]), 1) for model in asked.values()), 200, 700)
    for t in (1000, 701, 700, 201, 200, 1):
        denoise(torch.zeros(1, 2), torch.tensor([t]))
    assert asked["guided"].calls == 2 and asked["plain"].calls == 4


def test_guide_empties_whole_prompts():
    """The half that compares is told nothing at all; a short prompt is filled up."""
    told = []

    class Model:
        condition = Tokens(10, 2)

        def __call__(self, x, t, cond):
            told.append(cond)
            return Denoised(x, x)

    guidance.guide(Model(), torch.tensor([[3, 4]]), 2.0)(torch.zeros(1, 2), torch.ones(1, dtype=torch.int64))
    guidance.guide(Model(), torch.tensor([7]), 2.0)(torch.zeros(1, 2), torch.ones(1, dtype=torch.int64))
    assert [cond.tolist() for cond in told] == [[[10, 10], [3, 4]], [[10, 10], [7, 10]]]


@pytest.mark.parametrize("scale", [float("nan"), float("inf")])
def test_guide_refuses(scale):
    with pytest.raises(ValueError, match="finite"):
        guidance.guide(Two(), torch.zeros(1), scale)


def test_clip_keeps_x():
    s = schedules.cosine()
    x, t = torch.randn(5, 2) * 3, torch.full((5,), 600)
    x0, eps = guidance.clip(lambda x, t: Denoised(5 * x, x), s)(x, t)
    assert torch.equal(x0, (5 * x).clamp(-1, 1)) and x0.abs().max() == 1
    torch.testing.assert_close(s.signal[600] * x0 + s.noise[600] * eps, x)
    low, _ = guidance.clip(lambda x, t: Denoised(5 * x, x), s, 0.0, 0.5)(x, t)
    assert low.min() == 0 and low.max() == 0.5
