"""The bound's terms against closed forms, and the learned variance from the loss to the sampler."""

import json
import math
from pathlib import Path

import mixture
import pytest
import torch
from faraway import NoFloat64
from torch.distributions import Normal, kl_divergence

from diffusion101 import Denoiser, guidance, samplers, schedules
from diffusion101.core import likelihood
from diffusion101.core.likelihood import bound, log_variances, normal_kl, pixel_log_likelihood
from diffusion101.core.process import Denoised, posterior, q_posterior, q_sample
from diffusion101.drawing import Request, draw
from diffusion101.networks import Labels, Level, UNet, UNetConfig

GOLDEN = json.loads((Path(__file__).parent / "golden" / "variance.json").read_text())


def test_kl_of_normal_distributions():
    mean1, log_var1, mean2, log_var2 = torch.randn(4, 200, dtype=torch.float64) * 2
    expected = kl_divergence(Normal(mean1, (log_var1 / 2).exp()), Normal(mean2, (log_var2 / 2).exp()))
    torch.testing.assert_close(normal_kl(mean1, log_var1, mean2, log_var2), expected)
    assert (normal_kl(mean1, log_var1, mean1, log_var1) == 0).all()


PIXELS = torch.arange(256) / 127.5 - 1


@pytest.mark.parametrize("mean", [-3.0, -1.0, -0.3, 0.001, 0.999, 1.5])
@pytest.mark.parametrize("log_var", [-20.0, -8.0, -2.0, 3.0])
def test_the_256_values_share_one_probability(mean, log_var):
    shares = pixel_log_likelihood(PIXELS, torch.tensor(mean), torch.tensor(log_var)).exp()
    assert shares.sum().item() == pytest.approx(1, abs=1e-5)
    if log_var < -5:
        assert (PIXELS[shares.argmax()] - mean).abs() <= (PIXELS - mean).abs().min() + 1e-6, "the likeliest is near"


def test_a_pixels_probability_is_the_area_over_it():
    """Also far out, where in float32 the two areas whose difference it is can hardly be told apart."""
    mean, scale = torch.tensor(-0.4), 0.2
    exact = Normal(mean.double(), scale)
    for i in (1, 60, 120, 180, 210):
        high, low = (exact.cdf(2 * mean.double() - PIXELS[i].double() - edge / 255) for edge in (-1, 1))
        got = pixel_log_likelihood(PIXELS[i], mean, torch.tensor(2 * math.log(scale))).exp()
        assert got.item() == pytest.approx((high - low).item(), rel=1e-3)


@pytest.mark.parametrize("kind", schedules.KINDS)
def test_the_two_variances(kind):
    """The posterior's and beta, as elsewhere in the package; at t = 1 the posterior's of t = 2."""
    s, t = schedules.make(kind), torch.arange(1, 1001)
    x = torch.zeros(1000, 1)
    small, large = log_variances(t, s, x)
    variance = q_posterior(x, x, t, t - 1, s)[1]
    torch.testing.assert_close(small[1:].exp(), variance[1:], rtol=1e-4, atol=0)
    torch.testing.assert_close(large.exp().flatten(), s.beta[1:])
    assert small[0] == small[1] and (small <= large + 1e-5).all()
    with pytest.raises(ValueError, match="at least T = 2 steps"):
        log_variances(t[:1], schedules.make(kind, T=1), x[:1])


def case(t: int, n: int = 4):
    s, x0, eps = schedules.cosine(), PIXELS[torch.randint(256, (n, 3, 4, 4))], torch.randn(n, 3, 4, 4)
    times = torch.full((n,), t)
    return s, x0, q_sample(x0, times, eps, s), times


@pytest.mark.parametrize("t", [2, 30, 500, 900])
def test_who_knows_the_picture_needs_no_bits(t):
    s, x0, x, times = case(t)
    right, wrong = (Denoised(x0 + error, x).sharing(torch.zeros_like(x)) for error in (0, 0.9))
    assert (bound(x0, x, times, right, s) == 0).all() and (bound(x0, x, times, wrong, s) > 0).all()
    wide = Denoised(x0, x).sharing(torch.ones_like(x))
    assert (bound(x0, x, times, wide, s) >= 0).all()


