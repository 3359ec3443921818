"""What a figure shows, where its code could go wrong unseen."""

from io import BytesIO

import numpy as np
import torch
from PIL import Image

from diffusion101.figures import architecture, plot


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


def test_a_drawing_of_a_unet_has_a_skip_for_each_block_and_a_way_down_for_each_halving():
    def colours(levels):
        pixels = np.asarray(Image.open(BytesIO(architecture.unet(levels).png)).convert("RGB"), dtype=int)
        wanted = [[int(colour[i : i + 2], 16) for i in (1, 3, 5)] for colour in (plot.DATA, plot.PREDICTION)]
        return [(abs(pixels - np.array(colour)).max(2) < 40).sum() for colour in wanted]

    (skips, ways), (more, _) = colours([(4, 1)]), colours([(4, 2)])
    assert more > 1.3 * skips > 0 and ways == 0
    assert colours([(4, 1), (8, 1)])[1] > 50
