"""Freeze every step of diffusers' samplers to JSON, so that the tests need no diffusers.

Run by hand where diffusers is installed: python tests/golden/make_samplers.py
Diffusers computes in float32; here every float32 in its tables and steps is float64, so that formulas are compared and
not roundings. Every number is kept to 12 digits.
"""

import json
from itertools import product
from pathlib import Path
from unittest.mock import patch

import diffusers
import torch
from diffusers import DDIMScheduler, DDPMScheduler, DPMSolverMultistepScheduler

T, STEPS = 1000, 8
SCHEDULES = {"linear": "linear", "cosine": "squaredcos_cap_v2"}
PREDICTIONS = {"eps": "epsilon", "x0": "sample", "v": "v_prediction"}
SPACINGS = {"uniform": {}, "log_snr": {"use_lu_lambdas": True}, "karras": {"use_karras_sigmas": True}}
SPACINGS["karras_cut"] = SPACINGS["karras"] | {"sigma_min": 0.1}
SOLVERS = {"dpmpp_2m": "dpmsolver++", "dpmpp_2m_sde": "sde-dpmsolver++"}
START = [-2.0, -0.3, 1.1]


def answer(x: torch.Tensor, t: int) -> torch.Tensor:
    """A stand-in for a network: smooth, and different at every t (t in our counting)."""
    return torch.sin(3 * x) * 0.5 + x * t / 2000


def scheduler(kind, schedule: str, predict: str, **options):
    """One of diffusers' schedulers, told its number of steps."""
    common = dict(beta_schedule=SCHEDULES[schedule], prediction_type=PREDICTIONS[predict], timestep_spacing="trailing")
    lowest = {"sigma_min": options.pop("sigma_min", None)}  # read from the configuration, but no option of its own
    made = kind(T, **common, **options)
    made.register_to_config(**lowest)
    made.set_timesteps(STEPS)
    return made


def path(made, **options) -> dict:
    """Its times, and x after every step."""
    x, found = torch.tensor(START).view(-1, 1), []
    for t in made.timesteps:
        x = made.step(answer(x, t.item() + 1), t, x, **options).prev_sample
        found.append([float(f"{value:.12g}") for value in x.flatten().tolist()])
    return {"times": made.timesteps.tolist(), "x": found}


def ddpm(schedule: str, predict: str, variance: str) -> dict:
    made = scheduler(DDPMScheduler, schedule, predict, variance_type=variance, clip_sample=False)
    return path(made, generator=torch.Generator().manual_seed(0))


def ddim(schedule: str, predict: str, eta: float) -> dict:
    made = scheduler(DDIMScheduler, schedule, predict, clip_sample=False, set_alpha_to_one=True)
    return path(made, eta=eta, generator=torch.Generator().manual_seed(0))


def dpmpp_2m(schedule: str, predict: str, spacing: str, algorithm: str) -> dict:
    """Other spacings make diffusers ask the network at rounded times; here its sigmas are those of these times."""
    options = dict(algorithm_type=algorithm, final_sigmas_type="zero")
    made = scheduler(DPMSolverMultistepScheduler, schedule, predict, **options, **SPACINGS[spacing])
    sigmas = (1 / made.alphas_cumprod - 1).sqrt()
    made.sigmas = torch.cat([sigmas[made.timesteps], torch.zeros(1)])
    return path(made, generator=torch.Generator().manual_seed(0))


def main() -> None:
    golden = {"diffusers": diffusers.__version__, "script": Path(__file__).name, "steps": STEPS, "start": START}
    golden["cases"] = []
    torch.set_default_dtype(torch.float64)
    with patch.object(torch, "float32", torch.float64):
        for schedule, predict in product(SCHEDULES, PREDICTIONS):
            about = {"schedule": schedule, "predict": predict}
            for variance, theirs in (("posterior", "fixed_small"), ("beta", "fixed_large")):
                case = about | {"sampler": "ddpm", "options": {"variance": variance}}
                golden["cases"].append(case | ddpm(schedule, predict, theirs))
            for eta in (0.0, 0.5):
                case = about | {"sampler": "ddim", "options": {"eta": eta}}
                golden["cases"].append(case | ddim(schedule, predict, eta))
            for (sampler, algorithm), spacing in product(SOLVERS.items(), SPACINGS):
                if spacing == "uniform" or schedule == "linear":
                    case = about | {"sampler": sampler, "options": {"spacing": spacing}}
                    golden["cases"].append(case | dpmpp_2m(schedule, predict, spacing, algorithm))
    text = json.dumps(golden, indent=None)
    Path(__file__).with_name("samplers.json").write_text(text.replace('{"schedule"', '\n{"schedule"') + "\n")


if __name__ == "__main__":
    main()
