"""What does a new handwriting cost, and what does it buy? For lesson 07: writes assets/measured/07_lora.json.

python -m tools.measure_07              all three parts, a quarter of an hour on one CPU core:
python -m tools.measure_07 strengths    the committed adapters, turned up and down
python -m tools.measure_07 trained      fresh adapters in several places, and the whole network, on the same pictures
python -m tools.measure_07 slants       the committed slant, turned from right to left, alone and with outlines

Each replaces its own part of the file; parts that were measured with another number of samples go. The judge was
trained on plain digits and reads only half of real outlined ones; so its last layer is fitted anew to outlined training
digits ("read").
"""

import argparse
import json

import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

from diffusion101 import Denoiser, Request, checkpoint, data, lora, pictures, train, writing
from diffusion101.data import handwriting
from diffusion101.data.numbers import seen, unseen
from diffusion101.scoring import judge
from diffusion101.scoring.metrics import frechet
from diffusion101.scoring.score import hardware
from diffusion101.training import recipe, tasks
from diffusion101.training.folder import version

from .repository import ROOT

PATH = ROOT / "assets" / "measured" / "07_lora.json"
NUMBERS = torch.tensor(seen(0))  # all 100
HIDDEN = torch.tensor([tuple(number) in unseen(30) for number in NUMBERS.tolist()])  # kept from the base's training
BASE, ATTENTION, EVERYWHERE = "06-attention", "07-outline", "07-outline-everywhere"
COMMITTED = {"attention": ATTENTION, "everywhere": EVERYWHERE}
STRENGTHS = (-0.5, 0.5, 1.0, 1.5)
SLANT = "07-slant"
SHEARS = {-1.5: -0.3, -1.0: -0.2, 0.0: 0.0, 1.0: 0.4, 1.5: 0.6}  # strength -> what makes real digits lean about alike
SLANTS = (*((0.0, strength) for strength in SHEARS), (1.0, -1.0), (1.0, 0.0), (1.0, 1.0))
PLACES = {
    "attention": {"adapter__match": lora.MATCH},
    "feed-forward": {"adapter__match": r"feed\.\d$"},
    "convolutions, 28 x 28": {"adapter__match": r"body\.(down|up)\.\d\.conv\d$"},
    "convolutions, smaller": {"adapter__match": r"(inner\..*|shrink\.|grow\.)conv\d?$"},
    "everywhere, rank 1": {"adapter__rank": 1},
    "everywhere": {},
}
TUNED = 1e-3  # the learning rate for all weights


class Ruler:
    """The judge, with the features of real digits, plain and outlined, and what other real ones score against them."""

    def __init__(self, samples: int, device: torch.device):
        self.samples, self.device, self.classifier = samples, device, judge.load_classifier(device=device)
        test, shown = (data.load("mnist", split, stand_in=False) for split in ("test", "train"))
        shown = handwriting.write(shown, "outline", 3000).to(device)
        wanted = F.one_hot(shown.labels, 10).float().cpu()
        self.readout = torch.linalg.lstsq(self.features(shown.pictures()), wanted).solution  # (65, 10)
        outlined = handwriting.write(test, "outline", 1000).to(device)
        plain = test.pictures(torch.arange(1000)).to(device)
        found = {"plain": self.features(plain), "outlined": self.features(outlined.pictures())}
        order = torch.randperm(1000, generator=torch.Generator().manual_seed(0))
        first, second = order[:samples], order[samples : 2 * samples]
        self.real = {name: features[first, :-1] for name, features in found.items()}
        self.floor = {name: frechet(real, found[name][second, :-1]) for name, real in self.real.items()}
        self.floor["read"] = self.share((found["outlined"] @ self.readout).argmax(1), outlined.labels.cpu())

    def features(self, x: Tensor) -> Tensor:
        """The judge's features of x (N, 1, 28, 28), and a one: (N, 65)."""
        return F.pad(judge.judge(self.classifier, x)[1].cpu(), (0, 1), value=1.0)

    @staticmethod
    def share(read: Tensor, asked: Tensor) -> float:
        return (read == asked).float().mean().item()

    def __call__(self, model: Denoiser, numbers: bool) -> dict:
        """Fréchet distances to plain and to outlined digits, and what can be read, of single digits and of numbers."""
        asked = torch.arange(self.samples) % 10
        features = self.features(pictures(model, Request(asked, guidance=2.0)))
        row = {name: frechet(real, features[:, :-1]) for name, real in self.real.items()}
        row["read"] = self.share((features @ self.readout).argmax(1), asked)
        if numbers:
            row |= {f"numbers {how}": right.mean().item() for how, right in self.numbers(model).items()}
        return {name: round(value, 4) for name, value in row.items()}

    def numbers(self, model: Denoiser) -> dict[str, Tensor]:
        """Which of the 100 NUMBERS have both halves as asked, 1 or 0: plain ones by the judge, read by the readout."""
        halves = pictures(model, Request(NUMBERS, guidance=2.0, size=(28, 56))).chunk(2, dim=3)
        as_plain = [judge.judge(self.classifier, half)[0].argmax(1).cpu() for half in halves]
        as_outlined = [(self.features(half) @ self.readout).argmax(1) for half in halves]
        answers = {"plain": torch.stack(as_plain, 1), "read": torch.stack(as_outlined, 1)}
        return {how: (answer == NUMBERS).all(1).float() for how, answer in answers.items()}


