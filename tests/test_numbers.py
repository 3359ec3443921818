import pytest
import torch

from diffusion101.data.numbers import NOTHING, Numbers, seen, unseen


@pytest.mark.parametrize("hidden", [0, 10, 30, 90])
def test_every_digit_is_hidden_equally_often_on_either_side(hidden):
    kept, shown = unseen(hidden), seen(hidden)
    assert len(kept) == hidden and len(shown) == 100 - hidden and not set(kept) & set(shown)
    for side in (0, 1):
        assert all([number[side] for number in kept].count(digit) == hidden // 10 for digit in range(10))


@pytest.mark.parametrize("bad", [5, 100, -10])
def test_hidden_refuses(bad):
    with pytest.raises(ValueError, match="it must be 0, 10"):
        unseen(bad)


def test_batches_show_seen_numbers_only_and_what_they_say(pictures):
    shown = Numbers(pictures, hidden=50)
    numbers = set()
    for step in (0, 1, 2, 4):
        x0, tokens = shown.batch(step, 100, seed=1)
        assert x0.shape == (100, 1, 28, 56) and tokens.shape == (100, 2)
        numbers |= {tuple(row) for row in tokens.tolist()}
        bank = pictures.pictures()
        for half, side in ((x0[..., :28], 0), (x0[..., 28:], 1)):
            same = (half[:, None, 0] == bank[None, :, 0]).all(-1).all(-1)  # (100, 64)
            assert torch.equal(pictures.labels[same.int().argmax(1)], tokens[:, side]) and same.any(1).all()
    assert len(numbers) > 45 and numbers <= set(seen(50))
    assert torch.equal(shown.batch(2, 100, seed=1)[0], shown.batch(2, 100, seed=1)[0])
    assert not torch.equal(shown.batch(2, 100, seed=1)[0], shown.batch(2, 100, seed=2)[0])


def test_every_fourth_batch_is_single_digits(pictures):
    x0, tokens = Numbers(pictures).batch(3, 8)
    assert x0.shape == (8, 1, 28, 28) and (tokens[:, 1] == NOTHING).all() and (tokens[:, 0] < 10).all()
