import json
from pathlib import Path

import pytest
import torch

from diffusion101 import schedules
from diffusion101.core.schedules import Schedule

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
    torch.testing.assert_close(s.snr[1:], s.signal[1:] ** 2 / s.noise[1:] ** 2, rtol=1e-4, atol=0)
    torch.testing.assert_close(torch.cumprod(1 - s.beta.double(), 0), s.exact, rtol=1e-4, atol=1e-9)


def test_noise_keeps_small_times_apart():
    """In float32 sqrt(1 - alpha_bar) would lose half its digits at t = 1."""
    s = schedules.linear()
    assert s.noise[1].item() == pytest.approx(1e-4**0.5, rel=1e-6)


def test_cosine_clips_the_last_beta():
    assert schedules.cosine(T=1000).beta[-1] == pytest.approx(0.999)
    assert schedules.cosine(T=1000, max_beta=0.5).beta.max() == pytest.approx(0.5)


@pytest.mark.parametrize("T", [1, 999, 5000, 6700, 10_000, 100_000])
@pytest.mark.parametrize("kind", ["linear", "cosine"])
def test_any_T_is_finite_or_refused(kind, T):
    """Dividing by signal must stay possible in float32; of 7000 linear steps nothing is left to divide by."""
    if kind == "linear" and T > 6700:
        with pytest.raises(ValueError, match=f"alpha_bar ends at .*, below 1e-30: lower beta or T = {T}"):
            schedules.make(kind, T=T)
        return
    s = schedules.make(kind, T=T)
    for table in (s.beta, s.alpha_bar, s.signal, s.noise, s.snr[1:], s.noise / s.signal, 1 / s.noise[1:]):
        assert table.isfinite().all()
    assert (s.signal > 0).all() and (s.noise[1:] > 0).all() and (s.exact.diff() < 0).all()


@pytest.mark.parametrize("steps", GOLDEN["times"])
def test_times_equal_diffusers(steps):
    """Diffusers' t is ours minus one; it does not list the end."""
    assert schedules.linear().times(int(steps)) == [t + 1 for t in GOLDEN["times"][steps]] + [0]


def test_times():
    s = schedules.linear(T=1000)
    assert s.times(4) == [1000, 750, 500, 250, 0]
    assert s.times(7) == [1000, 857, 714, 571, 429, 286, 143, 0], "rounded to the nearest, not cut"
    assert s.times() == list(range(1000, -1, -1))
    for steps in (1, 3, 333, 999, 1000):
        times = s.times(steps)
        assert len(times) == steps + 1 and times[0] == 1000 and times[-1] == 0
        assert all(a > b for a, b in zip(times, times[1:]))


SPACED = {"log_snr": torch.log, "karras": lambda sigma: sigma ** (1 / 7)}
SPACED["karras_cut"] = SPACED["karras"]


@pytest.mark.parametrize("spacing", schedules.SPACINGS)
@pytest.mark.parametrize("kind", schedules.KINDS)
@pytest.mark.parametrize("T", [1, 2, 17, 1000])
def test_any_spacing_gives_as_many_falling_times_as_asked_for(kind, T, spacing):
    s = schedules.make(kind, T=T)
    for steps in {1, 2, 3, 5, 10, 50, T // 2, T - 1, T} & set(range(1, T + 1)):
        times = s.times(steps, spacing)
        assert len(times) == steps + 1 and times[0] == T and times[-1] == 0
        assert all(isinstance(t, int) for t in times) and all(t > r for t, r in zip(times, times[1:]))
    assert s.times(spacing=spacing) == list(range(T, -1, -1)), "all steps are the same steps"


@pytest.mark.parametrize("spacing", SPACED)
@pytest.mark.parametrize("kind", schedules.KINDS)
def test_steps_are_equal_in_what_the_spacing_says(kind, spacing):
    """Up to rounding t; but for the first step, from cosine's clipped beta, and the last, which ends at sigma = 0."""
    s = schedules.make(kind, T=6000, **({"beta_start": 1e-5, "beta_end": 0.004} if kind == "linear" else {}))
    times = s.times(12, spacing)
    sigma = s.noise.double() / s.signal.double()
    steps = -SPACED[spacing](sigma[times[1:-1]]).diff()
    rounding = SPACED[spacing](sigma[1:]).diff()[torch.tensor(times[1:-1]).clamp(max=5998)].max()
    end = (sigma - 0.1).abs().argmin() if spacing == "karras_cut" else 1
    assert times[-2] == end and (steps / steps.mean() - 1).abs().max() < 2 * rounding / steps.mean()
    assert rounding / steps.mean() < 0.25, "a test of the spacing, not of its rounding"


def test_no_steps_are_lost_where_all_is_noise():
    """The clipped last beta takes sigma from 600 to 20,000; without a limit half of these steps would lie above 600."""
    s = schedules.cosine()
    sigma = (s.noise / s.signal)[s.times(10, "karras")]
    assert sigma[0] > 20_000 and (sigma > 165).sum() == 1 and (sigma < 1).sum() == 4


@pytest.mark.parametrize("spacing", ["even", "", None])
def test_unknown_spacings_are_refused(spacing):
    with pytest.raises(ValueError, match=f"unknown spacing {spacing!r}; there are uniform, log_snr, karras"):
        schedules.linear().times(10, spacing)


@pytest.mark.parametrize("steps", [0, -1, 1001, 2.5, True, "10"])
def test_times_refuses(steps):
    with pytest.raises(ValueError, match="from 1 to T = 1000"):
        schedules.linear().times(steps)


def test_tables_go_to_a_device_once():
    """float32 only: a device need not know float64. `exact` stays where Python numbers are made of it."""
    s = schedules.cosine(T=20)
    there = s.on(torch.device("meta"))
    assert s.on(torch.device("cpu")) is s and s.on(torch.device("meta")) is there
    for name in ("beta", "alpha_bar", "signal", "noise", "snr"):
        table = getattr(there, name)
        assert table.device.type == "meta" and table.dtype == torch.float32 and getattr(s, name).device.type == "cpu"
    assert there.exact is s.exact and there.T == 20 and there.spec == s.spec
    assert there.on(torch.device("meta")) is there


def test_bad_schedules():
    with pytest.raises(ValueError, match="unknown schedule 'quadratic'; there are linear, cosine"):
        schedules.make("quadratic")
    with pytest.raises(ValueError, match="beta_finish"):
        schedules.make("linear", beta_finish=0.1)
    for T in (0, -5, 2.5, True, "10"):
        with pytest.raises(ValueError, match=f"T is {T!r}"):
            schedules.linear(T=T)
    for bad in (dict(beta_end=2), dict(beta_start=0), dict(beta_start=0.1, beta_end=0.05), dict(beta_end=float("nan"))):
        with pytest.raises(ValueError, match="beta_end="):
            schedules.linear(**bad)
    for bad in (dict(max_beta=1), dict(max_beta=0), dict(s=-0.1), dict(s=float("nan"))):
        with pytest.raises(ValueError, match="max_beta="):
            schedules.cosine(**bad)
    for beta in ([0.1, 0.2], [0.0], [0.0, 1.0], [0.0, 0.0], [[0.0, 0.1]], [0.0, float("nan")]):
        with pytest.raises(ValueError, match="T\\+1"):
            Schedule(torch.tensor(beta))


@pytest.mark.parametrize("s", [schedules.cosine(T=77, s=0.02), schedules.linear(T=50, beta_start=1e-3)], ids=repr)
def test_spec_rebuilds(s):
    assert torch.equal(schedules.make(**s.spec).beta, s.beta)