def test_a_term_is_the_kl_of_the_posterior():
    s, x0, x, t = case(300)
    guess = Denoised(torch.rand_like(x0), x).sharing(torch.rand_like(x))
    mean, variance = q_posterior(x0, x, t, t - 1, s)
    ours, _ = q_posterior(guess.x0, x, t, t - 1, s)
    width = (guess.share * s.beta[300].log() + (1 - guess.share) * variance.log()).exp()
    nats = kl_divergence(Normal(mean, variance.sqrt()), Normal(ours, width.sqrt()))
    torch.testing.assert_close(bound(x0, x, t, guess, s), nats.mean((1, 2, 3)) / math.log(2), rtol=1e-3, atol=1e-6)


def test_the_last_term_is_the_likelihood_of_the_pixels():
    """A certain and right guess costs next to nothing, no knowledge eight bits a pixel or more."""
    s, x0, x, t = case(1)
    assert (bound(x0, x, t, Denoised(x0, x).sharing(torch.zeros_like(x)), s) < 1).all()
    assert (bound(x0, x, t, Denoised(torch.zeros_like(x), x).sharing(torch.ones_like(x)), s) > 8).all()


def test_the_bound_is_lowest_at_the_true_variance():
    """Normal data: the variance of x_{t-1} given x_t is known, and there the derivative by the share is 0."""
    s, t, spread, n = schedules.linear(), 60, 0.5, 200_000
    x0 = torch.randn(n, 1) * spread
    times = torch.full((n,), t)
    x = q_sample(x0, times, torch.randn(n, 1), s)
    a_t, a_r = s.exact[t].item(), s.exact[t - 1].item()
    of_x0, _, small = posterior(a_t, a_r)
    left = 1 / (1 / spread**2 + a_t / (1 - a_t))  # the variance of x0 given x_t
    true = small + of_x0**2 * left
    best = math.log(true / small) / math.log((1 - a_t / a_r) / small)
    assert 0 < best < 1
    guess = Denoised(left * a_t**0.5 / (1 - a_t) * x, x)
    slopes = []
    for share in (best - 0.2, best, best + 0.2):
        share = torch.tensor(share, requires_grad=True)
        bound(x0, x, times, guess.sharing(share.expand(n, 1)), s).mean().backward()
        slopes.append(share.grad.item())
    assert slopes[0] < 0 < slopes[2] and abs(slopes[1]) < 0.1 * min(-slopes[0], slopes[2])


class Both(torch.nn.Module):
    """A network whose two answers are two numbers."""

    def __init__(self):
        super().__init__()
        self.guess, self.share = (torch.nn.Parameter(torch.tensor(value)) for value in (0.3, -0.5))

    def forward(self, x, t, cond=None):
        return torch.cat([self.guess * torch.ones_like(x), self.share * torch.ones_like(x)], dim=1)


def test_the_hybrid_loss_teaches_the_guess_as_the_plain_one_does():
    """L_simple + 0.001 L_vlb, where L_vlb has T terms and no gradient for the guess."""
    s, x0, network = schedules.cosine(T=100), PIXELS[torch.randint(256, (64, 3, 4, 4))], Both()
    seen = {}
    for name, net in {"both": network, "plain": First(network)}.items():
        network.zero_grad()
        loss = Denoiser(net, s, "x0").loss(x0, generator=torch.Generator().manual_seed(1))
        loss.backward()
        seen[name] = loss.item(), network.guess.grad.item(), network.share.grad.item()
    assert seen["both"][1] == pytest.approx(seen["plain"][1]) and seen["both"][2] != 0 == seen["plain"][2]
    g = torch.Generator().manual_seed(1)
    t, eps = torch.randint(1, 101, (64,), generator=g), torch.randn(x0.shape, generator=g)
    x = q_sample(x0, t, eps, s)
    terms = bound(x0, x, t, Denoised(torch.full_like(x, 0.3), x).sharing(torch.full_like(x, 0.25)), s)
    assert seen["both"][0] == pytest.approx(seen["plain"][0] + 0.001 * 100 * terms.mean().item(), rel=1e-5)


