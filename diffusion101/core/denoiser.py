"""A network, a schedule and what the network predicts: together, a denoise function that can be trained."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .likelihood import HYBRID, bound
from .process import PREDICTIONS, WEIGHTS, Denoised, draw_t, q_sample
from .schedules import Schedule

LOSSES = {"mse": F.mse_loss, "l1": F.l1_loss, "huber": F.smooth_l1_loss}


class Denoiser(nn.Module):
    """network(x, t, cond) answers with eps, x0 or v; the Denoiser turns that into Denoised(x0, eps).

    network  any module called as (x, t, cond); what it can be told is its config.condition. With twice the channels of
             x it also says how large the variance of a step is, and learns it by the hybrid loss
    s        Schedule; attribute .schedule
    predict  "eps", "x0" or "v"
    loss     "mse", "l1" or "huber": how far the answer is from its target
    weight   "uniform", "min-snr-5" (of v only) or "time": how much a picture's time counts in the loss
    about    of a loaded model: the metadata of its weight file
    """

    def __init__(
        self, network: nn.Module, s: Schedule, predict: str = "eps", loss: str = "mse", weight: str = "uniform"
    ):
        super().__init__()
        tables = {"predict": (predict, PREDICTIONS), "loss": (loss, LOSSES), "weight": (weight, WEIGHTS)}
        for what, (name, table) in tables.items():
            if name not in table:
                raise ValueError(f"{what} is {name!r}; it must be one of {', '.join(table)}")
        if weight == "min-snr-5" and predict != "v":
            raise ValueError(f"weight min-snr-5 is for errors in v, not in {predict}")
        self.network, self.schedule, self.predict, self.loss_name, self.weight = network, s, predict, loss, weight
        self.about: dict[str, Any] = {}

    @property
    def condition(self) -> Any:
        """What the network can be told (networks.conditions), or None."""
        return getattr(getattr(self.network, "config", None), "condition", None)

    def answer(self, x: Tensor, t: Tensor, cond: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """The network's own answer (B, ...) in float32, and the share (B, ...) of Denoised, if it gives one.

        0 from the network is the share 1/2; -1 and 1 are its ends, which nothing enforces (section 3.1 of the paper).
        """
        answer = self.network(PREDICTIONS[self.predict].inputs(x, t, self.schedule), t, cond).float()
        if answer.shape == x.shape:
            return answer, None
        answer, share = answer.chunk(2, dim=1)
        return answer, (share + 1) / 2

    def forward(self, x: Tensor, t: Tensor, cond: Tensor | None = None) -> Denoised:
        """x (B, ...), t (B,) int64 in 1..T, cond as the network takes it -> Denoised, both parts (B, ...)."""
        answer, share = self.answer(x, t, cond)
        return PREDICTIONS[self.predict].denoised(answer, x, t, self.schedule).sharing(share)

    def loss(
        self,
        x0: Tensor,
        cond: Tensor | None = None,
        generator: torch.Generator | None = None,
        part: slice = slice(None),
    ) -> Tensor:
        """One t and one eps ~ N(0, 1) per picture (Ho et al. 2020, algorithm 1); a scalar.

        With a share, L_simple + 0.001 L_vlb (Nichol & Dhariwal 2021, eq. 16): the bound's T terms, estimated by one,
        teach the variance alone, for the guess in them has no gradient. cond is ignored by a network that cannot be
        told anything. part: the pictures that count here; the others have their t and eps drawn all the same.
        """
        t = draw_t(len(x0), self.schedule, generator, x0.device)
        eps = torch.randn(x0.shape, generator=generator, device=x0.device)
        x0, t, eps = x0[part], t[part], eps[part]
        cond = None if cond is None or self.condition is None else cond[part]
        wanted = PREDICTIONS[self.predict].target(x0, t, eps, self.schedule)
        x = q_sample(x0, t, eps, self.schedule)
        answer, share = self.answer(x, t, cond)
        each = LOSSES[self.loss_name](answer, wanted, reduction="none").flatten(1).mean(1)  # (B,)
        loss = (each * WEIGHTS[self.weight](t, self.schedule)).mean()
        if share is None:
            return loss
        guess = PREDICTIONS[self.predict].denoised(answer.detach(), x, t, self.schedule).sharing(share)
        return loss + HYBRID * self.schedule.T * bound(x0, x, t, guess, self.schedule).mean()
