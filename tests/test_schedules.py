import json
from pathlib import Path

import pytest
import torch

from diffusion101 import schedules
from diffusion101.schedules import Schedule

GOLDEN = json.loads((Path(__file__).parent / "golden" / "schedules.json").read_text())


@pytest.mark.parametrize("kind", ["linear", "cosine"])
def test_equals_diffusers(kind):
    ours = schedules.make(kind, T=1000).alpha_bar[torch.tensor(GOLDEN["at"]) + 1]
    torch.testing.assert_close(ours, torch.tensor(GOLDEN["alpha_bar"][kind]), rtol=2e-5, atol=1e-9)


@pytest.mark.parametrize("kind", ["linear", "cosine"])
@pytest.mark.parametrize("T", [1, 2, 10, 1000])
def test_tables(kind, T):
    s = schedules.make(kind, T=T)
    for table in (s.beta, s.alpha_bar, s.signal, s.noise, s.snr):
        assert table.shape == (T + 1,) and table.dtype == torch.float32
    assert s.alpha_bar[0] == 1 and s.beta[0] == 0 and s.noise[0] == 0 and s.snr[0] == torch.inf
    assert (s.exact.diff() < 0).all(), "alpha_bar must fall"
    torch.testing.assert_close(s.signal**2 + s.noise**2, torch.ones(T + 1))
    torch.testing.assert_close(torch.cumprod(1 - s.beta.double(), 0), s.exact, rtol=1e-4, atol=1e-9)


def test_noise_keeps_small_times_apart():
    """In float32 sqrt(1 - alpha_bar) would lose half its digits at t = 1."""
    s = schedules.linear()
    assert s.noise[1].item() == pytest.approx(1e-4**0.5, rel=1e-6)


def test_cosine_clips_the_last_beta():
    assert schedules.cosine(T=1000).beta[-1] == pytest.approx(0.999)
    assert schedules.cosine(T=1000, max_beta=0.5).beta.max() == pytest.approx(0.5)


def test_times():
    s = schedules.linear(T=1000)
    assert s.times(4) == [1000, 750, 500, 250, 0]
    assert s.times() == list(range(1000, -1, -1))
    for steps in (1, 3, 7, 333, 999, 1000):
        times = s.times(steps)
        assert len(times) == steps + 1 and times[0] == 1000 and times[-1] == 0
        assert all(a > b for a, b in zip(times, times[1:]))


@pytest.mark.parametrize("steps", [0, -1, 1001, 2.5, True, "10"])
def test_times_refuses(steps):
    with pytest.raises(ValueError, match="from 1 to T = 1000"):
        schedules.linear().times(steps)


def test_bad_schedules():
    with pytest.raises(ValueError, match="unknown schedule 'quadratic'; there are linear, cosine"):
        schedules.make("quadratic")
    with pytest.raises(ValueError, match="beta_finish"):
        schedules.make("linear", beta_finish=0.1)
    with pytest.raises(ValueError, match="T is 0"):
        schedules.linear(T=0)
    with pytest.raises(ValueError, match="beta_end=2"):
        schedules.linear(beta_end=2)
    with pytest.raises(ValueError, match="max_beta=1"):
        schedules.cosine(max_beta=1)
    with pytest.raises(ValueError, match="T\\+1"):
        Schedule(torch.tensor([0.1, 0.2]))


def test_spec_rebuilds():
    s = schedules.cosine(T=77, s=0.02)
    assert torch.equal(schedules.make(**s.spec).beta, s.beta)
