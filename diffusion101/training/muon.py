"""Muon: momentum whose singular values are made about equal (Jordan et al. 2024, kellerjordan.github.io/posts/muon).

Gradients of a layer's matrix are mostly of low rank, so a plain step moves a few directions only. Here every direction
of the matrix moves about as far. A convolution's kernel counts as a matrix of (outputs, inputs x kernel).
"""

from collections import defaultdict

import torch
from torch import Tensor


class Muon(torch.optim.Optimizer):
    """For weights of two or more dimensions; lr on the scale of AdamW's (Liu et al. 2025, eq. 4).

    params    tensors of at least two dimensions, or groups of them
    momentum  of the average of the gradients, taken with Nesterov's look ahead
    """

    def __init__(self, params, lr: float = 2e-3, momentum: float = 0.95, weight_decay: float = 0.0):
        super().__init__(params, dict(lr=lr, momentum=momentum, weight_decay=weight_decay))

    @torch.no_grad()
    def step(self, closure=None) -> None:
        for group in self.param_groups:
            alike = defaultdict(list)  # matrices of one shape are made orthogonal together: fewer, larger products
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                state = self.state[parameter]
                if not state:
                    state["momentum"] = torch.zeros_like(parameter)
                state["momentum"].lerp_(parameter.grad, 1 - group["momentum"])
                ahead = parameter.grad.lerp(state["momentum"], group["momentum"]).flatten(1)  # (out, in)
                alike[ahead.shape].append((parameter, ahead))
            for shape, found in alike.items():
                parameters, aheads = zip(*found)
                length = 0.2 * max(shape) ** 0.5  # so that each number moves about as far as with AdamW
                for parameter, moved in zip(parameters, orthogonal(torch.stack(aheads))):
                    parameter.mul_(1 - group["lr"] * group["weight_decay"])
                    parameter.add_(moved.view_as(parameter), alpha=-group["lr"] * length)


def orthogonal(g: Tensor, steps: int = 5) -> Tensor:
    """Matrices (..., N, M) with g's singular vectors and singular values between about 0.7 and 1.2.

    Newton-Schulz iteration x <- (a + b x xᵀ + c (x xᵀ)²) x with coefficients that are steep at 0. All its factors are
    polynomials of the first x xᵀ, so they are multiplied up on that smaller square, and meet x once, at the end.
    """
    a, b, c = 3.4445, -4.7750, 2.0315
    x = g / (g.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    tall = g.shape[-2] > g.shape[-1]
    x = x.mT if tall else x
    square = x @ x.mT

    def factor() -> Tensor:
        made = (square @ square).mul_(c).add_(square, alpha=b)
        made.diagonal(dim1=-2, dim2=-1).add_(a)
        return made

    last = factors = factor()
    for _ in range(steps - 1):
        square = last @ square @ last
        last = factor()
        factors = last @ factors
    x = factors @ x
    return x.mT if tall else x
