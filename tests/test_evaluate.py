import pytest
import torch

from diffusion101 import data, evaluate, runs, strokes


def test_frechet_of_known_normals():
    """Two normals with known means and covariances: |difference|² + sum of (sd_a - sd_b)² along shared axes."""
    g = torch.Generator().manual_seed(0)
    turn = torch.linalg.qr(torch.randn(5, 5, generator=g)).Q
    a_std, b_std = torch.tensor([1.0, 2, 3, 0.5, 0.1]), torch.tensor([1.5, 1, 3, 0.5, 0.3])
    shift = torch.tensor([1.0, 0, 0, 2, 0])
    a = torch.randn(200_000, 5, generator=g) * a_std @ turn
    b = (torch.randn(200_000, 5, generator=g) * b_std + shift) @ turn
    expected = (shift.square().sum() + (a_std - b_std).square().sum()).item()
    assert evaluate.frechet(a, b) == pytest.approx(expected, rel=0.02)
    assert evaluate.frechet(a, a) == pytest.approx(0, abs=1e-6)
    assert evaluate.frechet(a, b) == pytest.approx(evaluate.frechet(b, a), rel=1e-6)


def test_frechet_with_fewer_samples_than_features():
    a, b = torch.randn(10, 64), torch.randn(12, 64)
    assert 0 < evaluate.frechet(a, b) < float("inf")


def test_precision_recall():
    g = torch.Generator().manual_seed(0)
    real = torch.randn(1000, 4, generator=g)
    same = torch.randn(1000, 4, generator=g)
    p, r = evaluate.precision_recall(real, same)
    assert p > 0.8 and r > 0.8
    p, r = evaluate.precision_recall(real, 0.1 * same)  # all near the middle: good pictures, no variety
    assert p > 0.9 and r < 0.3
    p, r = evaluate.precision_recall(real, same + 100)
    assert p == r == 0


def test_nearest_finds_a_copy(pictures):
    x = pictures.pictures(torch.tensor([5, 40])) * 0.99
    index, distance = evaluate.nearest(x, pictures)
    assert index.tolist() == [5, 40] and distance.max() < 0.02


@pytest.fixture(scope="module")
def mnist_test():
    test = data.load("mnist", "test")
    if test.name != "mnist":
        pytest.skip("MNIST is not at hand and cannot be downloaded")
    return test


def test_the_judge_on_mnist(mnist_test):
    probabilities, _ = evaluate.judge(evaluate.load_classifier(), mnist_test.pictures())
    accuracy = (probabilities.argmax(1) == mnist_test.labels).float().mean().item()
    assert accuracy >= 0.994
    about = evaluate.load_classifier().about
    assert accuracy == pytest.approx(about["scores"]["accuracy"], abs=3e-4), "float16 may turn one or two digits"


def test_the_judge_sees_noise_and_blur(mnist_test):
    """Real pictures stay near the floor; blurred ones, and half of the digits missing, do not."""
    judge = evaluate.load_classifier()
    real, floor = evaluate.floors(judge, mnist_test, 1000)
    others = mnist_test.pictures(torch.randperm(10_000, generator=torch.Generator().manual_seed(9))[:1000])
    distance = {
        "real": evaluate.frechet(real, evaluate.judge(judge, others)[1]),
        "blurred": evaluate.frechet(real, evaluate.judge(judge, torch.nn.functional.avg_pool2d(others, 3, 1, 1))[1]),
        "0 to 4": evaluate.frechet(real, evaluate.judge(judge, mnist_test.pictures(mnist_test.labels < 5)[:1000])[1]),
    }
    assert distance["real"] < 2 * floor["frechet"] < distance["blurred"] and distance["0 to 4"] > 10 * floor["frechet"]
    assert floor["accuracy"] >= 0.994 and floor["precision"] > 0.8 and floor["recall"] > 0.8


def test_evaluate_reports_what_it_did(tiny):
    test = data.Images("strokes", *strokes.dataset(60, seed=5), "")
    scores = evaluate.evaluate(runs.build(tiny).eval(), test, samples=30, seed=3, steps=2)
    assert scores["samples"] == 30 and scores["seed"] == 3 and scores["steps"] == 2 and scores["data"] == "strokes"
    assert scores["frechet"] > scores["floor"]["frechet"] > 0, "an untrained network draws no digits"
    again = evaluate.evaluate(runs.build(tiny).eval(), test, samples=30, seed=3, steps=2)
    assert again["frechet"] == pytest.approx(scores["frechet"]) and "nearest" not in again
    copied = evaluate.evaluate(runs.build(tiny).eval(), test, samples=10, steps=1, train=test)
    assert copied["floor"]["nearest"] < 0.01 < copied["nearest"], "every test picture is a copy"
    with pytest.raises(ValueError, match="samples is 31; it must lie from 10 to 30, half of the strokes test set"):
        evaluate.evaluate(runs.build(tiny), test, samples=31)


def test_cost_by_hand(tiny):
    """The first and last convolution alone: 9 * 1 * 16 multiply-adds per pixel each."""
    model = runs.build(tiny)
    for block in (model.network.body,):
        block.forward = lambda h, *rest: h
    embedding = 2 * 16 * 16
    assert evaluate.cost(model, size=8) * 1e6 == pytest.approx(2 * 64 * 9 * 16 + embedding)
