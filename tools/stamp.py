"""Carry the repository's address from pyproject.toml to the notebooks' Colab badge and first cell, to the README and to
CITATION.cff.

python -m tools.stamp [--check]
"""

import re
import sys
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from .normalise import code_cells, dumps, read, tags, write
from .repository import ROOT, address, notebooks

TAG = "colab"
BADGE_IMAGE = "https://colab.research.google.com/assets/colab-badge.svg"
BADGE = re.compile(r"\[!\[Open In Colab\]\([^)]*\)\]\([^)]*\)")
OLD = re.compile(r"https://colab\.research\.google\.com/github/([\w.-]+/[\w.-]+)/blob/")

# Colab has PyTorch and all that the course needs; pip builds the wheel from the repository and puts it beside them.
COLAB_CELL = """\
# On Colab this installs the course. Anywhere else it does nothing.
import sys
from importlib.util import find_spec

if "google.colab" in sys.modules and find_spec("diffusion101") is None:
    %pip install --quiet git+ADDRESS"""


def colab_cell(repository: str) -> str:
    return COLAB_CELL.replace("ADDRESS", repository)


def badge(repository: str, name: str) -> str:
    target = repository.replace("https://github.com/", "https://colab.research.google.com/github/")
    return f"[![Open In Colab]({BADGE_IMAGE})]({target}/blob/main/notebooks/{name})"


def stamp_notebook(nb: NotebookNode, repository: str, name: str) -> NotebookNode:
    """Refresh badge and first cell, or put them in: the badge ends the first cell, the code follows it."""
    if not nb.cells or nb.cells[0].cell_type != "markdown":
        nb.cells.insert(0, nbformat.v4.new_markdown_cell(f"# {Path(name).stem}", id="title"))
    first = nb.cells[0]
    if BADGE.search(first.source):
        first.source = BADGE.sub(lambda _: badge(repository, name), first.source)
    else:
        first.source = f"{first.source.rstrip()}\n\n{badge(repository, name)}"
    code = code_cells(nb)
    if code and TAG in tags(code[0]):
        code[0].source = colab_cell(repository)
    else:
        cell = nbformat.v4.new_code_cell(colab_cell(repository), id="colab", metadata={"tags": [TAG]})
        nb.cells.insert(1, cell)
    return nb


def stamp_text(text: str, repository: str) -> str:
    """Replace the address that the text's Colab badges name, wherever it stands; other addresses stay."""
    for old in set(OLD.findall(text)):
        text = re.sub(rf"github(\.com)?/{re.escape(old)}(?![\w-])", rf"github\1/{repository[19:]}", text)
    return text


def stamp_citation(text: str, repository: str) -> str:
    return re.sub(r"^repository-code: .*$", f'repository-code: "{repository}"', text, flags=re.MULTILINE)


def main() -> int:
    check, stale, repository = "--check" in sys.argv[1:], [], address()
    for path in notebooks():
        nb = stamp_notebook(read(path), repository, path.name)
        if dumps(nb) != dumps(read(path)):
            stale.append(path.name)
            if not check:
                write(path, nb)
    for name, stamp in (("README.md", stamp_text), ("CITATION.cff", stamp_citation)):
        path = ROOT / name
        if path.exists() and (text := path.read_text(encoding="utf-8")) != stamp(text, repository):
            stale.append(name)
            if not check:
                path.write_text(stamp(text, repository), encoding="utf-8", newline="\n")
    print(*(f"{name}: {'stale, run make stamp' if check else 'stamped'}" for name in stale), sep="\n", end="")
    print("" if stale else f"all name {repository}")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
