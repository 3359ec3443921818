"""Several processes that train one model, as torchrun starts them: PyTorch calls them ranks.

Every rank draws the whole batch, its times and its noise, as one process alone would do, and computes its share of
them; then all take the mean of their gradients. So any number of ranks trains the same model, but for rounding.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import torch.distributed as dist
from torch import Tensor, nn

if TYPE_CHECKING:
    from .loop import Run


@dataclass(frozen=True)
class Ranks:
    """This process, number `rank` of `count`. Number 0 alone writes, scores and talks."""

    rank: int = 0
    count: int = 1

    def check(self, batch: int) -> None:
        """ValueError unless a batch of so many pictures can be shared."""
        if batch % self.count:
            raise ValueError(f"train.batch is {batch}, which {self.count} processes cannot share evenly")

    @contextmanager
    def in_turn(self) -> Iterator[None]:
        """Number 0 first, then the others, who find what it downloaded."""
        if self.rank:
            self._meet()
        yield
        if self.count > 1 and not self.rank:
            self._meet()

    def _meet(self) -> None:
        with _nobody_lost():
            dist.barrier()

    def loss(self, run: "Run", x0: Tensor, cond: Tensor | None) -> Tensor:
        """The loss of this rank's share of the batch x0 (B, C, H, W), cond (B, ...)."""
        if self.count == 1:
            return run.model.loss(x0, cond, run.generator)
        # dropout draws from torch's own generator: not the same in any two ranks, but in a resumed run
        torch.manual_seed((1_000_003 * run.recipe.train.seed + run.step) * self.count + self.rank)
        share = len(x0) // self.count
        part = slice(self.rank * share, (self.rank + 1) * share)
        return run.model.loss(x0, cond, run.generator, part)

    def mean(self, loss: Tensor, model: nn.Module) -> Tensor:
        """The mean of all ranks' losses, a scalar; the model's gradients become the means of theirs, in place."""
        loss = loss.detach()
        if self.count == 1:
            return loss
        grads = [p.grad for p in model.parameters() if p.grad is not None]
        vector = torch.cat([loss.float().view(1), *(grad.flatten() for grad in grads)])
        with _nobody_lost():
            dist.all_reduce(vector)
        loss, *means = (vector / self.count).split([1, *(grad.numel() for grad in grads)])
        for grad, mean in zip(grads, means):
            grad.copy_(mean.view_as(grad))
        return loss[0]


ALONE = Ranks()


@contextmanager
def _nobody_lost() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:  # of gloo and NCCL, when a connection breaks
        raise ValueError("a process of this run was lost: --resume goes on from the last kept state") from error


@contextmanager
def joined(device: torch.device) -> Iterator[Ranks]:
    """This process among those that torchrun started, connected; ALONE where it started none."""
    if int(os.environ.get("WORLD_SIZE", 1)) == 1 or not dist.is_torchelastic_launched():
        yield ALONE
        return
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    yield Ranks(dist.get_rank(), dist.get_world_size())
    dist.destroy_process_group()  # not after an error: to part in good order takes all of them


def rank() -> int:
    """The number that torchrun gave this process; 0 without torchrun."""
    return int(os.environ["RANK"]) if dist.is_torchelastic_launched() else 0


def own(device: str) -> str:
    """The name of this process's device: under torchrun every process has a GPU of its own."""
    if not dist.is_torchelastic_launched() or device == "cpu":
        return device
    if device != "cuda":
        raise ValueError(f"--device is {device!r}; under torchrun it must be cpu or cuda")
    local, there = int(os.environ["LOCAL_WORLD_SIZE"]), torch.cuda.device_count()
    if local > there:
        raise ValueError(f"{local} processes need a CUDA device each, and this machine has {there}")
    return f"cuda:{os.environ['LOCAL_RANK']}"
