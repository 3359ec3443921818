"""Bring notebooks into one form, so that a second run changes only what really changed.

python -m tools.normalise [--check] [NOTEBOOK ...]
"""

import argparse
import base64
import io
import re
import sys
from collections import Counter
from pathlib import Path

import nbformat
import numpy as np
from nbformat import NotebookNode
from PIL import Image

from .repository import notebooks

METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}
WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"  # holds a random id; the picture beside it stays
IGNORED = "nbval-ignore-output"
# Durations and addresses; tests/nbval.cfg leaves out the same.
CHANCE = re.compile(r"\b\d+(?:\.\d+)? ?(?:ms|s|min)\b|\b0x[0-9a-fA-F]{6,}")
COLOURS = 256  # of a picture, chosen to cover its range: the commonest alone would turn a colour map into bands
LEVELS = 8  # of 255: what another processor's rounding may change in a picture


def read(path: Path) -> NotebookNode:
    return nbformat.v4.reads(path.read_text(encoding="utf-8"))


def dumps(nb: NotebookNode) -> str:
    return nbformat.v4.writes(nb) + "\n"


def write(path: Path, nb: NotebookNode) -> bool:
    """Write the notebook if it differs from the file; say whether it did."""
    text = dumps(nb)
    if path.exists() and path.read_bytes() == text.encode():
        return False
    path.write_text(text, encoding="utf-8", newline="\n")
    return True


def code_cells(nb: NotebookNode) -> list[NotebookNode]:
    return [cell for cell in nb.cells if cell.cell_type == "code"]


def tags(cell: NotebookNode) -> list[str]:
    return cell.metadata.get("tags", [])


def normalise(nb: NotebookNode) -> NotebookNode:
    nb.nbformat, nb.nbformat_minor = 4, 5
    nb.metadata = nbformat.from_dict(METADATA)
    count = Counter(cell.get("id") for cell in nb.cells)
    taken = set(count)
    for number, cell in enumerate(nb.cells):
        if "id" not in cell or count[cell.id] > 1:
            cell.id = next(name for name in _names(number) if name not in taken)
            taken.add(cell.id)
        cell.metadata = NotebookNode({"tags": list(tags(cell))} if tags(cell) else {})
        if cell.cell_type == "code":
            cell.outputs = [_tidy(output) for output in _merge_streams(cell.outputs)]
    return nb


def _names(number: int):
    yield f"cell-{number}"
    yield from (f"cell-{number}-{again}" for again in range(1, 1000))


def _merge_streams(outputs: list[NotebookNode]) -> list[NotebookNode]:
    """Where a kernel cuts a stream into messages depends on timing, so neighbours become one."""
    merged = []
    for output in outputs:
        if output.output_type == "stream" and merged and merged[-1].get("name") == output.name:
            merged[-1].text += output.text
        else:
            merged.append(output)
    return merged


def _tidy(output: NotebookNode) -> NotebookNode:
    if output.output_type == "error":
        output.traceback = [f"{output.ename}: {output.evalue}"]  # the frames name files of one machine
    elif "data" in output:
        output.data = NotebookNode({kind: value for kind, value in output.data.items() if kind != WIDGET_VIEW})
        for kind in output.data:
            if kind in ("image/png", "image/jpeg"):
                output.data[kind] = output.data[kind].strip()
        if "image/png" in output.data:
            output.data["image/png"] = _palette(output.data["image/png"])
    return output


def _palette(png: str) -> str:
    """The same picture in few colours, if that makes it smaller; a palette stays as it is."""
    picture, smaller = Image.open(io.BytesIO(base64.b64decode(png))), io.BytesIO()
    if picture.mode == "P":
        return png
    few = picture.convert("RGB").quantize(COLOURS, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    few.save(smaller, "png", optimize=True)
    small = base64.b64encode(smaller.getvalue()).decode()
    return small if len(small) < len(png) else png


def settle(old: NotebookNode, new: NotebookNode) -> None:
    """Keep old outputs where the new run says the same: text equal but for durations, pictures but for rounding.

    Cells tagged nbval-ignore-output hold times and other chance. If the whole notebook has the same code and every
    other output came out the same, theirs are kept too, as long as they differ in numbers and pixels alone.
    """
    before = {cell.id: cell for cell in code_cells(old)}
    pairs = [(before.get(cell.id), cell) for cell in code_cells(new)]
    same = [was is not None and _alike(was, cell, loose=False) for was, cell in pairs]
    steady = [cell.source for cell in before.values()] == [cell.source for _, cell in pairs] and all(
        equal or IGNORED in tags(cell) for equal, (_, cell) in zip(same, pairs)
    )
    for equal, (was, cell) in zip(same, pairs):
        if equal or (steady and _alike(was, cell, loose=True)):
            cell.outputs = was.outputs
            for output in cell.outputs:
                if "execution_count" in output:
                    output.execution_count = cell.execution_count


def _alike(old: NotebookNode, new: NotebookNode, loose: bool) -> bool:
    if len(old.outputs) != len(new.outputs):
        return False
    return all(_alike_output(a, b, loose) for a, b in zip(old.outputs, new.outputs))


def _alike_output(old: NotebookNode, new: NotebookNode, loose: bool) -> bool:
    old, new = dict(old), dict(new)
    images, others = old.pop("data", {}), new.pop("data", {})
    if images.keys() != others.keys():
        return False
    for kind in images:
        if kind == "image/png":
            if not loose and not _same_picture(images[kind], others[kind]):
                return False
        else:
            old[kind], new[kind] = images[kind], others[kind]
    return _mask(old, loose) == _mask(new, loose)


def _mask(fields: dict, loose: bool) -> str:
    text = CHANCE.sub("CHANCE", repr(sorted(fields.items())))
    if not loose:
        return text
    text = re.sub(r"data:image/[^\"')\s]+", "PICTURE", text)
    return re.sub(r"\s+", " ", re.sub(r"[-+]?\d[\d.,:e+-]*", "#", text))


def _same_picture(old: str, new: str) -> bool:
    if old == new:
        return True
    a, b = _pixels(old), _pixels(new)
    return a.shape == b.shape and np.abs(a - b).max() <= LEVELS


def _pixels(png: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(png))).convert("RGBA"), dtype=np.int16)


def main() -> int:
    parser = argparse.ArgumentParser(description="Bring notebooks into one form without running them.")
    parser.add_argument("--check", action="store_true", help="change nothing, fail if something would change")
    parser.add_argument("notebooks", nargs="*", type=Path, help="default: all of them")
    args = parser.parse_args()
    changed = 0
    for path in args.notebooks or notebooks():
        nb = normalise(read(path))
        if path.read_bytes() != dumps(nb).encode():
            changed += 1
            print(f"{path.name}: {'not in normal form' if args.check else 'normalised'}")
            if not args.check:
                write(path, nb)
    return 1 if args.check and changed else 0


if __name__ == "__main__":
    sys.exit(main())
