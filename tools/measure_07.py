"""What does a new hand cost, and what does it buy? For lesson 07: writes assets/measured/07_lora.json.

python -m tools.measure_07 [--ranks 1 4 16] [--images 15000] [--samples 500] [--skip-ranks]

The judge was trained on plain digits and reads only half of real outlined ones; so its last layer is fitted anew to
outlined training digits ("read"), beside its own answers ("accuracy"). First the committed adapters at several scales,
then fresh ones of several ranks, each trained from 06-attention: about ten minutes, and three more for each fresh one,
on two CPU cores.
"""

import argparse
import json

import torch
import torch.nn.functional as F
from torch import Tensor

from diffusion101 import Denoiser, checkpoint, data, evaluate, hands, lora, recipe, runs
from diffusion101.pairs import seen, unseen
from diffusion101.train import train

from .repository import ROOT

PATH = ROOT / "assets" / "measured" / "07_lora.json"
RECIPES = {"attention": "lora-outline", "everywhere": "lora-outline-everywhere"}
COMMITTED = {"attention": "07-outline", "everywhere": "07-outline-everywhere"}
SCALES = (-0.5, 0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5)
SETTINGS = {"seed": 0, "sampler": "dpmpp_2m", "steps": 10, "guidance": 2.0}


class Ruler:
    """The judge, with features of n outlined and n plain test digits and what n others of each score against them."""

    def __init__(self, n: int, device: torch.device):
        self.n, self.device, self.judge = n, device, evaluate.load_classifier(device=device)
        plain, outlined = (recipe.load(name) for name in ("mnist-pairs", "lora-outline"))
        tests = {"plain": runs.pictures(plain, "test"), "outlined": runs.pictures(outlined, "test")}
        self.data = tests["plain"].name
        measured = {name: evaluate.floors(self.judge, test.to(device), n) for name, test in tests.items()}
        self.real = {name: features for name, (features, _) in measured.items()}
        self.floor = {name: {k: f[k] for k in ("frechet", "accuracy")} for name, (_, f) in measured.items()}
        shown = hands.write(data.load("mnist", "train"), "outline", 3000).to(device)
        wanted = F.one_hot(shown.labels, 10).float().cpu()
        self.readout = torch.linalg.lstsq(self.features(shown.pictures())[1].cpu(), wanted).solution  # (65, 10)
        real = tests["outlined"].to(device)
        self.floor["outlined"]["read"] = (self.read(real.pictures())[1] == real.labels.cpu()).float().mean().item()

    def features(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The judge's answers (N,), and its features and a one (N, 65)."""
        answers, features = evaluate.judge(self.judge, x)
        return answers.argmax(1).cpu(), F.pad(features, (0, 1), value=1.0)

    def read(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Digits (N,) by the judge, and by its refitted features."""
        answers, features = self.features(x)
        return answers, (features.cpu() @ self.readout).argmax(1)

    def draw(self, model: Denoiser, prompts: Tensor, width: int = 28) -> Tensor:
        generator = torch.Generator().manual_seed(SETTINGS["seed"])
        noise, pictures = torch.randn(len(prompts), 1, 28, width, generator=generator), []
        for i in torch.arange(len(prompts)).split(200):
            asked, w, how = prompts[i].to(self.device), SETTINGS["guidance"], SETTINGS["sampler"]
            *_, last = evaluate.sample(model, noise[i].to(self.device), asked, w, how, SETTINGS["steps"])
            pictures.append(last.x.clamp(-1, 1))
        return torch.cat(pictures)

    def __call__(self, model: Denoiser) -> dict:
        """Fréchet distance to outlined and to plain test digits, and the shares read as the digit asked for."""
        labels = torch.arange(self.n) % 10
        x = self.draw(model, labels)
        scores = {name: evaluate.frechet(real, self.features(x)[1][:, :-1]) for name, real in self.real.items()}
        return scores | {
            name: (guess == labels).float().mean().item() for name, guess in zip(("accuracy", "read"), self.read(x))
        }

    def pairs(self, model: Denoiser, n: int) -> dict:
        """Share of n two-digit numbers with both halves right: of those shown to the base, and of those never shown."""
        scores = {}
        for kind, numbers in {"seen": seen(30), "unseen": unseen(30)}.items():
            prompts = torch.tensor(numbers)[torch.arange(n) % len(numbers)]  # (n, 2)
            x = self.draw(model, prompts, 56)
            left, right = self.read(x[..., :28]), self.read(x[..., 28:])
            for name, a, b in zip(("accuracy", "read"), left, right):
                scores[f"{kind} {name}"] = (torch.stack([a, b], 1) == prompts).all(1).float().mean().item()
        return scores


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ranks", type=int, nargs="+", default=[1, 4, 16])
    parser.add_argument("--images", type=int, default=15_000)
    parser.add_argument("--samples", type=int, default=500)
    parser.add_argument("--pairs", type=int, default=200, help="two-digit numbers of each kind")
    parser.add_argument("--skip-ranks", action="store_true", help="leave out what needs training")
    args = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    ruler = Ruler(args.samples, device)
    about = {"samples": args.samples, **SETTINGS, "data": ruler.data, "floor": ruler.floor}
    about |= {"pairs": args.pairs, "hardware": evaluate.hardware(device), "version": runs.version()}
    about |= {"scales": [], "ranks": []}

    def keep(kind: str, row: dict, model: Denoiser, pairs: bool) -> None:
        row = row | ruler(model)
        if pairs:
            row |= ruler.pairs(model, args.pairs)
        about[kind].append(row)
        checkpoint.whole(PATH, lambda file: file.write_text(json.dumps(about, indent=1) + "\n"))
        print(kind, row, flush=True)

    for where, name in COMMITTED.items():
        for scale in SCALES:
            model = checkpoint.load_lora(checkpoint.load("06-attention", device), name, scale, merge=True)
            keep("scales", {"where": where, "scale": scale}, model, scale in (0.0, 0.5, 1.0))
    for rank in () if args.skip_ranks else args.ranks:
        for where, name in RECIPES.items():
            chosen = recipe.load(name, rank=rank, images=args.images)
            model, shown = runs.build(chosen, device), runs.pictures(chosen, "train").to(device)
            for step in train(model, shown, chosen):
                pass
            best = step.run.ema.module.eval()
            size = sum(p.numel() for p in best.parameters() if p.requires_grad)
            lora.merge(best.network)
            row = {"where": where, "rank": rank, "parameters": size}
            keep("ranks", row | {"images": step.images, "training_seed": chosen.seed}, best, True)
    print(PATH.relative_to(ROOT))


if __name__ == "__main__":
    main()
