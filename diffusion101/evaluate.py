"""How good are the pictures? Judged by a classifier's answers and features, always beside what real ones score."""

import platform
from collections.abc import Iterator

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from . import checkpoint, guidance
from .data import Images, load
from .denoiser import Denoiser
from .networks.classifier import Classifier
from .pairs import Pairs, seen, unseen
from .samplers import SAMPLERS, Step


def load_classifier(name: str = "classifier", device: str | torch.device = "cpu") -> Classifier:
    """The committed judge (or one of yours, by path), in eval mode."""
    about, state = checkpoint.read(name)
    if about.get("kind") != "classifier":
        raise ValueError(f"{name} is a {about.get('kind', 'file of unknown kind')}, not a classifier")
    judge = Classifier(**about["network"])
    judge.about = about
    return checkpoint.fill(judge, state, name).to(device).eval()


@torch.no_grad()
def judge(classifier: Classifier, x: Tensor) -> tuple[Tensor, Tensor]:
    """Probabilities (N, classes) and features (N, 64) of pictures x (N, 1, H, W) in [-1, 1]."""
    answers = [classifier(part) for part in x.split(500)]
    return torch.cat([a.softmax(1) for a, _ in answers]), torch.cat([f for _, f in answers])


def frechet(a: Tensor, b: Tensor) -> float:
    """Squared Fréchet distance of two normal distributions fitted to features a (N, D) and b (M, D).

    |mu_a - mu_b|² + tr(A + B - 2 (A B)^(1/2)), as Heusel et al. 2017 (FID) but in our classifier's features.
    """
    a, b = a.double(), b.double()
    A, B = torch.cov(a.T), torch.cov(b.T)
    values, vectors = torch.linalg.eigh(A)
    root = vectors * values.clamp(min=0).sqrt() @ vectors.T  # A^(1/2)
    cross = torch.linalg.eigvalsh(root @ B @ root).clamp(min=0).sqrt().sum()
    return ((a.mean(0) - b.mean(0)).square().sum() + A.trace() + B.trace() - 2 * cross).item()


def precision_recall(real: Tensor, fake: Tensor, k: int = 3) -> tuple[float, float]:
    """Share of fakes near some real picture, and of reals near some fake (Kynkäänniemi et al. 2019, eq. 1).

    Near: within the distance to that picture's k-th neighbour among its own kind. Features (N, D), (M, D).
    """

    def covered(points: Tensor, by: Tensor) -> float:
        radius = torch.cdist(by, by).kthvalue(k + 1, dim=1).values  # the nearest is the picture itself
        return (torch.cdist(points, by) <= radius).any(1).float().mean().item()

    return covered(fake, real), covered(real, fake)


@torch.no_grad()
def nearest(x: Tensor, data: Images) -> tuple[Tensor, Tensor]:
    """For each picture x (B, C, H, W): the index of the nearest training picture, and its RMS pixel difference."""
    flat = x.flatten(1)
    parts = torch.arange(len(data)).split(10_000)
    distances = torch.cat([torch.cdist(flat, data.pictures(part).flatten(1)) for part in parts], 1)
    value, index = distances.min(1)
    return index, value / flat.shape[1] ** 0.5


def sample(
    denoiser: Denoiser,
    noise: Tensor,
    labels: Tensor | None = None,
    scale: float = 1.0,
    sampler: str = "ddim",
    steps: int = 50,
    generator: torch.Generator | None = None,
    clip: bool = True,
) -> Iterator[Step]:
    """The steps from noise (B, C, H, W) to pictures: guided when there are labels, then clipped."""
    denoise = denoiser if labels is None else guidance.guide(denoiser, labels, scale)
    if clip:
        denoise = guidance.clip(denoise, denoiser.schedule)
    extra = {} if sampler == "dpmpp_2m" else {"generator": generator}
    return SAMPLERS[sampler](denoise, noise, denoiser.schedule, steps=steps, **extra)


def floors(classifier: Classifier, test: Images, n: int, seed: int = 0, repeats: int = 5) -> tuple[Tensor, dict]:
    """Features of n real test pictures, and what n other real ones score against them (mean of `repeats` splits)."""
    check_count(n, test)
    probabilities, features = judge(classifier, test.pictures())
    right = (probabilities.argmax(1) == test.labels).float().mean().item()
    generator = torch.Generator().manual_seed(seed)
    orders = [torch.randperm(len(test), generator=generator) for _ in range(repeats)]
    splits = [(features[o[:n]], features[o[n : 2 * n]]) for o in orders]
    p, r = precision_recall(*splits[0])
    distance = sum(frechet(a, b) for a, b in splits) / repeats
    sure = (probabilities.amax(1) > 0.9).float().mean().item()
    return splits[0][0], {"frechet": distance, "accuracy": right, "recognised": sure, "precision": p, "recall": r}


def check_count(n: int, test: Images) -> None:
    """ValueError unless n samples can be scored beside n, and n other, real pictures."""
    if not 10 <= n <= len(test) // 2:
        raise ValueError(f"samples is {n}; it must lie from 10 to {len(test) // 2}, half of the {test.name} test set")


