"""The command line: python -m diffusion101 {train,sample,evaluate,lora}."""

import argparse
import json
import shlex
import sys
import time
from pathlib import Path

import torch
from tqdm import tqdm

from . import __version__, checkpoint, evaluate, picture, recipe, runs
from .pairs import NOTHING
from .samplers import SAMPLERS


def parser() -> argparse.ArgumentParser:
    about = "Train diffusion models, draw with them, measure them."
    top = argparse.ArgumentParser("python -m diffusion101", description=about)
    top.add_argument("--version", action="version", version=__version__)
    commands = top.add_subparsers(dest="command", required=True)

    def command(name: str, help: str, within=commands) -> argparse.ArgumentParser:
        sub = within.add_parser(name, help=help, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
        sub.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", help="cpu, cuda or mps")
        return sub

    def drawing(sub: argparse.ArgumentParser) -> None:
        sub.add_argument("--model", required=True, help="a name from assets/checkpoints, or a .safetensors file")
        sub.add_argument("--sampler", default="ddim", help=", ".join(SAMPLERS))
        sub.add_argument("--steps", type=int, default=50, help="network calls per picture")
        sub.add_argument("--guidance", type=float, default=1.0, help="0 ignores the digit, 1 obeys, above 1 insists")
        sub.add_argument("--seed", type=int, default=0)
        sub.add_argument("--lora", help="an adapter's .safetensors file to put on the model")
        sub.add_argument("--lora-scale", type=float, default=1.0, help="0 is the model without it, 1 what was trained")
        sub.add_argument("--merge", action="store_true", help="melt the adapter into the weights first")

    def training(t: argparse.ArgumentParser) -> None:
        t.add_argument("--recipe", required=True, help=f"{', '.join(recipe.names())}, or a .yaml file")
        t.add_argument("--out", required=True, type=Path, help="the run's folder")
        t.add_argument("--resume", action="store_true", help="go on with the run in --out")
        t.add_argument("--data", help="train on this instead: mnist, fashion or strokes")
        t.add_argument("--images", type=int, help="training pictures to show, instead of the recipe's budget")

    training(command("train", "train a recipe; Ctrl-C keeps the state, --resume goes on"))
    adapters = commands.add_parser("lora", help="adapters for a finished model").add_subparsers(
        dest="part", required=True
    )
    training(command("train", "train an adapter by a recipe of kind lora", adapters))
    s = command("sample", "draw a grid of pictures")
    drawing(s)
    s.add_argument("--digits", type=int, nargs="+", help="the digits to draw, in this order (models with labels)")
    s.add_argument("--prompt", nargs="+", help="two-digit numbers to draw, as 42 or 7_ (models that read tokens)")
    s.add_argument("--count", type=int, help="how many pictures (default 40, or one per digit or prompt)")
    s.add_argument("--size", type=int, default=28, help="height and width of a picture")
    s.add_argument("--out", required=True, type=Path, help=f"the file: {', '.join(picture.TYPES)} (.gif is animated)")
    e = command("evaluate", "score a model beside real pictures")
    drawing(e)
    e.add_argument("--samples", type=int, default=2000)
    e.add_argument("--json", default="-", help="where the scores go; - is the terminal")
    return top


def do_train(a: argparse.Namespace) -> None:
    if a.images is not None and a.images < 1:
        raise ValueError(f"images is {a.images}; it must be at least 1")
    changes = {k: v for k, v in (("data", a.data), ("images", a.images)) if v is not None}
    chosen = recipe.load(a.recipe, **changes)
    if a.command == "lora" and chosen.kind != "lora":
        raise ValueError(f"recipe {chosen.name} makes a {chosen.kind}, not a lora")
    picture.check_writable(a.out / "recipe.yaml")
    device = usable(a.device)

    def progress(steps, total: int, done: int):
        return tqdm(steps, total=total, initial=done, unit="step", desc=chosen.name, smoothing=0.05)

    def scoring(batches):
        return tqdm(batches, unit="batch", desc="scoring")

    seconds = chosen.steps * runs.seconds_per_step(chosen, device)
    size = f"{chosen.images:,} pictures in {chosen.steps:,} steps"
    print(f"{chosen.name}: {size} on {device}, about {duration(seconds)}.", flush=True)
    try:
        about = runs.fit(chosen, a.out, a.resume, device, progress, scoring)
    except KeyboardInterrupt:
        words = [word for word in a.words if word != "--resume"]
        print(f"\nStopped. Go on with: python -m diffusion101 {shlex.join(words)} --resume")
        raise
    print(f"{a.out / 'model.safetensors'}: {json.dumps(about.get('scores'))}")


def do_sample(a: argparse.Namespace) -> None:
    picture.check_output(a.out)
    denoiser, device = opened(a)
    if a.count is not None and a.count < 1:
        raise ValueError(f"--count is {a.count}; it must be at least 1")
    labels = prompts(a, denoiser) if a.prompt else digits(a, denoiser)
    count = len(labels) if labels is not None else (40 if a.count is None else a.count)
    channels = denoiser.network.config.channels
    generator = torch.Generator().manual_seed(a.seed)
    width = a.size * (2 if a.prompt else 1)
    noise = torch.randn(count, channels, a.size, width, generator=generator)
    denoiser.network.check(noise)
    warn(a, denoiser, noise, 1 if labels is None or a.guidance in (0, 1) else 2)
    steps = evaluate.sample(denoiser, noise.to(device), labels, a.guidance, a.sampler, a.steps, generator)
    frames = [step.x for step in tqdm(steps, total=a.steps, unit="step")]
    picture.save([noise, *frames], a.out)
    print(a.out)


def do_evaluate(a: argparse.Namespace) -> None:
    if a.json != "-":
        picture.check_writable(Path(a.json))
    denoiser, _ = opened(a)
    test = evaluate.own_data(denoiser, "test")
    evaluate.check_count(a.samples, test)
    calls = 1 if not denoiser.null or a.guidance in (0, 1) else 2
    warn(a, denoiser, torch.zeros(a.samples, *test.images.shape[1:]), calls)
    options = dict(samples=a.samples, seed=a.seed, sampler=a.sampler, steps=a.steps, scale=a.guidance)
    options["progress"] = lambda batches: tqdm(batches, unit="batch")
    train = evaluate.own_data(denoiser, "train")
    scores = {"model": a.model} | evaluate.evaluate(denoiser, test, train=train, **options)
    held_out = denoiser.about["recipe"].get("held_out", -1)
    if held_out >= 0:
        scores["pairs"] = evaluate.evaluate_pairs(denoiser, test, held_out, **options)
    text = json.dumps(scores, indent=2)
    if a.json == "-":
        print(text)
    else:
        checkpoint.whole(Path(a.json), lambda f: f.write_text(text + "\n"))


def opened(a: argparse.Namespace):
    """The model, once everything that was asked of it is known to make sense."""
    if a.sampler not in SAMPLERS:
        raise ValueError(f"unknown sampler {a.sampler!r}; there are {', '.join(SAMPLERS)}")
    if not abs(a.guidance) < float("inf"):
        raise ValueError(f"--guidance is {a.guidance}; it must be a finite number")
    device = usable(a.device)
    denoiser = checkpoint.load(a.model, device)
    denoiser.schedule.times(a.steps)
    if not abs(a.lora_scale) < float("inf"):
        raise ValueError(f"--lora-scale is {a.lora_scale}; it must be a finite number")
    if a.lora:
        checkpoint.load_lora(denoiser, a.lora, a.lora_scale, a.merge)
    return denoiser, device


def digits(a: argparse.Namespace, denoiser) -> torch.Tensor | None:
    """Labels (N,) of the pictures to draw; None for a model without labels."""
    if not denoiser.null:
        if a.digits:
            raise ValueError(f"{a.model} knows no digits: it draws whatever comes")
        return None
    wanted = a.digits or list(range(10))
    for digit in wanted:
        if not 0 <= digit <= 9:
            raise ValueError(f"--digits has {digit}; digits go from 0 to 9")
    return torch.tensor(wanted)[torch.arange(a.count or (len(wanted) if a.digits else 40)) % len(wanted)]


def prompts(a: argparse.Namespace, denoiser) -> torch.Tensor:
    """Tokens (N, 2) of the numbers to draw."""
    if a.digits:
        raise ValueError("--prompt and --digits exclude each other")
    if not denoiser.network.config.vocab:
        raise ValueError(f"{a.model} reads no prompts")
    for number in a.prompt:
        if len(number) != 2 or set(number) - set("0123456789_"):
            raise ValueError(f"--prompt has {number!r}; it must be two digits, or _ in the place of one, as 42 or 7_")
    wanted = torch.tensor([[NOTHING if c == "_" else int(c) for c in number] for number in a.prompt])
    return wanted[torch.arange(a.count or len(wanted)) % len(wanted)]


def usable(name: str) -> torch.device:
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError):
        raise ValueError(f"--device is {name!r}, which this machine has not; try cpu") from None
    return device


def warn(a: argparse.Namespace, denoiser, noise: torch.Tensor, calls: int) -> None:
    """Say what a long drawing will cost, from one timed network call."""
    part = noise[:100].to(next(denoiser.parameters()).device)
    began = time.perf_counter()
    with torch.no_grad():
        denoiser(part, torch.ones(len(part), dtype=torch.int64, device=part.device))
    seconds = (time.perf_counter() - began) * a.steps * calls * len(noise) / len(part)
    if seconds > 10:
        print(f"{len(noise)} pictures in {a.steps} steps: about {duration(seconds)}.", file=sys.stderr)


def duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"


def main(argv: list[str] | None = None) -> int:
    words = sys.argv[1:] if argv is None else argv
    a = parser().parse_args(words, argparse.Namespace(words=words))
    commands = {"train": do_train, "sample": do_sample, "evaluate": do_evaluate, "lora": do_train}
    try:
        commands[a.command](a)
    except ValueError as error:
        print(f"diffusion101: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
