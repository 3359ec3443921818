"""Every step of every sampler beside diffusers' schedulers, frozen by golden/make_samplers.py.

Where the conventions differ:
- Their t counts from 0 and is ours minus one; the end, our t = 0, is not among their times.
- They know three ways to share out uniform steps; ours is their "trailing".
- Their DDPM adds fresh noise in the last step too: next to none with the posterior's variance (1e-20), the whole of
  beta with the larger one, "fixed_large", so that there the last x cannot be compared. Ours adds none.
- Their other spacings round the time for the network only and keep the sigma that was asked for; ours, and theirs as
  frozen here, has the sigma of the rounded time. For the cosine schedule they do not even round, so only the linear
  one is compared; and they limit its sigma only if told to (lambda_min_clipped).
- Their "final_sigmas_type" must be "zero" for a last step that ends at the guess of x0, as all of ours do.
"""

import json
from pathlib import Path

import pytest
import torch

from diffusion101 import samplers, schedules
from diffusion101.core.process import PREDICTIONS

GOLDEN = json.loads((Path(__file__).parent / "golden" / "samplers.json").read_text())


@pytest.fixture
def float64():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def named(case: dict) -> str:
    return "-".join([case["schedule"], case["predict"], case["sampler"], *map(str, case["options"].values())])


@pytest.mark.parametrize("case", GOLDEN["cases"], ids=named)
def test_every_step_equals_diffusers(case, float64):
    s = schedules.make(case["schedule"])
    s.signal, s.noise = s.exact.sqrt(), (1 - s.exact).sqrt()  # in float64, to see formulas and not roundings

    def denoise(x, t):
        answer = torch.sin(3 * x) * 0.5 + x * t.view(-1, 1) / 2000
        return PREDICTIONS[case["predict"]].denoised(answer, x, t, s)

    x = torch.tensor(GOLDEN["start"]).view(-1, 1)
    run = samplers.SAMPLERS[case["sampler"]]
    fresh = torch.Generator().manual_seed(0)
    path = list(run(denoise, x, s, steps=GOLDEN["steps"], **case["options"], generator=fresh))
    assert [s.T, *(step.t for step in path)] == [t + 1 for t in case["times"]] + [0]
    comparable = len(path) - (case["options"].get("variance") == "beta")
    for step, theirs in list(zip(path, case["x"]))[:comparable]:
        torch.testing.assert_close(step.x.flatten(), torch.tensor(theirs), rtol=1e-8, atol=1e-8)


def test_the_golden_file_holds_every_sampler_prediction_and_spacing():
    held = [{case[key] for case in GOLDEN["cases"]} for key in ("sampler", "predict", "schedule")]
    assert held == [set(samplers.SAMPLERS), set(PREDICTIONS), set(schedules.KINDS)]
    assert {case["options"].get("spacing", "uniform") for case in GOLDEN["cases"]} == set(schedules.SPACINGS)
