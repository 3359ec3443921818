"""What lesson 10's tools keep of a run."""

import json

import pytest
import torch
from PIL import Image

from diffusion101.data import Images
from diffusion101.figures import files
from tools import measure_10, strips_10


def colours(n: int, side: int = 4) -> torch.Tensor:
    """n flat pictures (n, 3, side, side), each in a colour of its own."""
    return (torch.linspace(-1, 1, n).view(n, 1, 1, 1) * torch.tensor([1.0, -1.0, 0.5]).view(3, 1, 1)).expand(
        n, 3, side, side
    )


def test_a_preview_is_cut_into_the_pictures_it_was_made_of(tmp_path):
    x = colours(16)
    files.grid(x, 8).save(tmp_path / "step-000010.png")
    torch.testing.assert_close(strips_10.preview(tmp_path / "step-000010.png", 4), x[:10], rtol=0, atol=0.01)


def test_a_strip_says_what_its_rows_are(tmp_path):
    x = colours(20)
    strips_10.write({"first": x[:10], "second": x[10:]}, tmp_path / "strip.png", "drawn by nobody")
    about = json.loads(files.note(tmp_path / "strip.png"))
    assert about == {"rows": ["first", "second"], "how": "drawn by nobody"}
    with Image.open(tmp_path / "strip.png") as picture:
        assert picture.mode == "P" and picture.size == (40, 8)
        assert picture.convert("RGB").getpixel((38, 6)) == pytest.approx((255, 0, 191), abs=2)


def test_confusions_are_counted_by_what_was_asked_for():
    table = measure_10.said(torch.tensor([3, 3, 3, 7]), torch.tensor([3, 5, 5, 7]))
    assert table[3][5] == 2 and table[3][3] == table[7][7] == 1 and sum(map(sum, table)) == 4


def test_a_mirrored_training_picture_is_near():
    images = (torch.rand(20, 3, 8, 8, generator=torch.Generator().manual_seed(0)) * 255).byte()
    train = Images("", images, torch.zeros(20, dtype=torch.int64), "")
    assert measure_10.away(train.pictures().flip(3), train) == {"median": 0.0, "least": 0.0}
    assert measure_10.away(train.pictures().flip(2), train)["least"] > 0.1
