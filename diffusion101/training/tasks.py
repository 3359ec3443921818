"""Tasks: what a recipe can train. Each says how it is built, what it is shown, how it previews, scores and exports.

A new kind of training is a new class here, and its name in TASKS.
"""

import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, replace
from typing import Any

import torch
from torch import Tensor, nn

from .. import checkpoint, lora
from ..core import schedules
from ..core.denoiser import Denoiser
from ..data import handwriting
from ..data.images import Flipped, Images, load
from ..data.numbers import Numbers
from ..data.scenes import Scenes
from ..drawing import Request, pictures, seconds
from ..networks import UNet, Words
from ..scoring import scenes
from ..scoring.classifier import Classifier
from ..scoring.judge import check_count, judge, judge_of, load_judge
from ..scoring.score import cost, score_model
from .loop import Stream
from .recipe import Recipe

Bar = Callable[..., Iterable]


class DenoiserTask:
    """A Denoiser from a recipe's network, perhaps warm-started."""

    kind = "denoiser"

    def __init__(self, recipe: Recipe):
        self.recipe, self.start = recipe, None

    def build(self) -> nn.Module:
        """The untrained model; the same for the same seed."""
        torch.manual_seed(self.recipe.train.seed)
        network, process = UNet(self.recipe.model.config()), self.recipe.process
        if self.recipe.model.start:
            self.start = checkpoint.origin(self.recipe.model.start)
            checkpoint.warm_start(network, self.recipe.model.start)
        return Denoiser(network, schedules.make(**process.schedule), process.predict, process.loss, process.weight)

    def images(self, split: str, name: str | None = None) -> Images:
        """The pictures of a split; of the data set of this name, or of the recipe's, for which others may stand in."""
        data = self.recipe.data
        found = load(name or data.name, split, data.size, stand_in=name is None, path=data.path)
        if data.handwriting:
            found = handwriting.write(found, data.handwriting, data.shots if split == "train" else len(found) * 9 // 10)
        return found

    def stream(self, images: Images) -> Stream:
        data = self.recipe.data
        if data.hidden is not None:
            return Numbers(images, data.hidden)
        return Flipped(images) if data.flip else images

    def check(self, model: nn.Module, images: Images, test: Images) -> None:
        """ValueError unless the model can be trained on these images, and scored beside this test set."""
        x0, cond = self.stream(images).batch(0, 1)
        if model.condition is not None:
            last, known = int(images.labels.max()), int(model.condition.empty(1).max())
            if last >= known:
                raise ValueError(f"{images.name} has labels up to {last}, but the network knows only {known} of them")
            model.network.check(x0, model.condition.fit(cond))
        elif self.recipe.data.hidden is not None:
            raise ValueError("data.hidden makes two-digit numbers: they need a network with tokens")
        else:
            model.network.check(x0)
        if self.recipe.score.samples:
            load_judge(test.name)
            check_count(self.recipe.score.samples, test)

    def preview(self, model: nn.Module) -> Tensor | None:
        """Pictures, always from the same noise, each condition equally often; None where there is nothing to see."""
        count = self.recipe.preview.pictures
        cond = model.condition.spread(count) if model.condition else None
        steps = min(25, model.schedule.T)
        size = (self.recipe.data.size,) * 2
        return pictures(model, Request(cond, count, guidance=2.0, sampler="ddim", steps=steps, size=size))

    def export(self, model: nn.Module) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """The tensors of the weight file, and what its metadata must say to build the model again."""
        process = self.recipe.process
        about = {"network": asdict(model.network.config), "schedule": model.schedule.spec, "predict": process.predict}
        if self.start:
            about["start"] = self.start
        return model.network.state_dict(), about | {"mmacs": cost(model, self.recipe.data.size)}

    def score(self, model: nn.Module, test: Images, bar: Bar, train: Images | None = None) -> dict:
        """The finished model's scores as plain values; train: also how near to copies of these its pictures are."""
        return score_model(model, test, self.recipe.score, self.recipe.data.hidden, train, bar)

    def table(self, scores: dict) -> str:
        """The scores for people, where there is more to see than their names; "" elsewhere."""
        if not (found := scores.get("against")):
            return ""
        low, high = found["interval"]
        compared = f"of {found['sampler']} in {found['steps']} steps"
        return f"Fréchet distance: {found['ratio']:.2f} times that {compared} (95 %: {low:.2f} to {high:.2f})"

    def seconds_to_score(self, model: nn.Module, test: Images) -> float:
        """About how long `score` will take."""
        how, hidden = self.recipe.score, self.recipe.data.hidden
        if not how.samples:
            return 0.0
        height, width = test.images.shape[2:]
        cond = model.condition.spread(how.samples) if model.condition else None
        single = Request(cond, how.samples, size=(height, width), **how.options(asked=cond is not None))
        total = seconds_to_judge(load_judge(test.name, next(model.parameters()).device), test)
        total += sum(seconds(model, replace(single, steps=steps)) for steps in (how.steps, how.against) if steps)
        if hidden is None:
            return total
        kinds = 2 if hidden else 1  # seen numbers, and unseen ones
        return total + kinds * seconds(model, replace(single, size=(height, 2 * width)))


class TextTask(DenoiserTask):
    """A Denoiser that reads captions of scenes."""

    def images(self, split: str, name: str | None = None) -> Images:
        """The digits that the scenes are made of."""
        return load(name or self.recipe.data.name, split, stand_in=name is None)

    def stream(self, images: Images) -> Stream:
        data = self.recipe.data
        return Scenes(images, self.recipe.model.config().condition.parse, data.scenes, data.size)

    def check(self, model: nn.Module, images: Images, test: Images) -> None:
        if not isinstance(model.condition, Words):
            raise ValueError("task text needs a network that reads words, as milestone M8")
        if images.images.shape[1] != 1 or test.images.shape[1] != 1:
            raise ValueError(f"scenes are made of grey digits, not of {images.name} pictures")
        super().check(model, images, test)

    def score(self, model: nn.Module, test: Images, bar: Bar, train: Images | None = None) -> dict:
        data = self.recipe.data
        return scenes.score_scenes(model, test, self.recipe.score, data.scenes, data.size, bar)

    def table(self, scores: dict) -> str:
        return scenes.table(scores)

    def seconds_to_score(self, model: nn.Module, test: Images) -> float:
        how, data = self.recipe.score, self.recipe.data
        if not how.samples:
            return 0.0
        size = (data.size, data.size)
        single = Request(model.condition.spread(how.samples), size=size, **how.options())
        return 2 * data.scenes * seconds(model, single)  # seen scenes, and held out ones


class AdapterTask(DenoiserTask):
    """A low-rank adapter for a finished model, which stays as it is."""

    kind = "lora"

    def build(self) -> nn.Module:
        torch.manual_seed(self.recipe.train.seed)
        model = checkpoint.load(self.recipe.model.start)
        process = self.recipe.process
        asked = schedules.make(**process.schedule).spec, process.predict
        if asked != (model.schedule.spec, model.predict):
            raise ValueError(f"process must be that of {self.recipe.model.start}: {model.schedule}, {model.predict}")
        model.loss_name, model.weight = process.loss, process.weight
        lora.wrap(model.network, self.recipe.adapter.rank, match=self.recipe.adapter.match)
        return model

    def export(self, model: nn.Module) -> tuple[dict[str, Tensor], dict[str, Any]]:
        return lora.state(model.network), {"base": checkpoint.fingerprint(self.recipe.model.start)}


class ClassifierTask(DenoiserTask):
    """The judge of a data set."""

    kind = "classifier"

    def build(self) -> nn.Module:
        torch.manual_seed(self.recipe.train.seed)
        chosen = judge_of(self.recipe.data.name)
        return Classifier(width=chosen.width, layout=chosen.layout)

    def check(self, model: nn.Module, images: Images, test: Images) -> None:
        if self.recipe.data.hidden is not None:
            raise ValueError("data.hidden makes two-digit numbers: a classifier learns single digits")
        if self.recipe.data.size < 8:
            raise ValueError(f"data.size is {self.recipe.data.size}; a classifier needs pictures of 8 pixels and more")

    def preview(self, model: nn.Module) -> None:
        return None

    def export(self, model: nn.Module) -> tuple[dict[str, Tensor], dict[str, Any]]:
        return model.state_dict(), {"network": model.options}

    def score(self, model: nn.Module, test: Images, bar: Bar, train: Images | None = None) -> dict:
        """Accuracy on the whole test set."""
        device = next(model.parameters()).device
        with torch.no_grad():
            right = [
                (model(test.pictures(part).to(device))[0].argmax(1).cpu() == test.labels[part]).sum().item()
                for part in bar(torch.arange(len(test)).split(500))
            ]
        return {"accuracy": sum(right) / len(test), "samples": len(test), "data": test.name}

    def seconds_to_score(self, model: nn.Module, test: Images) -> float:
        return seconds_to_judge(model, test) if self.recipe.score.samples else 0.0


def seconds_to_judge(classifier: Classifier, test: Images) -> float:
    """About how long a classifier takes for the test set, from a part of it."""
    few = test.pictures(slice(0, 200)).to(next(classifier.parameters()).device)
    began = time.perf_counter()
    judge(classifier, few)[0].sum().item()  # waits for the device
    return (time.perf_counter() - began) * len(test) / len(few)


TASKS = {"denoiser": DenoiserTask, "text": TextTask, "adapter": AdapterTask, "classifier": ClassifierTask}


def task(recipe: Recipe) -> DenoiserTask:
    """The task of a recipe."""
    return TASKS[recipe.task](recipe)