def evaluate(
    denoiser: Denoiser,
    test: Images,
    samples: int = 2000,
    seed: int = 0,
    sampler: str = "ddim",
    steps: int = 50,
    scale: float = 1.0,
    batch: int = 100,
    train: Images | None = None,
    progress=lambda batches: batches,
) -> dict:
    """Scores of `samples` pictures drawn with this seed, and under "floor" what as many real ones score.

    frechet: lower is better. recognised: share of which the judge is more than 90 % sure. accuracy: share judged to
    be the digit asked for (models with labels only; each digit equally often). precision, recall: see above.
    nearest, if the training pictures are given: the median RMS difference of 100 samples to the nearest of them;
    far below the floor would mean copies.
    """
    device = next(denoiser.parameters()).device
    classifier = load_classifier(device=device)
    real, floor = floors(classifier, test.to(device), samples, seed)
    labels = torch.arange(samples) % 10 if denoiser.null else None
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(samples, *test.images.shape[1:], generator=generator)
    pictures = []
    for i in progress(torch.arange(samples).split(batch)):
        wanted = None if labels is None else labels[i].to(device)
        *_, last = sample(denoiser, noise[i].to(device), wanted, scale, sampler, steps, generator)
        pictures.append(last.x.clamp(-1, 1))
    probabilities, features = judge(classifier, torch.cat(pictures))
    p, r = precision_recall(real, features)
    scores = {
        "samples": samples,
        "seed": seed,
        "sampler": sampler,
        "steps": steps,
        "data": test.name,
        "frechet": frechet(real, features),
        "recognised": (probabilities.amax(1) > 0.9).float().mean().item(),
        "precision": p,
        "recall": r,
    }
    if labels is not None:
        right = (probabilities.argmax(1).cpu() == labels).float().mean().item()
        scores |= {"guidance": scale, "accuracy": right}
    if train is not None:
        train, few = train.to(device), torch.arange(100) * len(test) // 100
        scores["nearest"] = nearest(torch.cat(pictures)[:100], train)[1].median().item()
        floor["nearest"] = nearest(test.to(device).pictures(few), train)[1].median().item()
    return scores | {"floor": floor, "hardware": hardware(device)}


def evaluate_pairs(
    denoiser: Denoiser,
    test: Images,
    held_out: int,
    samples: int = 2000,
    seed: int = 0,
    sampler: str = "dpmpp_2m",
    steps: int = 10,
    scale: float = 2.0,
    batch: int = 50,
    progress=lambda batches: batches,
) -> dict:
    """Share of two-digit numbers with both digits right, each half judged alone: seen, unseen, and real ones.

    `samples` of each kind, every number equally often up to rounding.
    """
    device = next(denoiser.parameters()).device
    classifier, size = load_classifier(device=device), test.images.shape[-1]
    generator = torch.Generator().manual_seed(seed)
    kinds = {"seen": seen(held_out)} | ({"unseen": unseen(held_out)} if held_out else {})

    def right(x: Tensor, tokens: Tensor) -> Tensor:
        halves = [judge(classifier, half)[0].argmax(1) for half in (x[..., :size], x[..., size:])]
        return (torch.stack(halves, 1) == tokens.to(device)).all(1)

    scores = {"samples": samples, "seed": seed, "sampler": sampler, "steps": steps, "guidance": scale}
    jobs = [(kind, part) for kind in kinds for part in torch.arange(samples).split(batch)]
    hits = {kind: 0 for kind in kinds}
    for kind, part in progress(jobs):
        numbers = torch.tensor(kinds[kind])
        tokens = numbers[part % len(numbers)]
        noise = torch.randn(len(part), 1, size, 2 * size, generator=generator).to(device)
        *_, last = sample(denoiser, noise, tokens.to(device), scale, sampler, steps, generator)
        hits[kind] += right(last.x.clamp(-1, 1), tokens).sum().item()
    every = torch.tensor(seen(0))
    real = right(*Pairs(test.to(device)).draw(every[torch.arange(samples) % 100], generator)).float().mean().item()
    return scores | {"held_out": held_out} | {kind: n / samples for kind, n in hits.items()} | {"real": real}


def cost(denoiser: Denoiser, size: int = 28) -> float:
    """Millions of multiply-adds of one network call on one picture."""
    x = torch.zeros(1, denoiser.network.config.channels, size, size, device=next(denoiser.parameters()).device)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        denoiser(x, torch.ones(1, dtype=torch.int64, device=x.device))
    return counter.get_total_flops() / 2e6


def hardware(device: torch.device) -> str:
    """The device's name, for the record of what was measured where."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"CPU {platform.processor() or platform.machine()}, {torch.get_num_threads()} threads"


def scoreboard(names: list[str] | None = None) -> str:
    """One row per pretrained model, from the scores in its weight file."""
    rows = ["model         params  MMACs  pictures seen  Fréchet (real)  recognised (real)  precision  recall"]
    for name in names or checkpoint.names():
        about, _ = checkpoint.read(name)
        if about["kind"] != "denoiser":
            continue
        s, f = about["scores"], about["scores"]["floor"]
        rows.append(
            f"{name:13} {about['parameters'] / 1e6:5.2f}M {about['mmacs']:6.1f} {about['images']:14,} "
            f"{s['frechet']:8.2f} ({f['frechet']:.2f}) {s['recognised']:11.3f} ({f['recognised']:.3f}) "
            f"{s['precision']:10.2f} {s['recall']:7.2f}"
        )
    return "\n".join(rows)


def own_data(denoiser: Denoiser, split: str) -> Images:
    """The pictures that a model was trained on ("train"), or held out from it ("test")."""
    recipe = denoiser.about["recipe"]
    return load(recipe["data"], split, recipe["size"])
