"""The rooms of the package and who may import whom; sizes; nothing of one machine in the tree."""

import ast
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

from tools.repository import MACHINE_PATH, ROOT

PACKAGE = ROOT / "diffusion101"

# Rooms from the ground up: the modules of each, and the rooms below that they may import beside their own.
ALL = "*"
ROOMS = {
    "mathematics": ("schedules process samplers guidance toy", ""),
    "networks": ("networks", ""),
    "adapters": ("lora", ""),
    "denoiser": ("denoiser", "mathematics networks"),
    "milestones": ("milestones", "networks"),
    "data": ("data strokes pairs hands captions", ""),
    "training": ("recipe train checkpoint picture", ALL),
    "evaluation": ("evaluate", ALL),
    "runs": ("runs", ALL),
    "pictures": ("plot widgets", ALL),
    "teaching": ("check bugs", ALL),
    "doors": ("__init__ __main__ app", ALL),
}
TORCH_ONLY = {"mathematics", "networks", "adapters", "denoiser", "milestones"}
OWNERS = {  # a library that only these modules import
    "torchvision": {"data"},
    "matplotlib": {"plot"},
    "ipywidgets": {"widgets"},
    "IPython": {"plot", "widgets"},
    "gradio": {"app"},
    "tensorboard": {"runs"},
}
ROOM = {module: room for room, (modules, _) in ROOMS.items() for module in modules.split()}


def rooms_below(room: str) -> set[str]:
    below, order = ROOMS[room][1], list(ROOMS)
    return {room, *(order[: order.index(room)] if below == ALL else below.split())}


def module_name(path: Path) -> str:
    """`networks` for every file of the networks folder, else the file's own name."""
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def imported(tree: ast.AST, inside: tuple[str, ...], siblings: set[str]) -> Iterable[str]:
    """Dotted names that a file imports; `inside` is its package, as ("diffusion101", "networks")."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = list(inside[: len(inside) + 1 - node.level]) if node.level else []
            base += node.module.split(".") if node.module else []
            if base == ["diffusion101"]:  # from . import x: a module, or a name of the package's __init__
                yield from (
                    f"diffusion101.{a.name if a.name in siblings else '__init__'}"
                    for a in node.names
                    if a.name != "__version__"
                )
            elif base == ["torch", "utils"]:
                yield from (f"torch.utils.{alias.name}" for alias in node.names)
            else:
                yield ".".join(base)


def violations(source: str, path: Path, siblings: set[str]) -> list[str]:
    module, found = module_name(path), []
    if module not in ROOM:
        return [f"{module} has no room: give it one in tests/test_repository.py and in the design"]
    room = ROOM[module]
    inside = ("diffusion101", *path.relative_to(PACKAGE).parts[:-1])
    for name in imported(ast.parse(source), inside, siblings):
        parts = name.split(".")
        library = "tensorboard" if name.startswith("torch.utils.tensorboard") else parts[0]
        if library == "diffusion101":
            target = parts[1] if len(parts) > 1 else "__init__"
            if ROOM.get(target) not in rooms_below(room):
                found.append(f"{module} imports {target}")
        elif library in OWNERS:
            if module not in OWNERS[library]:
                found.append(f"{module} imports {library}, which belongs to {', '.join(sorted(OWNERS[library]))}")
        elif room in TORCH_ONLY and library != "torch" and library not in sys.stdlib_module_names:
            found.append(f"{module} imports {library}; its room has torch only")
    return found


MODULES = sorted(PACKAGE.rglob("*.py"))
SIBLINGS = {module_name(path) for path in MODULES} - {"__init__"}
EACH_MODULE = pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(PACKAGE).as_posix())


@EACH_MODULE
def test_imports_point_down(path: Path) -> None:
    assert not violations(path.read_text(encoding="utf-8"), path, SIBLINGS)


@EACH_MODULE
def test_a_module_is_read_in_one_sitting(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 300


@pytest.mark.parametrize(
    ("file", "source", "sound"),
    [
        ("schedules.py", "import math, torch", True),
        ("schedules.py", "import numpy", False),
        ("samplers.py", "from .process import Denoised", True),
        ("samplers.py", "from . import schedules", True),
        ("samplers.py", "from .networks.unet import UNet", False),
        ("samplers.py", "from diffusion101 import networks", False),
        ("samplers.py", "from . import load", False),
        ("networks/unet.py", "from .blocks import ResBlock", True),
        ("networks/unet.py", "from ..schedules import linear", False),
        ("networks/unet.py", "def f():\n    import diffusion101.samplers", False),
        ("denoiser.py", "from .networks import UNet\nfrom .process import q_sample", True),
        ("runs.py", "from torch.utils.tensorboard import SummaryWriter\nimport yaml", True),
        ("evaluate.py", "from torch.utils import tensorboard", False),
        ("train.py", "from . import plot", False),
        ("train.py", "from .evaluate import judge", False),
        ("runs.py", "from . import __version__, data", True),
        ("plot.py", "import matplotlib.pyplot as plt", True),
        ("widgets.py", "import matplotlib.pyplot as plt", False),
        ("widgets.py", "import ipywidgets\nfrom . import plot", True),
        ("train.py", "import torchvision", False),
        ("data.py", "from torchvision import datasets", True),
        ("__main__.py", "import gradio", False),
        ("attic.py", "", False),
    ],
)
def test_the_direction_of_imports_is_seen(file: str, source: str, sound: bool) -> None:
    assert (not violations(source, PACKAGE / file, {*ROOM} - {"__init__"})) == sound


def test_importing_the_package_is_light() -> None:
    if not (PACKAGE / "__init__.py").exists():
        pytest.skip("no package yet")
    program = "import sys, diffusion101; print(*sorted({name.split('.')[0] for name in sys.modules}))"
    run = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    heavy = "matplotlib ipywidgets torchvision tensorboard IPython ipykernel jupyter_client nbformat gradio playwright"
    assert set(heavy.split()).isdisjoint(run.stdout.split())


def files() -> list[Path]:
    """Files in the repository, and those about to be: what git does not ignore."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a git clone")
    return [path for name in listed.split("\0") if name and (path := ROOT / name).is_file()]


def test_files_stay_small() -> None:
    large = [path.name for path in files() if path.stat().st_size > 16_000_000]
    checkpoints = (ROOT / "assets" / "checkpoints").glob("*")
    large += [path.name for path in checkpoints if path.stat().st_size > 5_000_000 and "cifar" not in path.name]
    assert not large


def test_no_file_names_a_path_of_one_machine() -> None:
    found = []
    for path in files():
        if path.suffix == ".ipynb":
            continue  # tests/test_notebooks.py knows pictures from text
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        found += [f"{path.relative_to(ROOT)}: {match[0]}" for match in MACHINE_PATH.finditer(text)]
    assert not found


def test_a_path_of_one_machine_is_seen() -> None:
    home = "/home"
    assert MACHINE_PATH.search(f'open("{home}/ann/x")') and MACHINE_PATH.search("C:" + r"\Users\ann")
    for harmless in (f"https://example.org{home}/ann", f"a{home}/b", "../shared/data", "~/.cache/x", "see /usr/bin"):
        assert not MACHINE_PATH.search(harmless)
