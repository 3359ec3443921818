"""A network, a schedule and what the network predicts: together, a denoise function that can be trained."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .process import PREDICTIONS, Denoised, q_sample, target
from .schedules import Schedule

LOSSES = {"mse": F.mse_loss, "l1": F.l1_loss, "huber": F.smooth_l1_loss}


class Denoiser(nn.Module):
    """network(x, t, cond) answers with eps, x0 or v; the Denoiser turns that into Denoised(x0, eps).

    network   any module called as (x, t, cond); its attribute `null` is the label that means "any"
    schedule  Schedule; attribute .schedule
    predict   "eps", "x0" or "v"
    loss_name "mse", "l1" or "huber": how far the answer is from process.target, averaged over everything
    """

    def __init__(self, network: nn.Module, schedule: Schedule, predict: str = "eps", loss_name: str = "mse"):
        super().__init__()
        for what, name, table in (("predict", predict, PREDICTIONS), ("loss", loss_name, LOSSES)):
            if name not in table:
                raise ValueError(f"{what} is {name!r}; it must be one of {', '.join(table)}")
        self.network, self.schedule, self.predict, self.loss_name = network, schedule, predict, loss_name

    @property
    def null(self) -> int:
        return self.network.null

    def forward(self, x: Tensor, t: Tensor, cond: Tensor | None = None) -> Denoised:
        """x (B, ...), t (B,) int64 in 1..T, cond as the network takes it -> Denoised, both parts (B, ...)."""
        return PREDICTIONS[self.predict](self.network(x, t, cond).float(), x, t, self.schedule)

    def loss(self, x0: Tensor, cond: Tensor | None = None, generator: torch.Generator | None = None) -> Tensor:
        """One draw of t ~ U{1..T} and eps ~ N(0, 1) per picture (Ho et al. 2020, algorithm 1); a scalar."""
        t = torch.randint(1, self.schedule.T + 1, (len(x0),), generator=generator, device=x0.device)
        eps = torch.randn(x0.shape, generator=generator, device=x0.device)
        x = q_sample(x0, t, eps, self.schedule)
        answer = self.network(x, t, cond).float()
        return LOSSES[self.loss_name](answer, target(self.predict, x0, t, eps, self.schedule))
