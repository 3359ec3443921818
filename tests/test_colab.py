"""Colab's way: in an empty folder, with its old IPython and ipywidgets, the first cell installs what is committed.

`make colab` makes such an environment; DIFFUSION101_COLAB names its Python. Installing needs a package index.
"""

import json
import os
import subprocess
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from tools.normalise import code_cells, read
from tools.repository import ROOT, address, notebooks

pytestmark = [pytest.mark.colab, pytest.mark.slow]

FAKE = "import sys, types\nsys.modules['google.colab'] = types.ModuleType('google.colab')"
ABOUT = """\
import IPython, ipywidgets, diffusion101
print(diffusion101.__file__, IPython.__version__, ipywidgets.__version__)"""
VIEW = "application/vnd.jupyter.widget-view+json"


@pytest.fixture(scope="module")
def python() -> Path:
    if "DIFFUSION101_COLAB" not in os.environ:
        pytest.skip("no environment like Colab's: make colab")
    return Path(os.environ["DIFFUSION101_COLAB"]).absolute()


@pytest.fixture(scope="module")
def run(python: Path, tmp_path_factory: pytest.TempPathFactory):
    """Runs a notebook as Colab would, the smoke budget apart; the repository's address leads to this clone."""
    home, patch = tmp_path_factory.mktemp("colab"), pytest.MonkeyPatch()
    (home / "kernels" / "colab").mkdir(parents=True)
    command = [str(python), "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    about = {"argv": command, "display_name": "Colab", "language": "python"}
    (home / "kernels" / "colab" / "kernel.json").write_text(json.dumps(about))
    patch.setenv("JUPYTER_PATH", str(home))
    patch.delenv("PYTHONPATH", raising=False)
    patch.setenv("PATH", f"{python.parent}{os.pathsep}{os.environ['PATH']}")
    patch.setenv("GIT_CONFIG_COUNT", "1")
    patch.setenv("GIT_CONFIG_KEY_0", f"url.file://{ROOT}.insteadOf")
    patch.setenv("GIT_CONFIG_VALUE_0", address())
    subprocess.run([python, "-m", "pip", "uninstall", "--yes", "--quiet", "diffusion101"], check=True, cwd=home)

    def execute(name: str) -> list[nbformat.NotebookNode]:
        [path] = notebooks(name)
        nb = read(path)
        for cell in code_cells(nb):
            cell.outputs = []
        nb.cells = [nbformat.v4.new_code_cell(FAKE), *nb.cells, nbformat.v4.new_code_cell(ABOUT)]
        empty = home / f"empty-{name}"
        empty.mkdir()
        resources = {"metadata": {"path": str(empty)}}
        NotebookClient(nb, kernel_name="colab", timeout=None, resources=resources).execute()
        return code_cells(nb)

    yield execute
    patch.undo()


@pytest.fixture(scope="module")
def tour(run) -> list[nbformat.NotebookNode]:
    return run("00")


def test_the_first_cell_installs_the_course_and_replaces_nothing(tour, python: Path) -> None:
    file, ipython, ipywidgets = tour[-1].outputs[0].text.split()
    assert file.startswith(str(python.parent.parent)) and "site-packages" in file
    assert (ipython, ipywidgets) == ("7.34.0", "7.7.1")


def test_every_control_of_the_tour_is_there(tour) -> None:
    for cell in tour[2:-1]:
        kinds = {kind for output in cell.outputs for kind in output.get("data", {})}
        assert not [output.text for output in cell.outputs if output.get("name") == "stderr"]
        assert "widgets.explore" not in cell.source or {VIEW, "image/png"} <= kinds


def test_a_lesson_trains(tour, run) -> None:
    assert run("05")[-1].outputs[0].text.split()[2] == "7.7.1"


def test_its_sliders_move(tour, python: Path) -> None:
    """The tests of the controls, with its ipywidgets."""
    command = [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/test_widgets.py"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
