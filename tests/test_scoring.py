import pytest
import torch

from diffusion101 import data, reference, score
from diffusion101.core import schedules
from diffusion101.core.denoiser import Denoiser
from diffusion101.data import synthetic
from diffusion101.data.numbers import seen, unseen
from diffusion101.milestones import MILESTONES
from diffusion101.networks import UNet
from diffusion101.scoring import judge, metrics
from diffusion101.scoring.score import cost, hardware, score_model, score_numbers
from diffusion101.training import tasks
from diffusion101.training.recipe import Score


def test_frechet_of_known_normals():
    """Two normals with known means and covariances: |difference|² + sum of (sd_a - sd_b)² along shared axes."""
    g = torch.Generator().manual_seed(0)
    turn = torch.linalg.qr(torch.randn(5, 5, generator=g)).Q
    a_std, b_std = torch.tensor([1.0, 2, 3, 0.5, 0.1]), torch.tensor([1.5, 1, 3, 0.5, 0.3])
    shift = torch.tensor([1.0, 0, 0, 2, 0])
    a = torch.randn(200_000, 5, generator=g) * a_std @ turn
    b = (torch.randn(200_000, 5, generator=g) * b_std + shift) @ turn
    expected = (shift.square().sum() + (a_std - b_std).square().sum()).item()
    assert metrics.frechet(a, b) == pytest.approx(expected, rel=0.02)
    assert metrics.frechet(a, a) == pytest.approx(0, abs=1e-6)
    assert metrics.frechet(a, b) == pytest.approx(metrics.frechet(b, a), rel=1e-6)


def test_frechet_of_normals_that_share_no_axes():
    """tr((A B)^(1/2)) is the sum of the roots of A B's eigenvalues."""
    A, B = torch.tensor([[2.0, 0.6], [0.6, 1.0]]), torch.tensor([[1.0, -0.5], [-0.5, 3.0]])
    g = torch.Generator().manual_seed(0)
    a, b = (torch.randn(300_000, 2, generator=g) @ torch.linalg.cholesky(C).T for C in (A, B))
    roots = torch.linalg.eigvals(A @ B).real.sqrt().sum()
    assert metrics.frechet(a, b) == pytest.approx((A.trace() + B.trace() - 2 * roots).item(), rel=0.02)


def test_frechet_with_fewer_samples_than_features():
    a, b = torch.randn(10, 64), torch.randn(12, 64)
    assert 0 < metrics.frechet(a, b) < float("inf")


def test_the_interval_of_a_ratio_holds_the_true_one():
    def normal(shift: float) -> torch.Tensor:
        return torch.randn(1000, 4, generator=torch.Generator().manual_seed(7)) + shift

    real = torch.randn(20_000, 4, generator=torch.Generator().manual_seed(8))
    found = metrics.frechet_ratio(real, normal(1.0), normal(0.5))  # distances 4 and 1, but for what 1,000 pictures add
    low, high = found["interval"]
    assert low < 4 < high and found["ratio"] == pytest.approx(4, rel=0.1) and high / low < 1.3
    same = metrics.frechet_ratio(real, normal(0.5), normal(0.5))
    assert same == {"ratio": 1.0, "interval": [1.0, 1.0]}


def test_precision_recall():
    g = torch.Generator().manual_seed(0)
    real = torch.randn(1000, 4, generator=g)
    same = torch.randn(1000, 4, generator=g)
    p, r = metrics.precision_recall(real, same)
    assert p > 0.8 and r > 0.8
    p, r = metrics.precision_recall(real, 0.1 * same)  # all near the middle: good pictures, no variety
    assert p > 0.9 and r < 0.3
    p, r = metrics.precision_recall(real, same + 100)
    assert p == r == 0


def test_nearest_finds_a_copy(pictures):
    x = pictures.pictures(torch.tensor([5, 40])) * 0.99
    index, distance = metrics.nearest(x, pictures)
    assert index.tolist() == [5, 40] and distance.max() < 0.02


