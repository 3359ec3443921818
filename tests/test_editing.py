"""Inversion, interpolation and inpainting, on data whose exact answers are known."""

import mixture
import pytest
import torch

from diffusion101 import editing, samplers, schedules
from diffusion101.core.process import from_x0


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("spacing", [name for name in schedules.SPACINGS if name != "karras_cut"])  # leaps at the data
@pytest.mark.parametrize("kind", schedules.KINDS)
def test_inverted_and_drawn_again_is_the_same_picture(kind, spacing):
    s, x0 = schedules.make(kind), mixture.draw(500)
    misses = []
    for steps in (20, 200):
        way = list(editing.invert(mixture.exact(s), x0, s, steps, spacing))
        assert [step.t for step in way] == s.times(steps, spacing)[-2::-1]
        *_, back = samplers.ddim(mixture.exact(s), way[-1].x, s, steps, spacing=spacing)
        misses.append((back.x - x0).square().mean().sqrt().item())
    assert misses[1] < 0.04 and misses[1] < misses[0] / 3, "ten times the steps"
    assert abs(way[-1].x.std() - 1) < 0.07 and way[-1].x.mean().abs() < 0.07, "what is found is standard normal noise"


def test_arcs_keep_the_length_of_noise():
    a, b = normal(8, 3, 32, 32, seed=1), normal(8, 3, 32, 32, seed=2)
    torch.testing.assert_close(editing.slerp(a, b, 0.0), a)
    torch.testing.assert_close(editing.slerp(a, b, 1.0), b)
    half = editing.slerp(a, b, 0.5)
    assert abs(half.std() - 1) < 0.01 and ((a + b) / 2).std() < 0.73
    shares = torch.linspace(0, 1, 8)
    each = editing.slerp(a, b, shares)
    for i, share in enumerate(shares):
        torch.testing.assert_close(each[i], editing.slerp(a, b, share.item())[i])


def test_arcs_turn_evenly():
    a, b = torch.tensor([[2.0, 0.0]]), torch.tensor([[0.0, 2.0]])
    angle = torch.linspace(0, torch.pi / 2, 7)
    circle = 2 * torch.stack([angle.cos(), angle.sin()], 1)
    torch.testing.assert_close(editing.slerp(a.expand(7, 2), b.expand(7, 2), torch.linspace(0, 1, 7)), circle)


def test_arcs_between_the_same_and_between_opposite_noises_are_finite():
    a = normal(4, 9)
    torch.testing.assert_close(editing.slerp(a, a, 0.3), a)
    torch.testing.assert_close(editing.slerp(a, -a, 0.25), a / 2)


N, LEFT = 2000, torch.tensor([True, False])  # in the plane the first coordinate is known


def fill(denoise, value, seed=0, **options):
    """The second coordinate (N,), drawn beside a first of this value, which is kept to the bit."""
    g = torch.Generator().manual_seed(seed)
    known = torch.tensor([value, float("nan")]).expand(N, 2)  # what is not to be kept is not looked at
    *_, last = editing.inpaint(
        denoise, normal(N, 2, seed=seed), schedules.cosine(), known, LEFT, **{"steps": 50, "generator": g} | options
    )
    assert last.t == 0 and (last.x[:, 0] == known[0, 0]).all()
    return last.x[:, 1]


def upper(value: float) -> float:
    """The mixture's share of points above 0 among those whose first coordinate is this."""
    odds = mixture.WEIGHTS * torch.exp(-((value - mixture.MEANS[:, 0]) ** 2) / (2 * mixture.STD**2))
    return (odds[1] / odds.sum()).item()


def test_resampling_brings_inpainting_to_the_conditional_distribution():
    """Two modes fit to a first coordinate of 0.6: shares 0.6 and 0.4, of which 2,000 points know 0.011."""
    denoise = mixture.exact(schedules.cosine())
    once, often = (fill(denoise, 0.6, resample=resample) for resample in (1, 10))
    miss_once, miss_often = ((y > 0).float().mean().item() - upper(0.6) for y in (once, often))
    assert abs(miss_often) < 0.033 < 0.06 < abs(miss_once)
    above, below = often[often > 0], often[often < 0]
    for y, mean in ((above, 0.6), (below, -0.7)):
        assert abs(y.mean() - mean) < 0.04 and 0.08 < y.std() < 0.17


def test_inpainting_beside_a_correlated_coordinate():
    """Of a normal with correlation 0.8 and variance 1/4 the conditional mean is 0.8 times what is known."""
    s, C = schedules.cosine(), torch.tensor([[0.25, 0.2], [0.2, 0.25]])

    def denoise(x, t):
        signal, noise = s.signal[t[0]], s.noise[t[0]]
        return from_x0(x @ torch.linalg.solve(signal**2 * C + noise**2 * torch.eye(2), signal * C), x, t, s)

    once, some, often = (fill(denoise, 0.6, resample=resample).mean().item() for resample in (1, 3, 10))
    assert once < 0.33 < 0.38 < some < often and abs(often - 0.8 * 0.6) < 0.06


def test_what_resampling_cannot_mend():
    """At the edge of a mode, 0.3, a share of 0.09 is right; the early choice stays, and 0.4 of the points lie there."""
    share = (fill(mixture.exact(schedules.cosine()), 0.3, resample=5) > 0).float().mean().item()
    assert upper(0.3) < 0.1 and 0.3 < share < 0.5


@pytest.mark.parametrize("resample, jump, calls", [(1, 1, 12), (4, 1, 45), (3, 4, 28), (3, 5, 32), (9, 12, 12)])
def test_the_way_of_inpainting(resample, jump, calls):
    """Down `jump` steps, up again, so often; the last stretch, however short, is gone once."""
    s = schedules.linear()
    asked = []

    def denoise(x, t):
        asked.append(t[0].item())
        return mixture.exact(s)(x, t)

    options = dict(steps=12, resample=resample, jump=jump, spacing="karras", generator=torch.Generator())
    way = list(editing.inpaint(denoise, normal(3, 2), s, torch.zeros(3, 2), torch.tensor([[1], [0], [1]]), **options))
    times = s.times(12, "karras")
    assert len(asked) == len(way) == calls and set(asked) == set(times[:-1])
    assert asked[: resample * jump][::jump] == [1000] * min(resample, len(asked[: resample * jump][::jump]))
    for time, step in zip(asked, way):
        assert step.t == times[times.index(time) + 1]
    assert (way[-1].x[[0, 2]] == 0).all() and (way[-1].x[1] != 0).all(), "a mask may hold for whole pictures"


def test_the_caller_keeps_its_gradients():
    s = schedules.linear(T=10)
    x, denoise = normal(2, 2), mixture.exact(s)
    for steps in (editing.invert(denoise, x, s, 3), editing.inpaint(denoise, x, s, x, LEFT, 3, 2)):
        for step in steps:
            assert torch.is_grad_enabled() and not step.x.requires_grad


def test_refuses():
    s, x = schedules.linear(), normal(2, 2)
    denoise = mixture.exact(s)
    for bad in (dict(resample=0), dict(jump=0), dict(resample=2.5), dict(jump=True)):
        with pytest.raises(ValueError, match=f"{next(iter(bad))} is .*; it must be a whole number of at least 1"):
            next(editing.inpaint(denoise, x, s, x, LEFT, **bad))
    with pytest.raises(ValueError, match="from 1 to T = 1000"):
        next(editing.invert(denoise, x, s, 0))
    with pytest.raises(ValueError, match="unknown spacing"):
        next(editing.invert(denoise, x, s, spacing="even"))
