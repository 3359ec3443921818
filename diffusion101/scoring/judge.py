"""The judges, and what real pictures score before them: a Reference is what any pictures are measured against."""

from dataclasses import dataclass

import torch
from torch import Tensor

from .. import checkpoint
from ..data.images import Images
from .classifier import Classifier
from .metrics import frechet, precision_recall


@dataclass(frozen=True)
class Judge:
    """Who judges a data set: the name of its weight file, the recipe that trains it, its layout and its width."""

    weights: str
    recipe: str
    layout: str
    width: int = 32


DIGITS = Judge("classifier", "mnist-classifier", "digits")
COLOUR = Judge("cifar10-classifier", "cifar10-classifier", "colour", width=48)
JUDGES = {"mnist": DIGITS, "fashion": DIGITS, "synthetic": DIGITS}
JUDGES |= {"cifar10": COLOUR, "cifar10-jpeg": COLOUR, "synthetic-colour": COLOUR}


def judge_of(data: str) -> Judge:
    """Who judges the data set of this name; ValueError if nobody does."""
    if data not in JUDGES:
        raise ValueError(f"nobody judges pictures of data {data!r}, only {', '.join(JUDGES)}; set score.samples to 0")
    return JUDGES[data]


def load_judge(data: str, device: str | torch.device = "cpu") -> Classifier:
    """The judge of a data set, in eval mode; ValueError tells how to train one that is not there yet."""
    chosen = judge_of(data)
    if chosen.weights not in checkpoint.names():
        raise ValueError(
            f"the judge of {data} pictures is not trained yet: run python -m diffusion101 train --recipe "
            f"{chosen.recipe} --out runs/judge, then copy runs/judge/model.safetensors to "
            f"{checkpoint.FOLDER / chosen.weights}.safetensors"
        )
    return load_classifier(chosen.weights, device)


def load_classifier(name: str = "classifier", device: str | torch.device = "cpu") -> Classifier:
    """The committed judge of this name (or one of yours, by path), in eval mode."""
    about, state = checkpoint.read(name, "classifier")
    try:
        with torch.device("meta"):  # so that a huge network costs nothing
            checkpoint.fits(Classifier(**about["network"]), state, name)
    except (KeyError, TypeError, ZeroDivisionError, RuntimeError) as error:
        raise ValueError(f"{name}: its metadata describes no classifier ({error})") from None
    classifier = Classifier(**about["network"])
    classifier.load_state_dict(state)
    classifier.about = about
    return classifier.to(device).eval()


@torch.no_grad()
def judge(classifier: Classifier, x: Tensor) -> tuple[Tensor, Tensor]:
    """Probabilities (N, classes) and features (N, 64) of pictures x (N, C, H, W) in [-1, 1]."""
    answers = [classifier(part) for part in x.split(500)]
    return torch.cat([a.softmax(1) for a, _ in answers]), torch.cat([f for _, f in answers])


@dataclass(frozen=True)
class Reference:
    """A judge, features (N, D) of N real test pictures, and under `floor` what N other real ones score against them."""

    classifier: Classifier
    test: Images
    features: Tensor
    floor: dict

    def __len__(self) -> int:
        return len(self.features)

    def look(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """Probabilities and features of pictures (N, C, H, W)."""
        return judge(self.classifier, pictures.to(self.features.device))

    def right(self, pictures: Tensor, asked: Tensor) -> Tensor:
        """(N,) bool: whether every part of each picture is what was asked for: labels (N,), or one per part (N, L).

        A picture asked for by a row of L labels is cut into L equal parts from left to right.
        """
        rows = asked[:, None] if asked.ndim == 1 else asked
        parts = pictures.chunk(rows.shape[1], dim=3)
        guesses = torch.stack([self.look(part)[0].argmax(1) for part in parts], 1)
        return (guesses == rows.to(guesses.device)).all(1)


def reference(
    test: Images, samples: int, seed: int = 0, repeats: int = 5, classifier: Classifier | None = None
) -> Reference:
    """The reference of a test set, for `samples` pictures; the floor is the mean of `repeats` splits.

    classifier: None for the judge of its data set.
    """
    check_count(samples, test)
    classifier = classifier or load_judge(test.name, test.images.device)
    probabilities, features = judge(classifier, test.pictures())
    generator = torch.Generator().manual_seed(seed)
    orders = [torch.randperm(len(test), generator=generator) for _ in range(repeats)]
    splits = [(features[o[:samples]], features[o[samples : 2 * samples]]) for o in orders]
    precision, recall = precision_recall(*splits[0])
    floor = {
        "frechet": sum(frechet(a, b) for a, b in splits) / repeats,
        "accuracy": (probabilities.argmax(1) == test.labels).float().mean().item(),
        "recognised": (probabilities.amax(1) > 0.9).float().mean().item(),
        "precision": precision,
        "recall": recall,
    }
    return Reference(classifier, test, splits[0][0], floor)


def check_count(n: int, test: Images) -> None:
    """ValueError unless n samples can be scored beside n, and n other, real pictures."""
    if not 10 <= n <= len(test) // 2:
        raise ValueError(f"samples is {n}; it must lie from 10 to {len(test) // 2}, half of the {test.name} test set")
