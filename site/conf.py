"""The course as a site, by Sphinx and MyST-NB: `make site` writes build/site. The root of the repository is the source.

Notebooks are shown with their committed outputs; nothing is executed. Formulas are drawn by MathJax, which the reader's
browser loads from a CDN; everything else on the pages is in build/site.
"""

import json
import re
import shutil
import sys
from pathlib import Path

from sphinx.application import Sphinx

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tools.repository import address, notebooks  # noqa: E402

project = "diffusion101"
copyright = "the diffusion101 authors, MIT license"
extensions = ["myst_nb"]
root_doc = "README"
include_patterns = ["README.md", "CONTRIBUTING.md", "notebooks/*.ipynb"]
exclude_patterns = ["**/.*", ".*", "build", "dist", "runs", "*.egg-info", "diffusion101", "tests"]  # not looked through

nb_execution_mode = "off"
nb_merge_streams = True
myst_enable_extensions = ["dollarmath", "amsmath"]
myst_heading_anchors = 3  # so that a link may name a heading, as on GitHub

html_theme = "sphinx_book_theme"
html_title = "diffusion101"
html_theme_options = {
    "repository_url": address(),
    "use_repository_button": True,
    "home_page_in_toc": True,
    "navbar_persistent": [],  # one search is enough: the sidebar's, or on a narrow page the bar's
}
html_context = {"default_mode": "auto"}
html_static_path = ["style.css"]
html_css_files = ["style.css"]
html_copy_source = True
html_last_updated_fmt = None  # the same files give the same pages

LINK = re.compile(r"(?<=\]\()(?![a-z]+:|#)([^)#\s]+)")  # to a file; the name of a heading in it is left alone


def number(path: Path) -> str:
    """A lesson's number and a space, or nothing."""
    return f"{path.name.split('_')[0]} " if path.name[0].isdigit() else ""


def title(path: Path) -> str:
    """A notebook's first heading."""
    first = json.loads(path.read_text(encoding="utf-8"))["cells"][0]
    return "".join(first["source"]).splitlines()[0].removeprefix("# ")


def contents() -> str:
    """The lessons in their order, then the pages beside them: a numbered name comes before any other."""
    paths = sorted(notebooks(), key=lambda path: (not path.name[0].isdigit(), path.name))
    pages = [*(f"{number(path)}{title(path)} <notebooks/{path.stem}>" for path in paths), "CONTRIBUTING"]
    return "\n\n```{toctree}\n:hidden:\n\n" + "\n".join(pages) + "\n```\n"


def outward(text: str) -> str:
    """Links to files that are no pages or pictures of the site lead to the repository."""

    def lead(link: re.Match) -> str:
        path = Path(link[1])
        if path.suffix in (".png", ".gif") or any(path.match(pattern) for pattern in include_patterns):
            return link[1]
        kind = "tree" if (ROOT / path).is_dir() else "blob"
        return f"{address()}/{kind}/main/{path.as_posix()}"

    return LINK.sub(lead, text)


def tell(cell: dict) -> None:
    """Give a cell's figure the words that Jupyter shows in its place; else it would have its file's name."""
    for output in cell.get("outputs", []):
        if "image/png" in (data := output.get("data", {})):
            words = "".join(data.get("text/plain", "a figure")).strip("<>")
            cell["metadata"]["mystnb"] = {"image": {"alt": words}}


def prepare(app: Sphinx, name: str, source: list[str]) -> None:
    """What differs from the repository: the front page has the contents, notebooks no cell that is for Colab alone."""
    if name.startswith("notebooks/"):
        notebook = json.loads(source[0])
        notebook["metadata"]["language_info"]["pygments_lexer"] = "ipython3"
        notebook["cells"] = [cell for cell in notebook["cells"] if "colab" not in cell["metadata"].get("tags", [])]
        for cell in notebook["cells"]:
            tell(cell)
        source[0] = json.dumps(notebook)
    else:
        source[0] = outward(source[0]) + (contents() if name == root_doc else "")


def front_door(app: Sphinx, error: Exception | None) -> None:
    if not error and app.builder.format == "html":
        shutil.copyfile(app.outdir / "README.html", app.outdir / "index.html")


def setup(app: Sphinx) -> None:
    app.connect("source-read", prepare)
    app.connect("build-finished", front_door)
