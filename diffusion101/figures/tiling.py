"""Many pictures as one: the one grid that figures, picture files and TensorBoard share."""

import torch
from torch import Tensor


def tile(x: Tensor, columns: int = 10) -> Tensor:
    """Pictures x (N, C, H, W) in [-1, 1], row by row -> one (C, rows H, columns W); the rest is black."""
    n, c, h, w = x.shape
    columns = min(columns, n)
    rows = -(-n // columns)
    x = torch.cat([x, x.new_full((rows * columns - n, c, h, w), -1)])
    return x.view(rows, columns, c, h, w).permute(2, 0, 3, 1, 4).reshape(c, rows * h, columns * w)
