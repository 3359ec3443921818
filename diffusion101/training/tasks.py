"""Tasks: what a recipe can train. Each says how it is built, what it is shown, how it previews, scores and exports.

A new kind of training is a new class here, and its name in TASKS.
"""

from collections.abc import Callable, Iterable
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor, nn

from .. import checkpoint, lora
from ..core import schedules
from ..core.denoiser import Denoiser
from ..data import handwriting
from ..data.images import Images, load
from ..data.numbers import Numbers
from ..drawing import Request, pictures
from ..networks import UNet
from ..scoring.classifier import Classifier
from ..scoring.score import cost, score_model
from .loop import Stream
from .recipe import Recipe

Bar = Callable[..., Iterable]


class DenoiserTask:
    """A Denoiser from a recipe's network, perhaps warm-started."""

    kind = "denoiser"

    def __init__(self, recipe: Recipe):
        self.recipe = recipe

    def build(self) -> nn.Module:
        """The untrained model; the same for the same seed."""
        torch.manual_seed(self.recipe.train.seed)
        network, process = UNet(self.recipe.model.config()), self.recipe.process
        if self.recipe.model.start:
            checkpoint.warm_start(network, self.recipe.model.start)
        return Denoiser(network, schedules.make(**process.schedule), process.predict, process.loss, process.weight)

    def images(self, split: str, stand_in: bool = True) -> Images:
        """The pictures of a split; stand_in: synthetic ones where MNIST cannot be had."""
        data = self.recipe.data
        found = load(data.name, split, data.size, stand_in)
        if data.handwriting:
            found = handwriting.write(found, data.handwriting, data.shots if split == "train" else len(found) * 9 // 10)
        return found

    def stream(self, images: Images) -> Stream:
        hidden = self.recipe.data.hidden
        return images if hidden is None else Numbers(images, hidden)

    def preview(self, model: nn.Module) -> Tensor | None:
        """40 pictures, always from the same noise, each condition equally often; None where there is nothing to see."""
        cond = model.condition.spread(40) if model.condition else None
        steps = min(25, model.schedule.T)
        size = (self.recipe.data.size,) * 2
        return pictures(model, Request(cond, 40, guidance=2.0, sampler="ddim", steps=steps, size=size))

    def export(self, model: nn.Module) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """The tensors of the weight file, and what its metadata must say to build the model again."""
        process = self.recipe.process
        about = {"network": asdict(model.network.config), "schedule": model.schedule.spec, "predict": process.predict}
        return model.network.state_dict(), about | {"mmacs": cost(model, self.recipe.data.size)}

    def score(self, model: nn.Module, test: Images, bar: Bar) -> dict:
        return score_model(model, test, self.recipe.score, self.recipe.data.hidden, bar=bar)


class AdapterTask(DenoiserTask):
    """A low-rank adapter for a finished model, which stays as it is."""

    kind = "lora"

    def build(self) -> nn.Module:
        torch.manual_seed(self.recipe.train.seed)
        model = checkpoint.load(self.recipe.model.start)
        lora.wrap(model.network, self.recipe.adapter.rank, match=self.recipe.adapter.match)
        return model

    def export(self, model: nn.Module) -> tuple[dict[str, Tensor], dict[str, Any]]:
        return lora.state(model.network), {"base": checkpoint.fingerprint(self.recipe.model.start)}


class ClassifierTask(DenoiserTask):
    """The judge."""

    kind = "classifier"

    def build(self) -> nn.Module:
        torch.manual_seed(self.recipe.train.seed)
        return Classifier()

    def preview(self, model: nn.Module) -> None:
        return None

    def export(self, model: nn.Module) -> tuple[dict[str, Tensor], dict[str, Any]]:
        return model.state_dict(), {"network": model.options}

    def score(self, model: nn.Module, test: Images, bar: Bar) -> dict:
        """Accuracy on the whole test set."""
        device = next(model.parameters()).device
        with torch.no_grad():
            right = [
                (model(test.pictures(part).to(device))[0].argmax(1).cpu() == test.labels[part]).sum().item()
                for part in bar(torch.arange(len(test)).split(500))
            ]
        return {"accuracy": sum(right) / len(test), "samples": len(test), "data": test.name}


TASKS = {"denoiser": DenoiserTask, "adapter": AdapterTask, "classifier": ClassifierTask}


def task(recipe: Recipe) -> DenoiserTask:
    """The task of a recipe."""
    return TASKS[recipe.task](recipe)
