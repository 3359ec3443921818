"""Digits made on the spot: the same for a seed, framed and inked like MNIST, distinguishable and varied."""

import pytest
import torch
from torch.nn.functional import avg_pool2d

from diffusion101.data import synthetic


@pytest.fixture(scope="module")
def sample():
    """2000 digits as fractions of full ink, (2000, 28, 28) float32, and their labels."""
    images, labels = synthetic.dataset(2000, seed=7)
    return images[:, 0] / 255, labels


def test_a_seed_is_the_same_digits_and_another_seed_others():
    images, labels = synthetic.dataset(50, seed=3)
    again, same = synthetic.dataset(50, seed=3)
    assert torch.equal(images, again) and torch.equal(labels, same)
    others, different = synthetic.dataset(50, seed=4)
    assert not torch.equal(labels, different)
    assert not torch.equal(images, others)


def test_the_default_generator_is_torchs_own():
    labels = torch.arange(10)
    torch.manual_seed(0)
    first, second = synthetic.draw(labels), synthetic.draw(labels)
    torch.manual_seed(0)
    assert torch.equal(synthetic.draw(labels), first)
    assert not torch.equal(first, second)


def test_dataset_leaves_torchs_own_generator_alone():
    before = torch.get_rng_state()
    synthetic.dataset(3)
    assert torch.equal(torch.get_rng_state(), before)


def test_chunks_leave_no_trace(monkeypatch):
    whole, _ = synthetic.dataset(40, size=16)
    monkeypatch.setattr(synthetic, "CHUNK", 16 * 16 * 44 * 7)  # about 7 digits at a time, and 40 is no multiple
    assert torch.equal(synthetic.dataset(40, size=16)[0], whole)


@pytest.mark.parametrize("size", [8, 13, 28, 61])
def test_every_size_is_a_box_with_a_black_border_around_ink(size):
    images, labels = synthetic.dataset(200, size)
    assert images.shape == (200, 1, size, size) and images.dtype == torch.uint8
    assert labels.shape == (200,) and labels.dtype == torch.int64
    assert images.flatten(1).amax(1).min() > 80
    inner = images[..., 1:-1, 1:-1]
    assert images.sum(dtype=torch.int64) == inner.sum(dtype=torch.int64)


def test_no_labels_no_digits():
    assert synthetic.draw(torch.empty(0, dtype=torch.int64)).shape == (0, 1, 28, 28)


def test_a_larger_size_is_the_same_drawing():
    labels = torch.arange(100) % 10
    small, large = (synthetic.draw(labels, size, torch.Generator().manual_seed(1)).float() for size in (28, 56))
    other = synthetic.draw(labels, 28, torch.Generator().manual_seed(2)).float()
    error = (avg_pool2d(large, 2) - small).abs().mean()
    assert error < 0.1 * (other - small).abs().mean()


def test_labels_are_uniform(sample):
    counts = torch.bincount(sample[1], minlength=10)
    assert len(counts) == 10
    assert counts.min() > 150 and counts.max() < 250  # 200 expected, standard deviation 13


def test_ink_is_like_mnists(sample):
    images, labels = sample
    assert images.mean() == pytest.approx(0.1307, abs=0.012)
    assert images.std() == pytest.approx(0.3081, abs=0.012)
    assert images.amax((1, 2)).min() > 0.85
    ink = torch.stack([images[labels == digit].mean() for digit in range(10)])
    assert ink.argmin() == 1 and 0.06 < ink[1] < 0.09  # MNIST: 0.076; every other digit 0.115 to 0.173
    assert ink[torch.arange(10) != 1].min() > 0.1 and ink.max() < 0.19


def test_digits_are_framed_and_centred_as_in_mnist(sample):
    images, _ = sample
    spans = torch.stack([(images > 0).any(axis).sum(1) for axis in (1, 2)])  # (2, N) columns and rows with ink
    longer = spans.amax(0)
    assert longer.min() >= 19 and longer.max() <= 22
    pixel = torch.arange(28.0)
    for axis in (1, 2):
        centre = (images.sum(axis) * pixel).sum(1) / images.sum((1, 2))
        assert centre.mean() == pytest.approx(14, abs=0.15)
        assert (centre - 14).abs().quantile(0.95) < 1.2


def test_the_digits_are_told_apart_and_match_their_labels(sample):
    images, labels = sample
    means = torch.stack([images[labels == digit].mean(0) for digit in range(10)]).flatten(1)
    asked = torch.arange(1000) % 10
    fresh = synthetic.draw(asked, generator=torch.Generator().manual_seed(8)).flatten(1) / 255
    right = torch.cdist(fresh, means).argmin(1) == asked
    assert right.float().mean() > 0.8  # measured 0.86; MNIST itself 0.81
    assert torch.stack([right[asked == digit].float().mean() for digit in range(10)]).min() > 0.6


