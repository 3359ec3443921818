import pytest
import torch

from diffusion101.pairs import NOTHING, Pairs, seen, unseen


@pytest.mark.parametrize("held_out", [0, 10, 30, 90])
def test_every_digit_is_held_out_equally_often_on_either_side(held_out):
    hidden, shown = unseen(held_out), seen(held_out)
    assert len(hidden) == held_out and len(shown) == 100 - held_out and not set(hidden) & set(shown)
    for side in (0, 1):
        assert all([pair[side] for pair in hidden].count(digit) == held_out // 10 for digit in range(10))


@pytest.mark.parametrize("bad", [5, 100, -10])
def test_held_out_refuses(bad):
    with pytest.raises(ValueError, match="it must be 0, 10"):
        unseen(bad)


def test_batches_show_seen_numbers_only_and_what_they_say(pictures):
    pairs = Pairs(pictures, held_out=50)
    numbers = set()
    for step in (0, 1, 2, 4):
        x0, tokens = pairs.batch(step, 100, seed=1)
        assert x0.shape == (100, 1, 28, 56) and tokens.shape == (100, 2)
        numbers |= {tuple(pair) for pair in tokens.tolist()}
        bank = pictures.pictures()
        for half, side in ((x0[..., :28], 0), (x0[..., 28:], 1)):
            same = (half[:, None, 0] == bank[None, :, 0]).all(-1).all(-1)  # (100, 64)
            assert torch.equal(pictures.labels[same.int().argmax(1)], tokens[:, side]) and same.any(1).all()
    assert len(numbers) > 45 and numbers <= set(seen(50))
    assert torch.equal(pairs.batch(2, 100, seed=1)[0], pairs.batch(2, 100, seed=1)[0])
    assert not torch.equal(pairs.batch(2, 100, seed=1)[0], pairs.batch(2, 100, seed=2)[0])


def test_every_fourth_batch_is_single_digits(pictures):
    x0, tokens = Pairs(pictures).batch(3, 8)
    assert x0.shape == (8, 1, 28, 28) and (tokens[:, 1] == NOTHING).all() and (tokens[:, 0] < 10).all()
