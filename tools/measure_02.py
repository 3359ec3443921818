"""Which half of the way needs to know t (lesson 02): writes assets/measured/02_drivers.json. About 8 CPU minutes.

python -m tools.measure_02 [--samples 500]
"""

import argparse
import json

import torch
from torch import Tensor
from tqdm import tqdm

from diffusion101 import checkpoint, evaluate, guidance, process, runs, samplers

from .repository import ROOT

STEPS, SEED, SWAP = 50, 0, 500


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
    s, test = m2.schedule, evaluate.own_data(m2, "test").to(device)
    judge = evaluate.load_classifier(device=device)
    real, floor = evaluate.floors(judge, test, args.samples, SEED)

    def looking(x: Tensor, t: Tensor) -> process.Denoised:
        eps = m1.network(x, t)
        x0 = (x - noise_in(x).view(-1, 1, 1, 1) * eps) / process.at(s.signal, t, x)
        return process.from_x0(x0, x, t, s)

    def swap(first, then):
        return lambda x, t: (first if t[0] > SWAP else then)(x, t)

    drivers = {"M1, M1": m1, "M2, M1": swap(m2, m1), "M1, M2": swap(m1, m2), "M2, M2": m2, "M1, looking": looking}
    rows = {}
    for name, denoise in tqdm(drivers.items(), unit="row"):
        generator = torch.Generator().manual_seed(SEED)
        pictures = []
        for noise in torch.randn(args.samples, 1, 28, 28, generator=generator).split(100):
            denoise_clipped = guidance.clip(denoise, s)
            *_, last = samplers.ddpm(denoise_clipped, noise.to(device), s, STEPS, generator=generator)
            pictures.append(last.x.clamp(-1, 1))
        x = torch.cat(pictures)
        _, features = evaluate.judge(judge, x)
        rows[name] = {"frechet": evaluate.frechet(real, features), "noise left": noise_in(x).median().item()}
    about = {"samples": args.samples, "seed": SEED, "sampler": "ddpm", "steps": STEPS, "swap": SWAP, "data": test.name}
    about |= {"rows": rows, "floor": floor["frechet"], "hardware": evaluate.hardware(device), "version": runs.version()}
    path = ROOT / "assets" / "measured" / "02_drivers.json"
    checkpoint.whole(path, lambda file: file.write_text(json.dumps(about, indent=1) + "\n"))
    print(path.relative_to(ROOT))


if __name__ == "__main__":
    main()
