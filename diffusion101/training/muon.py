"""Muon: momentum whose singular values are made about equal (Jordan et al. 2024, kellerjordan.github.io/posts/muon).

Gradients of a layer's matrix are mostly of low rank, so a plain step moves a few directions only. Here every direction
of the matrix moves about as far. A convolution's kernel counts as a matrix of (outputs, inputs x kernel).
"""

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
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                state = self.state[parameter]
                if not state:
                    state["momentum"] = torch.zeros_like(parameter)
                state["momentum"].lerp_(parameter.grad, 1 - group["momentum"])
                ahead = parameter.grad.lerp(state["momentum"], group["momentum"]).flatten(1)  # (out, in)
                length = 0.2 * max(ahead.shape) ** 0.5  # so that each number moves about as far as with AdamW
                parameter.mul_(1 - group["lr"] * group["weight_decay"])
                parameter.add_(orthogonal(ahead).view_as(parameter), alpha=-group["lr"] * length)


def orthogonal(g: Tensor, steps: int = 5) -> Tensor:
    """A matrix (N, M) with g's singular vectors and singular values between about 0.7 and 1.2.

    Newton-Schulz iteration x <- a x + b (x xᵀ) x + c (x xᵀ)² x with coefficients that are steep at 0.
    """
    a, b, c = 3.4445, -4.7750, 2.0315
    x = g / (g.norm() + 1e-7)
    x = x.T if len(g) > g.shape[1] else x
    for _ in range(steps):
        square = x @ x.T
        x = a * x + (b * square + c * square @ square) @ x
    return x.T if len(g) > g.shape[1] else x
