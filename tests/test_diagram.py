"""Drawings of networks."""

from io import BytesIO

import numpy as np
from PIL import Image

from diffusion101.figures import diagram


def orange(picture) -> np.ndarray:
    """Where the boxes that stand out are: the rows' and columns' shares, from the top and from the left."""
    pixels = np.asarray(Image.open(BytesIO(picture.png)).convert("RGB"), dtype=int)
    found = (np.abs(pixels - (0xD5, 0x5E, 0x00)).max(2) < 20).nonzero()
    return np.stack([places / side for places, side in zip(found, pixels.shape)])


def test_marked_boxes_stand_out_where_they_stand():
    plain = diagram.ways({"a": (["one", "two"], ["skip"])}, marked="resize")
    assert orange(plain).size == 0
    rows, columns = orange(diagram.ways({"a": (["one", "two"], ["skip"]), "b": (["one", "resize"], [])}, "resize"))
    assert rows.min() > 0.5 and columns.min() > 0.5, "in the second drawing, behind the middle"
    rows, columns = orange(diagram.ways({"a": (["one", "two"], ["resize", "skip", "more"])}, "resize"))
    assert rows.min() > 0.4 and columns.max() < 0.5, "on the way around, which is drawn below"
