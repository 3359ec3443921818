"""Handwritten-looking digits made on the spot: a pen path per digit, bent at random and inked by distance.

No file and no network: this is the data set of last resort, and an endless one. Each digit takes four moves: choose a
way to write it, shake and bend its curve, place the curve in the box, ink the pixels near it.
"""

import math
from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor

# How people write each digit. A point is two figures, x then y, on a 10 x 10 sheet (x to the right, y down). The pen
# goes smoothly through the points of a stroke and lifts at "/". Equal points are one point and move together, so a
# stroke that begins where another ended makes a corner. A way listed twice is twice as common.
WAYS: dict[int, tuple[str, ...]] = {
    0: ("50 13 17 49 86 82 50", "40 05 49 94 40", "61 30 04 17 48 87 93 61 31", "71 40 13 17 49 86 82 50"),
    1: ("50 55 59", "50 55 59", "50 54 59", "34 50 / 50 55 59", "24 50 / 50 55 59 / 29 59 89"),
    2: ("12 40 82 55 09 / 09 49 99", "12 40 82 56 18 07 37 69 98", "13 41 72 56 29 08 16 47 99", "01 50 83 09 / 09 98"),
    3: ("11 50 72 34 / 34 75 86 49 08", "02 40 72 45 / 45 86 59 08", "10 80 / 80 44 / 44 86 49 08",
        "01 40 72 44 24 54 87 59 08"),
    4: ("20 05 / 05 55 95 / 70 65 69", "20 15 55 83 / 80 84 79", "70 06 / 06 96 / 70 69", "10 04 45 84 / 80 84 89",
        "10 14 06 46 85 / 80 84 79"),
    5: ("90 20 / 20 14 / 14 63 86 49 08", "20 14 / 14 54 87 49 08 / 20 50 90", "91 30 / 30 14 65 77 39 08",
        "80 30 14 54 76 49 08"),
    6: ("70 23 06 49 87 65 16", "50 14 17 59 87 65 17", "60 23 06 29 78 76 45 17", "30 04 08 49 88 75 45 18"),
    7: ("01 81 / 81 55 39", "02 11 51 91 / 91 64 49", "01 81 / 81 55 39 / 25 85", "12 50 91 74 49",
        "02 01 81 / 81 54 49 / 35 95"),
    8: ("81 40 13 55 87 49 17 54 82 81", "50 22 54 82 50 / 54 27 49 77 54", "90 40 13 55 87 49 17 55 92",
        "82 50 12 45 87 49 17 55 82"),
    9: ("71 40 12 14 35 72 / 72 66 59", "81 40 14 45 81 / 81 65 49", "82 50 13 35 82 84 78 49 19",
        "80 40 13 34 71 80 / 80 65 49", "91 50 13 35 82 / 82 59"),
}  # fmt: skip
FRAME = 20 / 28  # the longer side of a digit, to the middle of its grey edge, as a share of the box: MNIST's framing
SOFT = 1.2 / 28  # the breadth of a stroke's grey edge, as a share of the box
CHUNK = 2**19  # pixel-segment pairs inked at once: few enough to stay in the processor's cache


class Sheet(NamedTuple):
    """All W ways as tables: K control points, and M points along the curve, each a blend of control points."""

    control: Tensor  # (W, K, 2) x, y in -1..1
    blend: Tensor  # (W, M, K), rows sum to 1
    lift: Tensor  # (W, M) bool: the pen is up on the way to the next point
    first: Tensor  # (10,) int64: the first way of each digit
    count: Tensor  # (10,) int64: how many ways it has


