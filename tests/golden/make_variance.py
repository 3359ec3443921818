"""Freeze diffusers' DDPM steps with a learned variance ("learned_range") to JSON, so that the tests need no diffusers.

Run by hand where diffusers is installed: python tests/golden/make_variance.py
All T steps are taken: with fewer theirs interpolates to the beta of one step of T, ours to that of the whole step.
"""

import json
from pathlib import Path

import diffusers
import torch
from diffusers import DDPMScheduler

T = 20
SCHEDULES = {"linear": "linear", "cosine": "squaredcos_cap_v2"}
START = [-2.0, -0.3, 1.1]


def path(schedule: str) -> list[list[float]]:
    """x after every step; the two answers of the network are x0 and where the variance lies, from -1 to 1."""
    made = DDPMScheduler(
        T, beta_schedule=SCHEDULES[schedule], prediction_type="sample", variance_type="learned_range", clip_sample=False
    )
    made.set_timesteps(T)
    x, found, noise = torch.tensor(START, dtype=torch.float64).view(-1, 1), [], torch.Generator().manual_seed(0)
    for t in made.timesteps:
        answer = torch.cat([torch.cos(x) * 0.5 + x * (t.item() + 1) / 200, torch.sin(2 * x)], dim=1)
        x = made.step(answer, t, x, generator=noise).prev_sample
        found.append([float(f"{value:.9g}") for value in x.flatten().tolist()])
    return found


def main() -> None:
    golden = {"diffusers": diffusers.__version__, "script": Path(__file__).name, "T": T, "start": START}
    golden["cases"] = {schedule: path(schedule) for schedule in SCHEDULES}
    Path(__file__).with_name("variance.json").write_text(json.dumps(golden) + "\n")


if __name__ == "__main__":
    main()
