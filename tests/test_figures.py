"""What a figure shows, where its code could go wrong unseen."""

from io import BytesIO

import numpy as np
import torch
from PIL import Image

from diffusion101.figures import plot


def test_both_ways_keeps_the_pictures_in_order_and_draws_two_arrows():
    x = torch.stack([torch.full((1, 8, 8), value) for value in (-1.0, 0.0, 1.0)])
    picture = plot.both_ways(x, ["t = 2", "t = 1", "t = 0"], "noising", "drawing")
    pixels = np.asarray(Image.open(BytesIO(picture.png)).convert("RGB"), dtype=int)
    height, width, _ = pixels.shape
    third = width // 3
    black, grey, white = (pixels[height // 2, third // 2 + i * third].mean() for i in range(3))
    assert black < 5 and 110 < grey < 145 and white > 250
    blue = (pixels[..., 2] - pixels[..., 0]) > 100  # the arrows' colour
    rows, tips = blue.any(1).nonzero()[0], []
    assert rows.min() < height / 3 and rows.max() > 2 * height / 3
    for half in (blue[: height // 2], blue[height // 2 :]):
        thick = half.sum(0)
        tips.append("left" if thick[: width // 4].max() > thick[-width // 4 :].max() else "right")
    assert tips == ["left", "right"]
