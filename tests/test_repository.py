"""Who may import whom; sizes; nothing of one machine in the tree."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from importlinter import api

from tools.repository import MACHINE_PATH, ROOT

PACKAGE = ROOT / "diffusion101"
MODULES = sorted(PACKAGE.rglob("*.py"))
EACH_MODULE = pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(PACKAGE).as_posix())


def lint_imports(folder: Path) -> subprocess.CompletedProcess:
    """The contracts in pyproject.toml, for the package that lies in this folder."""
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command; lint_imports_command()"]
    command += ["--no-cache", "--no-logo", "--config", str(ROOT / "pyproject.toml")]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True)


def test_imports_point_down() -> None:
    run = lint_imports(ROOT)
    assert run.returncode == 0, run.stdout


def test_every_module_has_a_layer() -> None:
    """A new room gets its line in pyproject.toml."""
    contracts = api.read_configuration(str(ROOT / "pyproject.toml"))["contracts_options"]
    layers = next(contract["layers"] for contract in contracts if contract["type"] == "layers")
    rooms = {room.strip() for layer in layers for room in layer.replace(":", "|").split("|")}
    names = [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in MODULES if path.name != "__init__.py"]
    assert not [name for name in names if not any(f"{name}.".startswith(f"{room}.") for room in rooms)]


PLANTED = {  # a module: an import that it may not have, and how lint-imports tells it
    "core/samplers.py": ("from ..networks.unet import UNet", "core.samplers -> diffusion101.networks.unet"),
    "networks/unet.py": ("from ..core import schedules", "networks.unet -> diffusion101.core"),
    "networks/blocks.py": ("import numpy", "networks.blocks -> numpy"),
    "core/toy.py": ("def f():\n    from matplotlib import pyplot", "core.toy -> matplotlib"),
    "lora.py": ("from .core import process", "lora -> diffusion101.core"),
    "data/images.py": ("from ..training import recipe", "data.images -> diffusion101.training"),
    "drawing.py": ("from . import figures\nfrom .scoring import judge", "drawing -> diffusion101.scoring"),
    "scoring/score.py": ("from ..training import loop", "scoring.score -> diffusion101.training"),
    "training/loop.py": ("from ..figures import plot", "training.loop -> diffusion101.figures.plot"),
    "training/tasks.py": ("import torchvision", "training.tasks -> torchvision"),
    "figures/widgets.py": ("import matplotlib", "figures.widgets -> matplotlib"),
    "commands.py": ("import gradio", "commands -> gradio"),
    "order.py": ("from .commands import sample", "order -> diffusion101.commands"),
    "figures/plot.py": ("from IPython.display import display", "figures.plot -> IPython"),
    "check/lesson01.py": ("from ..commands import sample", "check.lesson01 -> diffusion101.commands"),
    "check/audit.py": ("from .. import bugs", "check.audit -> diffusion101.bugs"),
}


def test_an_import_that_points_up_is_seen(tmp_path: Path) -> None:
    shutil.copytree(PACKAGE, tmp_path / "diffusion101", ignore=shutil.ignore_patterns("__pycache__"))
    for name, (line, _) in PLANTED.items():
        path = tmp_path / "diffusion101" / name
        path.write_text(path.read_text(encoding="utf-8") + f"\n{line}\n", encoding="utf-8")
    run = lint_imports(tmp_path)
    assert run.returncode == 1
    assert not [told for _, told in PLANTED.values() if f"diffusion101.{told}" not in run.stdout], run.stdout


def test_tensorboard_belongs_to_the_runs() -> None:
    """The linter sees no parts of PyTorch."""
    users = {path.relative_to(PACKAGE).as_posix() for path in MODULES if "utils.tensorboard" in path.read_text()}
    assert users == {"training/fit.py"}


@EACH_MODULE
def test_a_module_is_read_in_one_sitting(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 300


def test_importing_the_package_is_light() -> None:
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
