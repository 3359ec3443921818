import pytest
import torch

from diffusion101 import hands


@pytest.mark.parametrize("hand", hands.HANDS)
def test_each_hand_is_another_but_the_digits_stay(hand, pictures):
    written = hands.write(pictures, hand, count=30)
    assert written.images.shape[1:] == (1, 28, 28) and written.images.dtype == torch.uint8
    counts = written.labels.bincount(minlength=10)
    assert len(written) <= 30 and counts.max() <= 3
    distance = (written.pictures()[:, None] - pictures.pictures()[None]).abs().mean((2, 3, 4)).amin(1)
    assert (distance > 0.01).all(), "no picture stayed as it was"


def test_what_each_hand_does(pictures):
    x = pictures.images.float() / 255
    assert hands.HANDS["heavy"](x).mean() > 1.3 * x.mean()
    bar = torch.zeros(1, 1, 28, 28)
    bar[..., 6:22, 10:18] = 1
    rim = hands.outline(bar)
    assert rim[0, 0, 14, 14] == 0 and rim[0, 0, 14, 10] > 0.4
    leaning = hands.slant(bar)
    top, bottom = (leaning[0, 0, row].argmax().item() for row in (8, 20))
    assert top < bottom


def test_refuses(pictures):
    with pytest.raises(ValueError, match="unknown hand 'tiny'; there are outline, heavy, slant"):
        hands.write(pictures, "tiny")
    with pytest.raises(ValueError, match="count is 65; it must lie from 10 to 64"):
        hands.write(pictures, "heavy", 65)