class Shades(torch.nn.Module):
    """A judge of flat pictures: shade d of ten is the digit d. Its features are the shade, and chance."""

    def forward(self, x):
        shade = (x.flatten(1).mean(1) + 1) * 4.5  # 0..9
        logits = -20 * (shade[:, None] - torch.arange(10)).abs()
        return logits, torch.stack([shade, torch.rand(len(x))], 1)


def flat(labels: torch.Tensor, side: int = 4) -> torch.Tensor:
    """Pictures of these digits (N,), or numbers (N, 2), as Shades reads them."""
    rows = labels[:, None] if labels.ndim == 1 else labels
    parts = [(row / 4.5 - 1).view(-1, 1, 1, 1).expand(-1, 1, side, side) for row in rows.unbind(1)]
    return torch.cat(parts, 3).float()


@pytest.fixture
def shades() -> judge.Reference:
    labels = torch.arange(10).repeat(20)
    test = data.Images("flat", ((flat(labels) + 1) * 127.5).round().byte(), labels, "")
    return reference(test, 40, classifier=Shades())


def test_right_means_every_part_is_what_was_asked_for(shades):
    digits = torch.tensor([3, 7, 0, 9])
    assert shades.right(flat(digits), digits).tolist() == [True] * 4
    assert shades.right(flat(digits), torch.tensor([3, 6, 0, 1])).tolist() == [True, False, True, False]
    numbers = torch.tensor([[4, 2], [2, 4], [7, 7]])
    assert shades.right(flat(numbers), numbers).tolist() == [True] * 3
    assert shades.right(flat(numbers), numbers.flip(1)).tolist() == [False, False, True], "left is left"
    assert shades.right(flat(numbers), torch.tensor([[4, 9], [9, 4], [7, 7]])).tolist() == [False, False, True]


def test_pictures_from_anywhere_are_scored(shades):
    """Nothing but pictures and what was asked for: here a peer that draws every eighth digit wrong."""
    labels = torch.arange(80) % 10
    drawn = flat(torch.where(torch.arange(80) % 8 == 0, (labels + 1) % 10, labels))
    scores = score(drawn, labels, shades)
    assert scores["accuracy"] == pytest.approx(1 - 1 / 8) and scores["samples"] == 80 and scores["data"] == "flat"
    assert scores["recognised"] == 1 and scores["floor"]["accuracy"] == 1 and scores["floor"] == shades.floor
    grey = score(flat(torch.full((80,), 4.5)), None, shades)
    assert "accuracy" not in grey and grey["recognised"] == 0 and grey["frechet"] > 5 * scores["frechet"]
    assert score(flat(torch.full((80,), 3.0)), labels, shades)["recall"] < 0.5 < scores["recall"], "one digit only"


def test_the_floor_is_what_other_real_pictures_score(shades):
    assert 0 < shades.floor["frechet"] < 1 and len(shades) == 40
    with pytest.raises(ValueError, match="samples is 101; it must lie from 10 to 100, half of the flat test set"):
        reference(shades.test, 101, classifier=Shades())
    with pytest.raises(ValueError, match="samples is 9"):
        reference(shades.test, 9, classifier=Shades())


@pytest.mark.parametrize("hidden", [0, 30])
def test_seen_and_unseen_numbers_are_told_apart(shades, monkeypatch, hidden):
    """A model that can only draw what it was shown: all right there, all wrong elsewhere."""
    requests, known = [], set(seen(hidden))

    def draws(model, request, bar=None):
        requests.append(request)
        fine = torch.tensor([tuple(number) in known for number in request.cond.tolist()])
        return flat(torch.where(fine[:, None], request.cond, (request.cond + 1) % 10))

    monkeypatch.setattr("diffusion101.scoring.score.pictures", draws)
    how = Score(samples=150, sampler="ddim", steps=7, spacing="karras", guidance=1.5, seed=3, interval=(100, 900))
    scores = score_numbers(None, shades, hidden, how)
    wanted = {"seen": 1.0, "unseen": 0.0} if hidden else {"seen": 1.0}
    assert scores == {"samples": 150, "hidden": hidden, "real": 1.0} | wanted
    asked = [{tuple(number) for number in request.cond.tolist()} for request in requests]
    assert asked == ([set(seen(30)), set(unseen(30))] if hidden else [set(seen(0))])
    for request in requests:
        assert (request.sampler, request.steps, request.spacing) == ("ddim", 7, "karras")
        assert (request.guidance, request.seed, request.interval) == (1.5, 3, (100, 900))
        assert len(request.cond) == 150 and request.size == (4, 8)


