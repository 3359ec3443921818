"""Which one-line bugs do the tests miss? python -m tests.mutants [WORD ...] tries those whose name holds a word.

Each mutant is one text replaced in a temporary copy of the repository; the named test files run there and stop at the
first failure. The survivors are printed last. tests/test_mutants.py checks that every mutant still finds its text.
PyTorch is imported once and each mutant runs in a fork, so this needs Linux or macOS.
"""

import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent


class Mutant(NamedTuple):
    name: str
    file: str  # inside diffusion101/
    old: str
    new: str
    tests: str  # files of tests/, without test_ and .py


MUTANTS = [
    Mutant("label dropout ignored", "training/loop.py", "condition.drop(condition.fit(cond), how.drop, run.generator)",
           "condition.fit(cond)", "train"),
    Mutant("dropout of every second token", "networks/conditions.py", "dropped.view(-1, *[1] * (cond.ndim - 1))",
           "torch.rand(cond.shape) < rate", "conditions"),
    Mutant("raw weights exported", "training/fit.py", "best = run.ema.module.eval()", "best = run.model.eval()",
           "train"),
    Mutant("average forgets nothing", "training/loop.py", "torch._foreach_lerp_(averages, new, 1 - d)",
           "torch._foreach_lerp_(averages, new, 1 - decay)", "train"),
    Mutant("warm start ignored", "training/tasks.py", "checkpoint.warm_start(network, self.recipe.model.start)", "pass",
           "train"),
    Mutant("handwriting ignored", "training/tasks.py", "if data.handwriting:", "if False:", "train"),
    Mutant("weight decay ignored by Muon", "training/muon.py", 'group["lr"] * group["weight_decay"]', "0",
           "muon train"),
    Mutant("weight decay ignored by AdamW", "training/loop.py", "lr=lr, weight_decay=weight_decay, fused=fused",
           "lr=lr, weight_decay=0.0, fused=fused", "train"),
    Mutant("network dropout ignored", "networks/unet.py", "ResBlock(channels, level.width, m, config.dropout)",
           "ResBlock(channels, level.width, m)", "networks train"),
    Mutant("no training mode", "training/loop.py", "denoiser.train()", "pass", "train"),
    Mutant("l1 is huber", "core/denoiser.py", '"l1": F.l1_loss', '"l1": F.smooth_l1_loss', "denoiser"),
    Mutant("near words heard like far ones", "networks/text.py",
           "nearness(self.heads, words.shape[1]).to(h) if self.near else None", "None", "text"),
    Mutant("nearness heard where nothing is", "networks/attention.py", "bias.where(mask, -torch.inf)",
           "bias[None]", "text"),
    Mutant("nothing cut out", "scoring/classifier.py", "x.masked_fill(inside, 0.0)", "x", "colour"),
    Mutant("the recipe's loss ignored", "training/tasks.py", "process.predict, process.loss, process.weight)",
           "process.predict, 'mse', process.weight)", "train"),
    Mutant("loss weights ignored", "core/denoiser.py", "(each * WEIGHTS[self.weight](t, self.schedule)).mean()",
           "each.mean()", "denoiser"),
    Mutant("Muon for tables too", "training/loop.py", "id(p) not in tables and", "", "train"),
    Mutant("Muon without look ahead", "training/muon.py", 'parameter.grad.lerp(state["momentum"], group["momentum"])',
           'state["momentum"]', "muon"),
    Mutant("score ignores guidance", "training/recipe.py", "self.guidance if asked else 1.0", "1.0", "scoring"),
    Mutant("score ignores the sampler", "training/recipe.py",
           '("sampler", "steps", "spacing", "seed")', '("steps", "spacing", "seed")', "scoring"),
    Mutant("numbers ignore guidance", "scoring/score.py", 'how.options() | {"size"',
           'how.options() | {"guidance": 1.0, "size"', "scoring"),
    Mutant("draw ignores guidance", "drawing.py", "guidance.guide(inner, request.cond.to(device), request.guidance)",
           "guidance.guide(inner, request.cond.to(device), 1.0)", "drawing"),
    Mutant("draw ignores the sampler", "drawing.py", "SAMPLERS[request.sampler](denoise",
           'SAMPLERS["ddim"](denoise', "drawing"),
    Mutant("clip off", "drawing.py", "if request.clip:", "if False:", "drawing"),
    Mutant("the bound teaches the guess", "core/denoiser.py", "answer.detach(), x, t", "answer, x, t", "likelihood"),
    Mutant("the unconditional variance", "core/guidance.py", "answer.share.chunk(2)[1]", "answer.share.chunk(2)[0]",
           "likelihood"),
    Mutant("parts forget the variance", "drawing.py", "return whole if shares[0] is None else", "return whole or",
           "likelihood"),
    Mutant("the learned variance ignored", "core/samplers.py", "if r > 0 and guess.share is not None:", "if False:",
           "likelihood"),
    Mutant("a bound of one term", "core/denoiser.py", "HYBRID * self.schedule.T", "HYBRID", "likelihood"),
    Mutant("the whole picture does not shrink its skip", "networks/blocks.py", "self.skip = zeroed(nn.Conv2d",
           "self.skip = (nn.Conv2d", "networks"),
    Mutant("gradients not scaled", "training/loop.py", "run.scaler.scale(loss).backward()", "loss.backward()", "train"),
    Mutant("the judge of digits judges all", "scoring/judge.py", "load_judge(test.name, test.images.device)",
           "load_classifier(device=test.images.device)", "colour"),
    Mutant("flip ignored", "training/tasks.py", "Flipped(images) if data.flip else images", "images", "colour"),
    Mutant("estimates in grey", "training/fit.py", "SHAPES[recipe.data.name][0], recipe", "1, recipe", "colour"),
    Mutant("clip does nothing", "core/guidance.py", "guess.x0.clamp(low, high)", "denoise(x, t).x0",
           "samplers"),
    Mutant("guidance the other way", "core/guidance.py", "u0 + scale * (c0 - u0)", "c0 + scale * (u0 - c0)",
           "samplers"),
    Mutant("merge does nothing", "lora.py", "holder.base.weight += adapter.delta()", "pass", "lora"),
    Mutant("the command line ignores --merge", "commands.py", "load_lora(model, order.lora, strength, order.merge)",
           "load_lora(model, order.lora, strength)", "cli"),
    Mutant("the command line ignores --guidance", "commands.py",
           "usual_guidance(model) if order.guidance is None else order.guidance", "1.0", "cli"),
    Mutant("a model is not drawn with its own guidance", "commands.py",
           "return found if isinstance(found, float)", "return 1.0 if isinstance(found, float)", "cli"),
    Mutant("the command line ignores --sampler", "commands.py", "options = dict(sampler=order.sampler",
           'options = dict(sampler="ddim"', "cli"),
    Mutant("halves of numbers swapped", "data/numbers.py", "torch.cat([left, right], dim=3)",
           "torch.cat([right, left], dim=3)", "numbers"),
    Mutant("padding heard by attention", "networks/attention.py", "None if there is None else there[:, None, None]",
           "None", "text"),
    Mutant("held out scenes shown", "data/captions.py", "not any(map(held_out, scene))", "True", "captions scenes"),
    Mutant("left is right", "data/scenes.py", "side / 2 + place * size", "side / 2 - place * size", "scenes"),
    Mutant("any two things will do", "scoring/scenes.py", "permutations(found)", "[[found[0], found[0]]]", "scenes"),
    Mutant("halves judged swapped", "scoring/judge.py", "for part in parts]", "for part in reversed(parts)]",
           "scoring"),
    Mutant("one half judged", "scoring/judge.py", ".all(1)", ".any(1)", "scoring"),
    Mutant("unseen taken for seen", "scoring/score.py", '"seen": seen(hidden)} | ({"unseen": unseen(hidden)}',
           '"seen": unseen(hidden)} | ({"unseen": seen(hidden)}', "scoring"),
    Mutant("hidden numbers shown", "data/numbers.py", "torch.tensor(seen(self.hidden))", "torch.tensor(seen(0))",
           "numbers"),
    Mutant("pictures transposed in grids", "figures/tiling.py", "permute(2, 0, 3, 1, 4)", "permute(2, 0, 4, 1, 3)",
           "drawing"),
    Mutant("grids column by column", "figures/tiling.py", "x.view(rows, columns, c, h, w)",
           "x.view(columns, rows, c, h, w).transpose(0, 1)", "drawing"),
    Mutant("attention without places", "networks/attention.py",
           "asking + places(height, width, h.shape[1], asking)", "asking", "attention"),
    Mutant("tokens without places", "networks/conditions.py",
           "self.what(tokens) + self.where.weight[: tokens.shape[1]]", "self.what(tokens)", "conditions"),
    Mutant("times cut, not rounded", "core/schedules.py", "round(s.T * (steps - i) / steps)",
           "int(s.T * (steps - i) / steps)", "schedules"),
    Mutant("labels born zero", "networks/conditions.py", "return nn.Embedding(self.classes + 1, time)",
           "table = nn.Embedding(self.classes + 1, time); nn.init.zeros_(table.weight); return table", "conditions"),
    Mutant("modulation born random", "networks/blocks.py", "zeroed(nn.Linear(emb_width, 2 * width))",
           "nn.Linear(emb_width, 2 * width)", "networks"),
    Mutant("v of the other sign", "core/process.py", "return at(s.signal, t, x0) * eps - at(s.noise, t, x0) * x0",
           "return at(s.noise, t, x0) * x0 - at(s.signal, t, x0) * eps", "process"),
    Mutant("t never T", "core/process.py", "torch.randint(1, s.T + 1,", "torch.randint(1, s.T,", "process"),
    Mutant("noise in the last step", "core/samplers.py", "    if r > 0:\n", "    if True:\n", "samplers"),
    Mutant("half a second order", "core/samplers.py", "(h / h_before / 2).item()", "(h / h_before / 4).item()",
           "samplers"),
    Mutant("the fresh noise is not taken from the old", "core/samplers.py", "max(1 - a_r - fresh**2, 0.0)",
           "max(1 - a_r, 0.0)", "samplers"),
    Mutant("the solver adds no fresh noise", "core/samplers.py", "partial(dpmpp_2m, eta=1.0)",
           "partial(dpmpp_2m, eta=0.0)", "samplers"),
    Mutant("draw ignores the spacing", "drawing.py", '"spacing": request.spacing,', '"spacing": "uniform",', "drawing"),
    Mutant("score ignores the spacing", "training/recipe.py",
           '("sampler", "steps", "spacing", "seed")', '("sampler", "steps", "seed")', "scoring"),
    Mutant("score ignores the interval", "training/recipe.py", "if asked and self.interval else {}", "if False else {}",
           "scoring"),
    Mutant("draw ignores the interval", "drawing.py", "request.cond is not None and request.interval", "False",
           "drawing"),
    Mutant("the command line ignores --spacing", "commands.py",
           "steps=order.steps, spacing=order.spacing", "steps=order.steps", "cli"),
    Mutant("ddpm ignores the spacing", "core/samplers.py",
           "or 'beta'\")\n    times = s.times(steps, spacing)", "or 'beta'\")\n    times = s.times(steps)",
           "convergence"),
    Mutant("steps lost where all is noise", "core/schedules.py", ".clamp(max=MOST_NOISE)", "", "schedules"),
    Mutant("Karras with rho 5", "core/schedules.py", "sigma ** (1 / 7)", "sigma ** (1 / 5)", "schedules parity"),
    Mutant("times twice", "core/schedules.py", "max(min(wished, times[-1] - 1), steps - i)", "wished", "schedules"),
    Mutant("inversion at the wrong time", "core/editing.py", "full(x, max(r, 1))", "full(x, t)", "editing"),
    Mutant("arcs are chords", "core/editing.py", "torch.where(angle.sin() > 1e-3, arc, a.lerp(b, share))",
           "a.lerp(b, share)", "editing"),
    Mutant("inpainting never resamples", "core/editing.py", "range(resample if stretch[-1] > 0 else 1)", "range(1)",
           "editing"),
    Mutant("inpainting resamples without noise", "core/editing.py",
           " + (1 - share) ** 0.5 * draw_noise(x, generator)", "", "editing"),
    Mutant("the kept part is not noised", "core/editing.py", "q_sample(known, full(x, r), draw_noise(x, generator), s)",
           "known", "editing"),
]  # fmt: skip


