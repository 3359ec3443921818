"""Facts about this repository that the tools and the tests share."""

import os
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = ROOT / "notebooks"

# Folders that exist on one person's machine only; a slash inside an address or a longer path does not count.
MACHINE_PATH = re.compile(
    r"(?<![\w.~)}\]-])/(?:home|Users|root|work|workspace|content|mnt|tmp|private|opt|var)/[\w.-]|\b[A-Z]:\\+Users"
)


def notebooks(prefix: str = "") -> list[Path]:
    return sorted(NOTEBOOKS.glob(f"{prefix}*.ipynb"))


def address(text: str | None = None) -> str:
    """The repository's address in pyproject.toml, by a regular expression since Python 3.10 has no tomllib."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8") if text is None else text
    found = re.search(r'^Repository = "https://github\.com/([\w.-]+/[\w.-]+?)/?"$', text, re.MULTILINE)
    if not found:
        raise SystemExit('pyproject.toml needs Repository = "https://github.com/OWNER/NAME" under [project.urls]')
    return f"https://github.com/{found[1]}"


def prepare_kernels(budget: str) -> None:
    """Set what every kernel started from here inherits: kernels run in notebooks/, so paths become absolute."""
    paths = [str(ROOT), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    os.environ["PYTHONPATH"] = os.pathsep.join(dict.fromkeys(paths))
    os.environ.setdefault("DIFFUSION101_BUDGET", budget)
    if data := os.environ.get("DIFFUSION101_DATA"):
        os.environ["DIFFUSION101_DATA"] = str(Path(data).expanduser().absolute())