def draw(labels: Tensor, size: int = 28, generator: torch.Generator | None = None) -> Tensor:
    """Draw one new handwritten-looking digit per label: white ink (255) on black (0), framed and centred as in MNIST.

    labels: (N,) int64 in 0..9; size: the side in pixels, at least 8; generator: a CPU generator, else torch's own.
    Returns (N, 1, size, size) uint8 on the device of labels; the outermost pixels are always black, and the same
    generator state gives the same handwriting at every size. Raises ValueError on other labels and sizes.
    """
    if labels.dim() != 1 or labels.dtype != torch.int64:
        raise ValueError(f"labels are {labels.dtype} of shape {tuple(labels.shape)}; they must be int64 of shape (N,).")
    wrong = labels[(labels < 0) | (labels > 9)]
    if len(wrong):
        raise ValueError(f"label {wrong[0].item()} is not a digit; labels must be in 0..9.")
    check_size(size)

    # All chance is drawn here, on the CPU, so that a seed means the same ink whatever the chunks and the device.
    table = sheet()
    digits = labels.cpu()
    way = table.first[digits] + (torch.rand(len(digits), generator=generator) * table.count[digits]).long()  # (N,)
    habit = torch.randn(len(way), 10, generator=generator).clamp(-2, 2)  # a writer's: bend() takes 7, place() 3
    shake = torch.randn(len(way), *table.control.shape[1:], generator=generator)

    images = torch.empty(len(way), 1, size, size, dtype=torch.uint8)
    length = max(1, CHUNK // (size**2 * table.lift.shape[1]))
    for i in range(0, len(way), length):
        part = slice(i, i + length)
        control = table.control[way[part]] + 0.11 * shake[part]  # (n, K, 2)
        curve = bend(table.blend[way[part]] @ control, habit[part, :7])  # (n, M, 2)
        images[part, 0] = ink(*place(curve, table.lift[way[part]], habit[part, 7:], size), size)
    return images.to(labels.device)


def dataset(count: int, size: int = 28, seed: int = 0) -> tuple[Tensor, Tensor]:
    """A seeded set: images (count, 1, size, size) uint8 and labels (count,) int64, uniform in 0..9.

    Bit for bit the same whenever it is made on one machine. Raises ValueError if count is below 1 or size below 8.
    """
    if count < 1:
        raise ValueError(f"count is {count}; it must be at least 1.")
    check_size(size)
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(10, (count,), generator=generator)
    return draw(labels, size, generator), labels


def coloured(count: int, size: int = 32, seed: int = 0) -> tuple[Tensor, Tensor]:
    """As dataset, each digit in a colour of its own on a ground of another: (count, 3, size, size) uint8."""
    images, labels = dataset(count, size, seed)
    pens = torch.randint(256, (2, count, 3, 1, 1), generator=torch.Generator().manual_seed(seed))
    parts = zip(images.split(1000), *(colour.float().split(1000) for colour in pens))
    return torch.cat([(ground + ink / 255 * (pen - ground)).round().byte() for ink, ground, pen in parts]), labels


def check_size(size: int) -> None:
    """Raise ValueError if size x size pixels are too few for a digit."""
    if size < 8:
        raise ValueError(f"size is {size}; it must be at least 8 pixels.")


@cache
def sheet() -> Sheet:
    """Compile WAYS, once: a Catmull-Rom curve is linear in its control points, so smoothing is a table of weights."""
    texts = [text for ways in WAYS.values() for text in ways]
    count = torch.tensor([len(ways) for ways in WAYS.values()])
    # Room for the longest way; unused control points have no weight.
    control, blend, lift = torch.zeros(len(texts), 12, 2), torch.zeros(len(texts), 64, 12), torch.ones(len(texts), 64)
    longest = 0
    for w, text in enumerate(texts):
        points = list(dict.fromkeys(text.replace("/", "").split()))
        control[w, : len(points)] = torch.tensor([[int(figure) for figure in point] for point in points]) / 4.5 - 1
        m = 0
        for stroke in text.split("/"):
            path = [points.index(point) for point in stroke.split()]
            # The curve looks one point back and one ahead; a loop finds them round the corner, an end repeats itself.
            before, after = (path[-2], path[1]) if path[0] == path[-1] else (path[0], path[-1])
            for a, b, c, d in zip([before, *path], path, path[1:], [*path[2:], after]):
                steps = math.ceil(5 * math.dist(control[w, b], control[w, c]))
                for u in (step / steps for step in range(steps)):
                    for k, weight in zip((a, b, c, d), catmull_rom(u)):
                        blend[w, m, k] += weight
                    lift[w, m] = 0
                    m += 1
            blend[w, m, path[-1]] = 1  # the end of the stroke: from here the pen is up
            m += 1
        blend[w, m:] = blend[w, m - 1]  # shorter ways wait at their end
        longest = max(longest, m)
    return Sheet(control, blend[:, :longest], lift[:, :longest].bool(), count.cumsum(0) - count, count)


def catmull_rom(u: float) -> tuple[float, float, float, float]:
    """Weights of four neighbouring points at u in 0..1 between the middle two (Catmull and Rom, 1974)."""
    return (-u + 2 * u**2 - u**3) / 2, 1 - 2.5 * u**2 + 1.5 * u**3, (u + 4 * u**2 - 3 * u**3) / 2, (u**3 - u**2) / 2


def bend(curve: Tensor, habit: Tensor) -> Tensor:
    """Give curves (n, M, 2) the shape of a hand, by habits (n, 7): a smooth map of the whole sheet, (n, M, 2)."""
    x, y = curve.unbind(-1)  # (n, M) each
    wave, phase, wedge, waist, breadth, slant, turn = habit[:, :, None].unbind(1)  # (n, 1) each
    x = (1 + 0.2 * wedge * y) * x + 0.1 * wave * torch.sin(1.6 * y + 2 * phase)
    y = y + 0.15 * waist * (1 - y**2)
    x = 0.75 * torch.exp(0.2 * breadth) * x - (0.12 + 0.24 * slant) * y
    cos, sin = torch.cos(0.08 * turn), torch.sin(0.08 * turn)
    return torch.stack([x * cos - y * sin, x * sin + y * cos], -1)


def place(curve: Tensor, lift: Tensor, habit: Tensor, size: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Frame curves (n, M, 2) in the box 0..1, and choose the pen by habits (n, 3).

    Returns the segments' start and end (n, M-1, 2), their radius (n, M-1), and the brightness of the ink (n, 1).
    """
    weight, phase, bright = habit[:, :, None].unbind(1)  # (n, 1) each
    width, height = (curve.amax(1, keepdim=True) - curve.amin(1, keepdim=True)).unbind(-1)  # (n, 1) each
    squeeze = (1.15 * height / width).clamp(max=1)  # beyond this breadth a digit is hard to read
    longer = height.maximum(squeeze * width)
    radius = FRAME / 20 * 1.35 * torch.exp(0.25 * weight)
    radius = radius.minimum(0.1 * FRAME * height / longer)  # a fat pen would fill the loops of a flat digit
    scale = (FRAME - 2 * radius) / longer
    curve = curve * torch.stack([squeeze * scale, scale], -1)

    start, end = curve[:, :-1], curve[:, 1:]
    end = torch.where(lift[:, :-1, None], start, end)  # with the pen up, a segment shrinks to the dot it starts from
    length = (end - start).norm(dim=-1, keepdim=True)
    mass = (length * (start + end) / 2).sum(1) / length.sum(1)  # (n, 2)
    margin = radius + max(SOFT, 1 / size) / 2 + 0.5 / size  # keeps the outermost pixels black
    # MNIST puts the centre of mass on pixel 14, half a pixel off the centre of the box.
    shift = (14.5 / 28 - mass).clamp(margin - curve.amin(1), 1 - margin - curve.amax(1))[:, None]
    pressure = 0.88 + 0.12 * torch.sin(torch.linspace(0, 5, start.shape[1]) + 3 * phase)
    return start + shift, end + shift, radius * pressure, 1.05 + 0.06 * bright


def ink(start: Tensor, end: Tensor, radius: Tensor, bright: Tensor, size: int) -> Tensor:
    """Ink each pixel by its distance to the nearest segment, measured in that segment's radius: (n, size, size)."""
    pixel = ((torch.arange(size) + 0.5) / size)[:, None]  # (size, 1)
    length = (end - start).norm(dim=-1, keepdim=True)  # (n, M, 1)
    along = (end - start) / length.clamp(min=1e-9)
    # Dot products split into an x and a y part, so the large arrays (n, size, size, M) are sums of small ones.
    x = (pixel - start[:, None, :, 0]) / radius[:, None]  # (n, size, M), from the segment's start to a column
    y = (pixel - start[:, None, :, 1]) / radius[:, None]  # ... and to a row
    reach = (y * along[:, None, :, 1])[:, :, None] + (x * along[:, None, :, 0])[:, None]
    foot = reach.minimum((length[..., 0] / radius)[:, None, None]).clamp_(min=0)  # the nearest point of the segment
    square = (y**2)[:, :, None] + (x**2)[:, None]  # to the start; to the foot it is less by foot * (2 reach - foot)
    nearest = square.addcmul_(foot, reach.mul_(2).sub_(foot), value=-1).amin(-1).clamp_(min=0).sqrt_()
    depth = (1 - nearest) * radius.amax(1)[:, None, None] / max(SOFT, 1 / size)  # 0 on the contour
    return ((depth + 0.5).clamp(0, 1) * bright[:, None]).clamp(max=1).mul(255).round().byte()
