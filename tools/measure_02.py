"""What keeps M1's ground black, and which half of the way needs t: assets/measured/02_drivers.json (lessons 01 and 02).

python -m tools.measure_02 [--samples 500]      about 6 CPU minutes
"""

import argparse
import json

import torch
from torch import Tensor
from tqdm import tqdm

from diffusion101 import Denoised, checkpoint, guidance, process, samplers, writing
from diffusion101.data import load
from diffusion101.scoring import judge, metrics, score
from diffusion101.training.folder import version

from .repository import ROOT

STEPS, SEED, SWAP, HOLD = 100, 0, 500, 300


def noise_in(x: Tensor) -> Tensor:
    """(B, 1, 28, 28) -> (B,): the spread of the outermost pixels, which are black in x0."""
    rim = torch.ones(x.shape[2:], dtype=torch.bool, device=x.device)
    rim[1:-1, 1:-1] = False
    return x[:, 0, rim].std(1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=500)
    args = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    m1, m2 = checkpoint.load("01-basic", device), checkpoint.load("02-time", device)
    s, test = m2.schedule, load("mnist", "test", stand_in=False).to(device)
    real = judge.reference(test, args.samples, SEED)
    brightness = test.pictures().mean()

    def held(x: Tensor, t: Tensor, looking: bool = False) -> Denoised:
        x0 = look(x, t).x0 if looking else m1(x, t).x0
        if t[0] > HOLD:
            x0 = x0 - x0.mean((1, 2, 3), keepdim=True) + brightness
        return process.from_x0(x0, x, t, s)

    def look(x: Tensor, t: Tensor) -> Denoised:
        eps = m1(x, t).eps
        x0 = (x - noise_in(x).view(-1, 1, 1, 1) * eps) / process.at(s.signal, t, x)
        return process.from_x0(x0, x, t, s)

    def swap(first, then):
        return lambda x, t: (first if t[0] > SWAP else then)(x, t)

    drivers = {"M1, M1": m1, "M2, M1": swap(m2, m1), "M1, M2": swap(m1, m2), "M2, M2": m2}
    drivers |= {"M1, mean held": held, "M1, looking": look, "M1, both": lambda x, t: held(x, t, looking=True)}
    rows = {}
    for name, denoise in tqdm(drivers.items(), unit="row"):
        generator = torch.Generator().manual_seed(SEED)
        pictures = []
        for noise in torch.randn(args.samples, 1, 28, 28, generator=generator).split(100):
            clipped = guidance.clip(denoise, s)
            *_, last = samplers.ddpm(clipped, noise.to(device), s, STEPS, generator=generator)
            pictures.append(last.x.clamp(-1, 1))
        x = torch.cat(pictures)
        probabilities, features = real.look(x)
        rows[name] = {
            "frechet": metrics.frechet(real.features, features),
            "recognised": (probabilities.amax(1) > 0.9).float().mean().item(),
            "grainy": ((x.abs() < 0.9).float().mean((1, 2, 3)) > 0.3).sum().item(),
            "noise left": noise_in(x).median().item(),
        }
    about = {"samples": args.samples, "seed": SEED, "sampler": "ddpm", "steps": STEPS, "swap": SWAP, "hold": HOLD}
    about |= {"weights": {m: checkpoint.fingerprint(m)["fingerprint"] for m in ("01-basic", "02-time")}}
    about |= {"rows": rows, "floor": real.floor, "hardware": score.hardware(device), "version": version()}
    path = ROOT / "assets" / "measured" / "02_drivers.json"
    writing.whole(path, lambda file: file.write_text(json.dumps(about, indent=1) + "\n"))
    print(path.relative_to(ROOT))


if __name__ == "__main__":
    main()
