"""How long each notebook runs, from the first cell to the last: assets/measured/times.json, and the README's table.

python -m tools.measure_times [--write] [PREFIX]     on a machine that does nothing else; keeps CPU and GPU side by side
"""

import argparse
import json
import re
import time

import torch

from diffusion101 import writing
from diffusion101.scoring.score import hardware
from diffusion101.training.folder import version

from .execute import run, update
from .normalise import read
from .repository import ROOT, notebooks, prepare_kernels

FILE, README = ROOT / "assets" / "measured" / "times.json", ROOT / "README.md"
PLACE = re.compile(r"(?<=<!-- times -->\n).*?(?=<!-- /times -->)", re.DOTALL)
DEVICES = "cpu", "cuda"


def measured() -> dict:
    """By device: its hardware, the code's version, and the seconds of each notebook; empty if nothing was measured."""
    return json.loads(FILE.read_text(encoding="utf-8")) if FILE.exists() else {}


def spoken(seconds: float | None) -> str:
    if seconds is None:
        return ""
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.1f} min"


def table(times: dict) -> str:
    """The README's lines: a row for each notebook, a column for each device; nothing if nothing was measured."""
    columns = [device for device in DEVICES if device in times]
    if not columns:
        return ""
    names = sorted({name for device in columns for name in times[device]["seconds"]})
    rows = [["to run", *(times[device]["hardware"] for device in columns)], ["---"] * 99]
    rows += [[name, *(spoken(times[device]["seconds"].get(name)) for device in columns)] for name in names]
    return "".join(f"| {' | '.join(row[: len(columns) + 1])} |\n" for row in rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("prefix", nargs="?", default="", help="only notebooks whose name starts so, as 01")
    parser.add_argument("--write", action="store_true", help="take all outputs into the notebooks, anew")
    args = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    prepare_kernels(budget="gpu" if device.type == "cuda" else "cpu")
    times = measured()
    row = times.setdefault(device.type, {"seconds": {}})
    row |= {"hardware": hardware(device), "version": version()}
    for path in notebooks(args.prefix):
        began = time.perf_counter()
        if args.write:
            update(path, fresh=True)
        else:
            run(read(path))
        row["seconds"][path.stem] = round(time.perf_counter() - began, 1)
        print(f"{path.stem}: {spoken(row['seconds'][path.stem])}", flush=True)
        writing.whole(FILE, lambda file: file.write_text(json.dumps(times, indent=1) + "\n"))
    text = PLACE.sub(lambda _: table(times), README.read_text(encoding="utf-8"))
    README.write_text(text, encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
