import pytest
import torch

from diffusion101.data import handwriting
from diffusion101.data.scenes import HANDS


@pytest.mark.parametrize("name", handwriting.HANDWRITINGS)
def test_each_is_another_but_the_digits_stay(name, pictures):
    written = handwriting.write(pictures, name, count=30)
    assert written.images.shape[1:] == (1, 28, 28) and written.images.dtype == torch.uint8
    counts = written.labels.bincount(minlength=10)
    assert len(written) <= 30 and counts.max() <= 3
    distance = (written.pictures()[:, None] - pictures.pictures()[None]).abs().mean((2, 3, 4)).amin(1)
    assert (distance > 0.01).all(), "no picture stayed as it was"


@pytest.mark.parametrize("write", [*handwriting.HANDWRITINGS.values(), *HANDS.values()])
def test_each_writes_on_the_device_of_its_digits(write):
    x = torch.zeros(2, 1, 28, 28, device="meta")
    assert write(x).device == x.device and write(x).shape == x.shape


def test_what_each_does(pictures):
    x = pictures.images.float() / 255
    assert handwriting.HANDWRITINGS["heavy"](x).mean() > 1.3 * x.mean()
    bar = torch.zeros(1, 1, 28, 28)
    bar[..., 6:22, 10:18] = 1
    rim = handwriting.outline(bar)
    assert rim[0, 0, 14, 14] == 0 and rim[0, 0, 14, 10] > 0.4
    leaning = handwriting.slant(bar)
    top, bottom = (leaning[0, 0, row].argmax().item() for row in (8, 20))
    assert top < bottom


def test_lean_is_the_slope_of_the_ink(pictures):
    y = torch.arange(28)
    for slope in (-1, 0, 1):
        x = torch.full((1, 1, 28, 28), -1.0)
        x[0, 0, y, (14 + slope * (14 - y)).clamp(0, 27)] = 1.0
        assert handwriting.lean(x[:, :, 2:27]).item() == pytest.approx(slope, abs=1e-3)
    x = pictures.images[:, :, 3:-3].float() / 255  # room at the sides: nothing is cut off
    x = torch.nn.functional.pad(x, (14, 14, 3, 3))
    upright, slanted = (handwriting.lean(2 * z - 1) for z in (x, handwriting.slant(x, 0.3)))
    more = slanted - upright  # the picture is wider than high, and slant counts in halves of each
    assert more.mean().item() == pytest.approx(-0.3 * x.shape[3] / x.shape[2], abs=0.02) and more.std() < 0.03


def test_refuses(pictures):
    with pytest.raises(ValueError, match="unknown handwriting 'tiny'; there are outline, heavy, slant"):
        handwriting.write(pictures, "tiny")
    with pytest.raises(ValueError, match="count is 65; it must lie from 10 to 64"):
        handwriting.write(pictures, "heavy", 65)
