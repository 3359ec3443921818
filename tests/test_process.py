import pytest
import torch

from diffusion101 import process, schedules
from diffusion101.core.process import PREDICTIONS, WEIGHTS, draw_t, posterior, q_posterior, q_sample, target

KINDS = ["linear", "cosine"]


def draw(shape=(6, 1, 4, 4), seed=0):
    g = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=g), torch.randn(shape, generator=g)


@pytest.mark.parametrize("kind", KINDS)
def test_q_sample_ends(kind):
    s = schedules.make(kind)
    x0, eps = draw()
    assert torch.equal(q_sample(x0, torch.zeros(6, dtype=torch.int64), eps, s), x0)
    T = torch.full((6,), s.T)
    assert (q_sample(x0, T, eps, s) - eps).abs().max() < 0.05


@pytest.mark.parametrize("kind", KINDS)
def test_one_jump_is_many_steps(kind):
    """Adding beta_t noise step by step has the mean and variance that q_sample has at once."""
    s = schedules.make(kind, T=50)
    x = torch.full((200_000,), 0.7)
    g = torch.Generator().manual_seed(1)
    for t in range(1, 31):
        x = (1 - s.beta[t]).sqrt() * x + s.beta[t].sqrt() * torch.randn(x.shape, generator=g)
    assert x.mean() == pytest.approx(0.7 * s.signal[30].item(), abs=0.01)
    assert x.std() == pytest.approx(s.noise[30].item(), rel=0.01)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("predict", PREDICTIONS)
@pytest.mark.parametrize("t", [1, 2, 10, 500, 990, 998])
def test_prediction_round_trip(kind, predict, t):
    s = schedules.make(kind)
    x0, eps = (tensor.double() for tensor in draw())
    t = torch.full((6,), t)
    x = q_sample(x0, t, eps, s)
    back = PREDICTIONS[predict].denoised(target(predict, x0, t, eps, s), x, t, s)
    # float32 tables: signal² + noise² = 1 holds to 1e-7, and dividing by the smaller one magnifies that
    worst = {"eps": 1 / s.signal[t[0]], "x0": 1 / s.noise[t[0]], "v": torch.tensor(1.0)}[predict].item()
    torch.testing.assert_close(back.x0, x0, rtol=0, atol=1e-6 * worst)
    torch.testing.assert_close(back.eps, eps, rtol=0, atol=1e-6 * worst)
    assert torch.equal(PREDICTIONS[predict].inputs(x, t, s), x), "x is shown to the network as it is"


def test_the_targets_are_what_their_names_say():
    s = schedules.cosine()
    x0, eps = draw()
    t = torch.full((6,), 300)
    assert target("eps", x0, t, eps, s) is eps and target("x0", x0, t, eps, s) is x0
    torch.testing.assert_close(target("v", x0, t, eps, s), s.signal[300] * eps - s.noise[300] * x0)


def test_v_alone_survives_the_far_end():
    """At T the cosine schedule leaves a signal of 5e-5: in float32 eps cannot give x0 back, v can."""
    s = schedules.cosine()
    x0, eps = draw()
    t = torch.full((6,), s.T)
    x = q_sample(x0, t, eps, s)
    wrong = 1e-3  # a network's error
    by_v = PREDICTIONS["v"].denoised(target("v", x0, t, eps, s) + wrong, x, t, s).x0
    by_eps = PREDICTIONS["eps"].denoised(eps + wrong, x, t, s).x0
    assert (by_v - x0).abs().max() < 2e-3 and (by_eps - x0).abs().max() > 1


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("t, r", [(1, 0), (2, 1), (500, 499), (1000, 999), (1000, 0), (700, 300), (2, 0)])
def test_posterior_is_bayes(kind, t, r):
    """q(x_r | x_t, x_0) from the product of the two normal densities q(x_t | x_r) q(x_r | x_0)."""
    s = schedules.make(kind)
    x0, x = draw((4, 3))
    mean, variance = q_posterior(x0, x, torch.full((4,), t), torch.full((4,), r), s)
    a_t, a_r = s.exact[t], s.exact[r]
    if r == 0:
        assert (variance == 0).all()
        torch.testing.assert_close(mean, x0)
        return
    ratio, beta = a_t / a_r, 1 - a_t / a_r
    precision = ratio / beta + 1 / (1 - a_r)
    expected = (ratio.sqrt() * x.double() / beta + a_r.sqrt() * x0.double() / (1 - a_r)) / precision
    torch.testing.assert_close(mean.double(), expected, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(variance.double(), (1 / precision).expand(4, 1), rtol=1e-4, atol=0)
    of_x0, of_x, var = posterior(a_t.item(), a_r.item())  # Python's numbers, as samplers use them
    torch.testing.assert_close(of_x0 * x0 + of_x * x, mean, rtol=1e-4, atol=1e-6)
    assert isinstance(var, float) and var == pytest.approx((1 / precision).item())


def test_posterior_takes_a_time_for_each_picture():
    s = schedules.linear()
    x0, x = draw((3, 2))
    t, r = torch.tensor([900, 10, 2]), torch.tensor([1, 9, 0])
    mean, variance = q_posterior(x0, x, t, r, s)
    for i in range(3):
        alone = q_posterior(x0[i : i + 1], x[i : i + 1], t[i : i + 1], r[i : i + 1], s)
        torch.testing.assert_close((mean[i : i + 1], variance[i : i + 1]), alone)


def test_posterior_refuses_going_forward():
    with pytest.raises(ValueError, match="smaller"):
        q_posterior(*draw((2, 3)), torch.tensor([5, 5]), torch.tensor([4, 5]), schedules.linear())


def test_times_are_drawn_evenly_from_1_to_T():
    t = draw_t(60_000, schedules.linear(T=6), torch.Generator().manual_seed(0))
    assert t.dtype == torch.int64
    shares = t.bincount(minlength=8) / len(t)
    assert shares[0] == shares[7] == 0 and (shares[1:7] - 1 / 6).abs().max() < 0.006
    assert torch.equal(t, draw_t(60_000, schedules.linear(T=6), torch.Generator().manual_seed(0)))


def test_weights():
    s, t = schedules.cosine(), torch.tensor([1, 300, 500, 900, 1000])
    assert torch.equal(WEIGHTS["uniform"](t, s), torch.ones(5))
    snr = s.snr[t]
    expected = torch.minimum(snr, torch.tensor(5.0)) / (snr + 1)
    torch.testing.assert_close(WEIGHTS["min-snr-5"](t, s), expected)
    assert WEIGHTS["min-snr-5"](t, s)[0] < 1e-3, "nearly clean pictures hardly count"
    every = torch.arange(1, s.T + 1)
    assert WEIGHTS["time"](every, s).mean() == pytest.approx(1, abs=2 / s.T) and WEIGHTS["time"](every, s)[-1] == 2


def test_at_shapes():
    s = schedules.linear(T=10)
    for shape in ((3, 2), (3, 1, 4, 4)):
        ones = (1,) * (len(shape) - 1)
        assert process.at(s.signal, torch.tensor([0, 5, 10]), torch.zeros(shape)).shape == (3, *ones)