@pytest.mark.parametrize("name", ["M3", "M5", "M6"])
def test_a_model_is_drawn_as_asked_and_scored(shades, monkeypatch, name):
    """Guidance, sampler, steps, spacing and seed reach the drawing; each digit is asked for equally often."""
    requests = []

    def draws(model, request, bar=None):
        requests.append(request)
        return flat(torch.arange(40) % 10)

    monkeypatch.setattr("diffusion101.scoring.score.pictures", draws)
    monkeypatch.setattr("diffusion101.scoring.score.reference", lambda *a: shades)
    how = Score(samples=40, sampler="ddpm", steps=9, spacing="log_snr", guidance=2.5, seed=4, interval=(100, 900))
    scores = score_model(Denoiser(UNet(MILESTONES[name]), schedules.linear()), shades.test, how, train=shades.test)
    [request] = requests
    guided = 1.0 if name == "M3" else 2.5  # what is told nothing cannot be guided
    for told in (request, None):
        keys = ("sampler", "steps", "spacing", "guidance", "seed")
        assert [getattr(told, key) if told else scores[key] for key in keys] == ["ddpm", 9, "log_snr", guided, 4]
    assert request.interval == scores.get("interval") == (None if name == "M3" else (100, 900))
    assert request.size == (4, 4) and request.shape[0] == 40
    assert scores["floor"]["nearest"] == 0 and scores["nearest"] < 0.01, "all are copies, but for rounding to bytes"
    assert ("accuracy" in scores) == (name != "M3") and scores.get("accuracy", 1.0) == 1.0
    if name == "M6":
        assert (request.cond[:, 1] == 10).all()


def test_scores_of_a_real_network_are_repeatable(tiny):
    test = data.Images("synthetic", *synthetic.dataset(60, seed=5), "")
    model = tasks.task(tiny).build().eval()
    how = Score(samples=30, seed=3, steps=2)
    scores, again = (score_model(model, test, how) for _ in range(2))
    assert scores["frechet"] > scores["floor"]["frechet"] > 0, "an untrained network draws no digits"
    assert again["frechet"] == pytest.approx(scores["frechet"]) and "nearest" not in again and "numbers" not in again


@pytest.mark.slow
def test_the_judge_sees_blur_and_missing_digits(mnist):
    """It reads MNIST as its file says; real pictures stay near the floor, blurred ones and half the digits do not."""
    about = mnist.classifier.about
    assert mnist.floor["accuracy"] >= 0.994
    assert mnist.floor["accuracy"] == pytest.approx(about["scores"]["accuracy"], abs=3e-4)  # float16 may turn one
    order = torch.randperm(10_000, generator=torch.Generator().manual_seed(9))[:2000]  # as many as the floor's
    others, labels = mnist.test.pictures(order), mnist.test.labels[order]
    features = mnist.look(others)[1]
    distance = metrics.frechet(mnist.features, features)
    blurred = mnist.look(torch.nn.functional.avg_pool2d(others, 3, 1, 1))[1]
    assert distance < 2 * mnist.floor["frechet"] < metrics.frechet(mnist.features, blurred)
    assert metrics.frechet(mnist.features, features[labels < 5]) > 10 * mnist.floor["frechet"]
    assert mnist.floor["precision"] > 0.8 and mnist.floor["recall"] > 0.8


def test_cost_by_hand(tiny):
    """The first and last convolution alone: 9 * 1 * 16 multiply-adds per pixel each."""
    model = tasks.task(tiny).build()
    model.network.body.forward = lambda h, *rest: h
    embedding = 2 * 16 * 16
    assert cost(model, size=8) * 1e6 == pytest.approx(2 * 64 * 9 * 16 + embedding)


def test_the_record_says_on_what_it_was_measured():
    assert hardware(torch.device("mps")).startswith("MPS ") and hardware(torch.device("cpu")).startswith("CPU ")
