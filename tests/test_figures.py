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


def test_every_pixel_is_equally_large():
    x = torch.randint(0, 2, (12, 1, 13, 9), generator=torch.Generator().manual_seed(0)) * 2.0 - 1
    for picture in (plot.grid(x[:1], title="one"), plot.filmstrip({"a": x[:8], "b": x[4:]}, ["t = 1"] * 8)):
        assert picture._repr_png_()[1] == {"width": Image.open(BytesIO(picture.png)).width // 2}
        pixels = np.asarray(Image.open(BytesIO(picture.png)).convert("L"))
        wanted = ((x[0, 0] + 1) * 127.5).byte().numpy()
        found = []
        for times in range(2, 120):
            inner = np.kron(wanted[1:-1, 1:-1], np.ones((times, times), np.uint8))  # the frame covers the rim
            if inner.shape[0] > pixels.shape[0] or inner.shape[1] > pixels.shape[1]:
                break
            windows = np.lib.stride_tricks.sliding_window_view(pixels, inner.shape)
            corners = windows[..., 0, 0] == inner[0, 0]
            edges = (0, times - 1), (0, times), (3 * times - 1, times), (3 * times, times)  # where its colour changes
            for i, j in (*edges, (0, -1), (-1, 0), (-1, -1), (5 * times, 3 * times)):
                corners = corners & (windows[..., i, j] == inner[i, j])
            found += [times for i, j in np.argwhere(corners) if np.array_equal(windows[i, j], inner)]
        assert len(found) == 1 and found[0] >= 8


def test_the_running_mean_weighs_what_was_seen_and_nothing_else():
    history = [3.0, 1.0, 4.0, 1.0, 5.0]
    for n, mean in enumerate(plot.running_mean(history), 1):
        weights = 0.97 ** np.arange(n)[::-1]
        assert np.isclose(mean, (weights * history[:n]).sum() / weights.sum())


def test_a_drawing_of_a_unet_has_a_skip_for_each_block_and_a_way_down_for_each_halving():
    def colours(levels):
        pixels = np.asarray(Image.open(BytesIO(architecture.unet(levels).png)).convert("RGB"), dtype=int)
        wanted = [[int(colour[i : i + 2], 16) for i in (1, 3, 5)] for colour in (plot.DATA, plot.PREDICTION)]
        return [(abs(pixels - np.array(colour)).max(2) < 40).sum() for colour in wanted]

    (skips, ways), (more, _) = colours([(4, 1)]), colours([(4, 2)])
    assert more > 1.3 * skips > 0 and ways == 0
    assert colours([(4, 1), (8, 1)])[1] > 50