class First(torch.nn.Module):
    """The first answer of a network that gives two."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, x, t, cond=None):
        return self.network(x, t, cond).chunk(2, dim=1)[0]


def test_two_answers_are_a_guess_and_a_share():
    s, x, t = schedules.cosine(), torch.randn(2, 3, 4, 4), torch.tensor([5, 900])
    guess = Denoiser(Both(), s, "x0")(x, t)
    x0, eps = guess  # still a pair
    assert (x0 == 0.3).all() and (guess.share == 0.25).all() and eps.shape == x.shape == guess.share.shape
    assert Denoiser(First(Both()), s, "x0")(x, t).share is None is Denoised(x, x).share


def test_a_step_of_training_neither_waits_for_the_device_nor_needs_float64():
    config = UNetConfig((Level(16),), channels=3, time=16, condition=Labels(10), answers=2)
    model = Denoiser(UNet(config).to("meta"), schedules.cosine(), "v")
    with NoFloat64():
        model.loss(torch.zeros(2, 3, 8, 8, device="meta"), torch.zeros(2, dtype=torch.int64, device="meta")).backward()
    assert all(p.grad is not None for p in model.parameters())


def test_every_share_of_a_drawing_reaches_the_sampler(monkeypatch):
    """Through guidance, clipping, and calls in parts; of the two that guidance asks, the condition's."""
    seen, real = [], samplers.ancestral
    monkeypatch.setattr(samplers, "draw_noise", lambda x, generator=None: torch.ones_like(x))

    class Told(torch.nn.Module):
        config = UNetConfig((Level(16),), channels=1, time=16, condition=Labels(9), answers=2)
        check = UNet.check

        def forward(self, x, t, cond):
            self.asked = getattr(self, "asked", 0) + 1
            share = cond.view(-1, 1, 1, 1) / 4.5 - 1  # label 9, the empty one, is the share 1
            return torch.cat([torch.zeros_like(x), share.expand_as(x)], dim=1)

    network = Told()
    network.weight = torch.nn.Parameter(torch.zeros(1))
    monkeypatch.setattr("diffusion101.drawing.PIXELS_AT_ONCE", 2 * 16)

    def spy(denoise, x, s, t, r, *rest):
        seen.append(denoise(x, torch.full((len(x),), t)).share)
        return real(denoise, x, s, t, r, *rest)

    monkeypatch.setattr(samplers, "ancestral", spy)
    request = Request(torch.tensor([0, 3, 6]), guidance=2.0, sampler="ddpm", steps=2, size=(4, 4))
    for _ in draw(Denoiser(network, schedules.cosine(), "x0"), request):
        pass
    for share in seen:
        torch.testing.assert_close(share[:, 0, 0, 0], torch.tensor([0, 3, 6]) / 9)
    assert len(seen) == 2 and network.asked > 2


@pytest.mark.parametrize("share, variance", [(0.0, "posterior"), (1.0, "beta")])
def test_at_its_ends_the_learned_variance_is_a_known_one(share, variance):
    s, x = schedules.cosine(), torch.randn(50, 2)
    exact = mixture.exact(s)
    paths = [
        samplers.ddpm(denoise, x, s, 20, torch.Generator().manual_seed(3), variance)
        for denoise in (exact, lambda x, t: exact(x, t).sharing(torch.full_like(x, share)))
    ]
    for a, b in zip(*paths):
        torch.testing.assert_close(a.x, b.x, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("schedule", GOLDEN["cases"])
def test_every_step_equals_diffusers(schedule):
    """Their "learned_range", with all T steps; frozen by golden/make_variance.py."""
    s = schedules.make(schedule, T=GOLDEN["T"])

    def denoise(x, t):
        share = (torch.sin(2 * x) + 1) / 2
        x0 = torch.cos(x) * 0.5 + x * t.view(-1, 1) / 200
        return Denoised(x0, x).sharing(share)

    x = torch.tensor(GOLDEN["start"], dtype=torch.float64).view(-1, 1)
    path = samplers.ddpm(denoise, x, s, generator=torch.Generator().manual_seed(0))
    for step, theirs in zip(path, GOLDEN["cases"][schedule], strict=True):
        torch.testing.assert_close(step.x.flatten(), torch.tensor(theirs, dtype=torch.float64), rtol=1e-4, atol=1e-5)


def test_guidance_moves_means_and_no_variances():
    class Model:
        condition = Labels(10)

        def __call__(self, x, t, cond):
            return Denoised(x, x).sharing(cond.view(-1, 1) / 10 * torch.ones_like(x))

    guess = guidance.guide(Model(), torch.tensor([4]), 3.0)(torch.zeros(1, 2), torch.ones(1, dtype=torch.int64))
    assert (guess.share == 0.4).all()
    clipped = guidance.clip(lambda x, t: guess, schedules.cosine())(torch.zeros(1, 2), torch.ones(1, dtype=torch.int64))
    assert (clipped.share == 0.4).all() and likelihood.HYBRID == 0.001
