"""The site: `make site` builds it without a warning, with every lesson, without a dead link, and touches no file."""

import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag

import pytest

from tools.normalise import code_cells, read
from tools.repository import ROOT, notebooks

pytestmark = [pytest.mark.site, pytest.mark.slow]


class Page(HTMLParser):
    """What one page of HTML links to, shows, and names."""

    def __init__(self, path: Path):
        super().__init__()
        self.path, self.targets, self.ids, self.silent = path, [], {""}, []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.ids |= {values.get("id")}
        self.targets += [values[key] for key in ("href", "src") if values.get(key)]
        if tag == "img" and not values.get("alt"):
            self.silent.append(values.get("src"))


def changed() -> set[str]:
    command = ["git", "status", "--porcelain", "--untracked-files=all"]
    return set(subprocess.run(command, cwd=ROOT, capture_output=True, text=True).stdout.splitlines())


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    for part in ("sphinx", "myst_nb", "sphinx_book_theme"):
        pytest.importorskip(part, reason='no Sphinx: pip install -e ".[site]"')
    before, out = changed(), tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "--nitpicky", "--fail-on-warning", "--keep-going", "--quiet"]
    command += ["--conf-dir", "site", "--doctree-dir", str(out / "trees"), ".", str(out / "html")]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    assert changed() <= before, "the build changed the clone"
    return out / "html"


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, Page]:
    return {path: Page(path) for path in site.rglob("*.html") if "_static" not in path.parts}  # the theme's own parts


def test_every_lesson_has_its_page_with_its_figures(site: Path) -> None:
    front = (site / "index.html").read_text(encoding="utf-8")
    order = re.findall(r'<a class="reference internal" href="notebooks/(\w+)\.html">', front)
    names = [path.stem for path in notebooks()]
    assert [name for name in order if name in names][: len(names)] == sorted(names, key=lambda n: (n == "notation", n))
    for path in notebooks():
        shown = (site / "notebooks" / f"{path.stem}.html").read_text(encoding="utf-8")
        outputs = [output for cell in code_cells(read(path)) for output in cell.outputs]
        figures = sum("image/png" in output.get("data", {}) for output in outputs)
        assert len(re.findall(r'<img[^>]+src="\.\./_images/[0-9a-f]+\.png"', shown)) >= figures, path.name
        assert 'alt="../' not in shown, "a file's name tells nothing"
        assert "google.colab" not in shown, "the cell for Colab says nothing to a reader"


def test_no_link_inside_the_site_is_dead(site: Path, pages: dict[Path, Page]) -> None:
    dead = []
    for path, page in pages.items():
        for target in page.targets:
            if re.match(r"[a-z]+:|//", target):
                continue
            file, anchor = urldefrag(unquote(target))
            lead = (path.parent / file.split("?")[0]).resolve() if file else path
            if not lead.is_file() or (lead in pages and anchor not in pages[lead].ids):
                dead.append(f"{path.relative_to(site)}: {target}")
    assert not dead


def test_every_picture_of_the_front_page_is_told(pages: dict[Path, Page], site: Path) -> None:
    assert not pages[site / "index.html"].silent


def test_the_search_knows_the_words_of_the_lessons(site: Path) -> None:
    index = (site / "searchindex.js").read_text(encoding="utf-8")
    for path in notebooks():
        assert f'"notebooks/{path.stem}"' in index
    assert all(f'"{word}"' in index for word in ("guidanc", "nois", "schedul")), "words are kept by their stems"
