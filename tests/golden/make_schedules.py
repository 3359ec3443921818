"""Freeze diffusers' schedules and sampler steps to JSON, so that the tests need no diffusers.

Run by hand where diffusers is installed: python tests/golden/make_schedules.py
"""

import json
from pathlib import Path

import diffusers
import torch
from diffusers import DDIMScheduler, DDPMScheduler, DPMSolverMultistepScheduler

T, AT = 1000, [0, 1, 9, 99, 249, 499, 749, 949, 998, 999]  # diffusers' t, ours minus one


def answer(x: torch.Tensor, t: float) -> torch.Tensor:
    """A stand-in for a network that predicts eps: smooth, and different at every t (t in our counting)."""
    return torch.sin(3 * x) * 0.5 + x * t / 1000


def main() -> None:
    golden = {"diffusers": diffusers.__version__, "script": Path(__file__).name, "at": AT}
    golden |= {"alpha_bar": {}, "times": {}, "samples": []}
    names = {"linear": "linear", "cosine": "squaredcos_cap_v2"}
    for name, theirs in names.items():
        table = DDPMScheduler(T, beta_schedule=theirs).alphas_cumprod
        golden["alpha_bar"][name] = [table[t].item() for t in AT]
        common = dict(num_train_timesteps=T, beta_schedule=theirs, timestep_spacing="trailing")
        ddim = DDIMScheduler(**common, clip_sample=False, set_alpha_to_one=True)
        dpm = DPMSolverMultistepScheduler(**common, final_sigmas_type="zero", lower_order_final=False)
        for sampler, scheduler in (("ddim", ddim), ("dpmpp_2m", dpm)):
            for steps in (5, 7, 10, 30, 50):  # 7 and 30 do not divide 1000: the times are rounded
                if sampler == "ddim" and T % steps:
                    continue  # its scheduler steps down by T // steps, past the times that it lists
                x = torch.linspace(-2, 2, 8, dtype=torch.float64).view(8, 1)
                scheduler.set_timesteps(steps)
                golden["times"][steps] = scheduler.timesteps.tolist()
                for t in scheduler.timesteps:
                    x = scheduler.step(answer(x, t.item() + 1), t, x).prev_sample
                case = {"schedule": name, "sampler": sampler, "steps": steps, "x": x.flatten().tolist()}
                golden["samples"].append(case)
    path = Path(__file__).with_name("schedules.json")
    path.write_text(json.dumps(golden, indent=1) + "\n")


if __name__ == "__main__":
    main()
