"""The command line: python -m diffusion101 {train,sample,evaluate,lora,app}."""

import argparse
import os
import sys
import traceback
from pathlib import Path
from typing import NoReturn

import torch

from . import __version__, commands
from .core.samplers import SAMPLERS
from .core.schedules import SPACINGS
from .data.images import NAMES
from .figures import files
from .order import Order
from .training import ranks, recipe

NO_MEMORY = "out of memory", "can't allocate memory"  # PyTorch's words, on GPUs and on CPUs
ERRORS = "diffusion101-error.txt"  # where an unforeseen error's traceback goes


class Parser(argparse.ArgumentParser):
    """argparse, whose complaints are ValueErrors of one sentence."""

    def error(self, message: str) -> NoReturn:
        raise ValueError(f"{message} ({self.prog} --help tells more)")


def parser() -> argparse.ArgumentParser:
    top = Parser("python -m diffusion101", description="Train diffusion models, draw with them, measure them.")
    top.add_argument("--version", action="version", version=__version__)
    within = top.add_subparsers(dest="command", required=True)
    training(command(within, "train", commands.train, "train a recipe; Ctrl-C keeps the state, --resume goes on"))
    parts = within.add_parser("lora", help="adapters for a finished model").add_subparsers(dest="part", required=True)
    training(command(parts, "train", commands.train, "train an adapter by a recipe of task adapter"))

    s = command(within, "sample", commands.sample, "draw a grid of pictures")
    drawing(s)
    s.add_argument("--digits", nargs="+", help="the digits to draw, in this order")
    s.add_argument("--prompt", nargs="+", help="what to draw, as the model reads it: 'a red seven' (in quotes)")
    s.add_argument("--label", nargs="+", help="the same, for models of one word: horse")
    s.add_argument("--count", type=int, help="how many pictures (default 40, or one per digit or prompt)")
    s.add_argument("--size", type=int, help="height of a picture, and width of each digit (default: as trained)")
    s.add_argument("--out", required=True, type=Path, help=f"the file: {', '.join(files.KINDS)} (.gif: the denoising)")
    s.add_argument("--format", help="the type of the file: png, gif, npy ... (default: what its name says)")
    s.add_argument("--raw", dest="format", action="store_const", const="npy", help="arrays, as --format npy")
    s.add_argument("--grid", type=int, metavar="COLUMNS", help=f"pictures in a row (default {Order.grid})")
    s.add_argument("--again", type=Path, metavar="PICTURE", help="draw once more what this picture says it is")

    e = command(within, "evaluate", commands.evaluate, "score a model beside real pictures")
    drawing(e, required=True)
    e.add_argument("--samples", type=int, default=2000, help="pictures to score (default 2000)")
    e.add_argument(
        "--against", type=int, metavar="STEPS", help="compare with ddpm in so many steps from the same noise"
    )
    e.add_argument("--data", help=f"score beside {', '.join(NAMES)} (default: what the model was trained on)")
    e.add_argument("--json", default="-", help="where the scores go; - is the terminal (default -)")

    p = command(within, "app", page, "a page in the browser that draws while you watch")
    p.add_argument("--port", type=int, help="of the page on 127.0.0.1 (default: the first free one from 7860 on)")
    p.add_argument("--share", action="store_true", help="a public address too, through gradio's servers")
    return top


def page(a: argparse.Namespace) -> None:
    try:
        from . import app  # the only one that needs gradio
    except ModuleNotFoundError as error:
        raise ValueError(f"the page needs {error.name}: in a clone, pip install -e '.[app]'") from None
    app.serve(a.device, a.port, a.share)


def command(within, name: str, do, help: str) -> argparse.ArgumentParser:
    sub = within.add_parser(name, help=help, description=help)
    sub.set_defaults(do=do)
    best = "cuda" if torch.cuda.is_available() else "cpu"
    sub.add_argument("--device", default=best, help=f"cpu, cuda or mps (default {best})")
    return sub


def training(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("--recipe", required=True, help=f"{', '.join(recipe.names())}, or a .yaml file")
    sub.add_argument("--out", required=True, type=Path, help="the run's folder")
    sub.add_argument("--resume", action="store_true", help="go on with the run in --out")
    sub.add_argument("--data", help=f"train on this instead of the recipe's data: {', '.join(NAMES)}")
    sub.add_argument("--images", type=int, help="training pictures to show in all, instead of the recipe's budget")


def drawing(sub: argparse.ArgumentParser, required: bool = False) -> None:
    sub.add_argument("--model", required=required, help="a name from assets/checkpoints, or a .safetensors file")
    sub.add_argument("--sampler", help=f"{', '.join(SAMPLERS)} (default {Order.sampler})")
    sub.add_argument("--steps", type=int, help=f"from noise to picture (default {Order.steps})")
    sub.add_argument("--spacing", help=f"of the steps: {', '.join(SPACINGS)} (default {Order.spacing})")
    told = "0 ignores the prompt, 1 obeys, more insists (default: as the model was scored)"
    sub.add_argument("--guidance", type=float, help=told)
    where = "guide only at times LOW < t <= HIGH (default: all the way)"
    sub.add_argument("--interval", type=int, nargs=2, metavar=("LOW", "HIGH"), help=where)
    sub.add_argument("--seed", type=int, help=f"of the noise (default {Order.seed})")
    sub.add_argument("--lora", help="an adapter to put on the model: a name or a .safetensors file")
    sub.add_argument("--lora-scale", type=float, help="0 is the model without it, 1 what was trained (default 1)")
    sub.add_argument("--merge", action="store_true", default=None, help="melt the adapter into the weights first")


def main(argv: list[str] | None = None) -> int:
    """Exit code: 0, 2 for what the user can mend (one sentence tells), 130 for Ctrl-C, 1 for what nobody foresaw."""
    words, out = sys.argv[1:] if argv is None else argv, None
    try:
        a = parser().parse_args(words, argparse.Namespace(words=words))
        out = getattr(a, "out", None)
        a.do(a)
    except KeyboardInterrupt:
        return 130
    except OSError as error:
        name = f"{error.filename}: " if error.filename else ""
        return refuse(f"{name}{error.strerror or error}")
    except ValueError as error:  # every rank of a training finds the same; the first one tells
        return 2 if ranks.rank() else refuse(" ".join(str(error).split()))
    except Exception as error:
        if isinstance(error, MemoryError) or any(words in str(error) for words in NO_MEMORY):
            return refuse("there is not enough memory for this: ask for fewer or smaller pictures, or a smaller batch")
        return refuse(f"unforeseen {type(error).__name__}; {report(out)}", 1)
    return 0


def refuse(sentence: str, code: int = 2) -> int:
    print(f"diffusion101: {sentence}", file=sys.stderr)
    return code


def report(out: Path | None) -> str:
    """Keep the traceback of the error at hand in the folder `out`, or beside the file, or in the current folder."""
    text = f"diffusion101 {__version__}: {' '.join(sys.argv)}\n{traceback.format_exc()}"
    for folder in (out, out.parent, Path()) if out else (Path(),):
        if folder.is_dir() and os.access(folder, os.W_OK):
            try:
                (folder / ERRORS).write_text(text, encoding="utf-8", errors="backslashreplace")
                return f"{folder / ERRORS} tells more: please send it along when you report this"
            except OSError:
                continue
    return text


if __name__ == "__main__":
    sys.exit(main())