def mutated(mutant: Mutant, folder: Path) -> None:
    """A copy of what the tests need, with the mutant in it."""
    for name in ("diffusion101", "tests", "tools"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("assets", "conftest.py", "pyproject.toml"):
        (folder / name).symlink_to(ROOT / name)
    path = folder / "diffusion101" / mutant.file
    path.write_text(path.read_text(encoding="utf-8").replace(mutant.old, mutant.new, 1), encoding="utf-8")


class First:
    """Notes the first test that failed."""

    def __init__(self, path: Path):
        self.path = path

    def pytest_runtest_logreport(self, report) -> None:
        if report.failed and not self.path.exists():
            self.path.write_text(report.nodeid)


def killer(mutant: Mutant) -> str:
    """The test that fails with the mutant; the empty string if it survives."""
    import pytest

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        mutated(mutant, folder)
        sys.stdout.flush()
        child = os.fork()
        if child == 0:
            os.chdir(folder)
            sys.path[0] = name
            os.dup2(os.open("log", os.O_CREAT | os.O_WRONLY), 1)
            os.dup2(1, 2)
            files = [file for t in mutant.tests.split() if (file := f"tests/test_{t}.py") and Path(file).exists()]
            options = ["-x", "-q", "-m", "not slow", "-p", "no:cacheprovider"]
            os._exit(pytest.main([*options, *files], plugins=[First(folder / "first")]) if files else 0)
        _, status = os.waitpid(child, 0)
        first = folder / "first"
        if first.exists():
            return first.read_text()
        return "" if status == 0 else f"pytest ended with {os.waitstatus_to_exitcode(status)}"


def main(words: list[str]) -> int:
    import torch  # noqa: F401  (once, for all forks)

    os.environ.setdefault("DIFFUSION101_BUDGET", "smoke")
    chosen = [mutant for mutant in MUTANTS if not words or any(word in mutant.name for word in words)]
    survivors = []
    for mutant in chosen:
        by = killer(mutant)
        print(f"{'killed  ' if by else 'SURVIVED'}  {mutant.name}  {by}", flush=True)
        survivors += [] if by else [mutant.name]
    print(f"{len(survivors)} of {len(chosen)} survived" + "".join(f"\n  {name}" for name in survivors))
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