def strengths(ruler: Ruler, keep, images: int) -> None:
    """The base, and the committed adapters at several strengths."""
    rows = [{"where": "base", "strength": 0.0} | ruler(checkpoint.load(BASE, ruler.device), True)]
    for where, name in COMMITTED.items():
        for strength in tqdm(STRENGTHS, desc=where):
            model = checkpoint.load_lora(checkpoint.load(BASE, ruler.device), name, strength, merge=True)
            rows.append({"where": where, "strength": strength} | ruler(model, strength == 1.0))
    keep({"strengths": rows})


def trained(ruler: Ruler, keep, images: int) -> None:
    """Adapters in several places and all weights, trained alike on the same 300 outlined digits."""
    rows = []
    for where, changes in {**PLACES, "all weights": {"train__lr": TUNED}}.items():
        chosen = recipe.load("lora-outline-everywhere", total=images, **changes)
        task = tasks.task(chosen)
        model = checkpoint.load(BASE) if where == "all weights" else task.build()
        shown = task.images("train", "mnist").to(ruler.device)
        for step in tqdm(train(model.to(ruler.device), shown, chosen), total=chosen.steps, desc=where, unit="step"):
            pass
        best = step.run.ema.module.eval()
        size = sum(p.numel() for p in best.parameters() if p.requires_grad)
        lora.merge(best.network)
        about = {"where": where, "parameters": size, "lr": chosen.train.lr}
        rows.append(about | ruler(best, where in ("attention", "everywhere", "all weights")))
        keep({"trained": {"images": step.images, "training_seed": chosen.train.seed, "rows": rows}})


def slants(ruler: Ruler, keep, images: int) -> None:
    """How far the digits lean, what is read as asked, and which numbers, at strengths of (outline, slant).

    numbers: the share of all NUMBERS; hidden: of those that the base was never shown; real: what is read of 1,000 real
    digits that are sheared to lean about alike, and outlined where the drawn ones are.
    """
    test = data.load("mnist", "test", stand_in=False)
    digits, ink = test.pictures(), test.images[:1000].float() / 255
    shown = handwriting.write(data.load("mnist", "train", stand_in=False), "slant").pictures()
    leans = {"plain": handwriting.lean(digits).mean().item(), "shown": handwriting.lean(shown).mean().item()}
    asked, rows = torch.arange(ruler.samples) % 10, []
    files = {name: checkpoint.read(name, "lora")[1] for name in (EVERYWHERE, SLANT)}
    for strengths in tqdm(SLANTS, desc="slants"):
        model = checkpoint.load(BASE, ruler.device)
        for strength, (name, tensors) in zip(strengths, files.items()):
            lora.load(model.network, tensors, name)
            lora.scale(model.network, strength, name)
        lora.merge(model.network)
        drawn, real = pictures(model, Request(asked, guidance=2.0)), handwriting.slant(ink, SHEARS[strengths[1]])
        real = (handwriting.outline(real) if strengths[0] else real).to(ruler.device) * 2 - 1
        row = {"lean": handwriting.lean(drawn).mean().item()}
        for name, x, wanted in (("read", drawn, asked), ("real", real, test.labels[:1000])):
            answers = ruler.features(x) @ ruler.readout if strengths[0] else judge.judge(ruler.classifier, x)[0]
            row[name] = ruler.share(answers.cpu().argmax(1), wanted)
        right = ruler.numbers(model)["read" if strengths[0] else "plain"]
        row |= {"numbers": right.mean().item(), "hidden": right[HIDDEN].mean().item()}
        rows.append(dict(zip(("outline", "slant"), strengths)) | {name: round(value, 4) for name, value in row.items()})
        keep({"slants": {"samples": ruler.samples, "real": leans, "rows": rows}})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts = {"strengths": strengths, "trained": trained, "slants": slants}
    parser.add_argument("part", nargs="?", choices=["all", *parts], default="all")
    parser.add_argument("--images", type=int, default=3000)
    parser.add_argument("--samples", type=int, default=500, help="digits for each row; 500 at most")
    args = parser.parse_args()
    if not 2 <= args.samples <= 500:
        parser.error(f"--samples is {args.samples}; it must lie from 2 to 500: the floor compares two halves of 1,000")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    ruler, how = Ruler(args.samples, device), Request()
    about = {"samples": args.samples, "numbers": len(NUMBERS), "seed": how.seed, "guidance": 2.0}
    about |= {"sampler": how.sampler, "steps": how.steps, "data": "mnist", "floor": ruler.floor}
    about |= {"hardware": hardware(device), "version": version()}

    def keep(part: dict) -> None:
        before = json.loads(PATH.read_text()) if PATH.exists() else {}
        before = {key: before[key] for key in parts if key in before and before["samples"] == args.samples}
        text = json.dumps(about | before | part, indent=1) + "\n"
        writing.whole(PATH, lambda file: file.write_text(text))

    for part in parts if args.part == "all" else [args.part]:
        parts[part](ruler, keep, args.images)
    print(PATH.relative_to(ROOT))


if __name__ == "__main__":
    main()