def test_no_two_digits_are_alike(sample):
    images, labels = sample
    for digit in range(10):
        own = images[labels == digit].flatten(1)
        apart = torch.cdist(own, own).fill_diagonal_(torch.inf).amin(1)  # to the nearest of about 200
        assert apart.min() > 0.3, f"two pictures of {digit} are nearly the same"
        # Measured 4.6 and more, 2.1 for the ones; without the shaken control points 3.7 and 1.8.
        assert apart.median() > (1.9 if digit == 1 else 4.2), f"the {digit}s vary too little"


def test_writers_differ_in_slant_and_weight(sample):
    images, labels = sample
    mass = images.sum((1, 2))
    x = torch.arange(28.0) - (images.sum(1) * torch.arange(28.0)).sum(1, keepdim=True) / mass[:, None]  # (N, 28)
    y = torch.arange(28.0) - (images.sum(2) * torch.arange(28.0)).sum(1, keepdim=True) / mass[:, None]
    slant = torch.einsum("nyx,ny,nx->n", images, y, x) / torch.einsum("nyx,ny->n", images, y**2)
    for digit in range(10):
        own = labels == digit
        assert slant[own].std() > 0.15, f"the {digit}s lean alike"  # MNIST: 0.19 to 0.31
        assert images[own].mean((1, 2)).std() > (0.02 if digit != 1 else 0.015), f"the {digit}s weigh alike"
    assert -0.2 < slant.mean() < -0.05  # to the right, as in MNIST: -0.11


def test_the_sheet_blends_control_points_and_lifts_the_pen_between_strokes():
    sheet = synthetic.sheet()
    texts = [text for ways in synthetic.WAYS.values() for text in ways]
    assert torch.allclose(sheet.blend.sum(-1), torch.ones(sheet.lift.shape))
    curve = sheet.blend @ sheet.control
    assert curve.abs().max() < 1.2  # no overshoot far off the sheet
    for text, points, lift in zip(texts, curve, sheet.lift):
        moved = (points[1:] - points[:-1]).norm(dim=-1) > 1e-6
        jumps = (moved & lift[:-1]).sum()  # a stroke that starts where the last one ended is no jump
        strokes_of = [stroke.split() for stroke in text.split("/")]
        assert jumps == sum(a[-1] != b[0] for a, b in zip(strokes_of, strokes_of[1:])), text


def test_a_loop_closes_without_a_corner():
    sheet = synthetic.sheet()
    way = [text for ways in synthetic.WAYS.values() for text in ways].index("40 05 49 94 40")
    curve = (sheet.blend[way] @ sheet.control[way])[: sheet.lift[way].int().argmax() + 1]
    first, last = curve[1] - curve[0], curve[-1] - curve[-2]
    assert torch.equal(curve[0], curve[-1])
    assert torch.cosine_similarity(first, last, dim=0) > 0.9


def test_a_lifted_pen_leaves_no_ink():
    curve = torch.tensor([[[-1.0, -1.0], [-1.0, 1.0], [1.0, -1.0], [1.0, 1.0]]])  # two upright bars
    for lifted, bridged in ((True, False), (False, True)):
        lift = torch.tensor([[False, lifted, False, True]])
        picture = synthetic.ink(*synthetic.place(curve, lift, torch.zeros(1, 3), 28), 28)[0]
        assert picture[:, 6].any() and picture[:, 22].any()
        assert picture[:, 12:17].any() == bridged


def test_ink_falls_from_full_to_none_across_the_contour():
    start, end = torch.tensor([[[0.25, 0.5]]]), torch.tensor([[[0.75, 0.5]]])
    picture = synthetic.ink(start, end, torch.tensor([[0.1]]), torch.ones(1, 1), 200)[0]  # rows 80 to 120 are inked
    row, column = picture[:, 100].int(), picture[100].int()
    assert (row[86:114] == 255).all() and (row[:75] == 0).all() and (row[125:] == 0).all()
    assert row[79] < 128 < row[80] and row[120] < 128 < row[119]  # half way at the radius
    assert column[29] < 128 < column[30] and column[170] < 128 < column[169]  # round ends reach one radius further


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda g: synthetic.draw(torch.tensor([3, 10]), generator=g), "label 10 .* 0..9"),
        (lambda g: synthetic.draw(torch.tensor([-1]), generator=g), "label -1 .* 0..9"),
        (lambda g: synthetic.draw(torch.tensor([1.0]), generator=g), "float32 .* int64"),
        (lambda g: synthetic.draw(torch.tensor(3), generator=g), r"shape \(\); .* \(N,\)"),
        (lambda g: synthetic.draw(torch.tensor([3]), 7, g), "size is 7; .* at least 8"),
        (lambda g: synthetic.dataset(0), "count is 0; .* at least 1"),
        (lambda g: synthetic.dataset(-5), "count is -5; .* at least 1"),
        (lambda g: synthetic.dataset(10**12, size=4), "size is 4; .* at least 8"),
    ],
)
def test_bad_input_is_named_before_any_work(call, words):
    generator = torch.Generator().manual_seed(0)
    before = generator.get_state()
    with pytest.raises(ValueError, match=words):
        call(generator)
    assert torch.equal(generator.get_state(), before)
