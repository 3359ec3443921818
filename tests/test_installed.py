"""What `pip install .` puts on a machine trains, draws and scores without the clone."""

import json
import os
import shutil
import subprocess
import sys
import zipfile

import pytest

from tools.repository import ROOT


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A folder with what the wheel holds, built without a network and without a trace in the clone."""
    pytest.importorskip("setuptools", "77", reason="the wheel is built by setuptools 77 or later")
    out = tmp_path_factory.mktemp("wheel")
    source = out / "source"
    for part in ("diffusion101", "assets/checkpoints", "assets/measured"):
        shutil.copytree(ROOT / part, source / part, ignore=shutil.ignore_patterns("__pycache__"))
    for part in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / part, source / part)
    build = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--quiet", "-w", str(out)]
    built = subprocess.run([*build, str(source)], capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    (wheel,) = out.glob("diffusion101-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(out / "site")
    return out / "site"


def test_the_wheel_holds_the_code_the_weights_the_recipes_and_what_was_measured(site):
    def held(folder, pattern):
        return {path.name for path in folder.glob(pattern)}

    package = site / "diffusion101"
    assert held(package / "weights", "*") == held(ROOT / "assets" / "checkpoints", "*.safetensors")
    assert held(package / "recipes", "*.yaml") == held(ROOT / "diffusion101" / "recipes", "*.yaml")
    lessons_read = package / "weights" / ".." / "measured"
    assert held(lessons_read, "*") == held(ROOT / "assets" / "measured", "*.json")
    code = {path.relative_to(package) for path in package.rglob("*.py")}
    assert code == {path.relative_to(ROOT / "diffusion101") for path in (ROOT / "diffusion101").rglob("*.py")}


def installed(site, folder, *words):
    """The command line of the unpacked wheel, far from the clone."""
    env = os.environ | {"PYTHONPATH": str(site), "DIFFUSION101_DATA": str(folder / "data"), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "diffusion101", *map(str, words)]
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=True)


def test_it_draws_far_from_the_clone(site, tmp_path):
    code = "import diffusion101; print(diffusion101.__file__)"
    env = os.environ | {"PYTHONPATH": str(site)}
    found = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=env, capture_output=True, text=True)
    assert found.stdout.startswith(str(site)), "or this tests the clone"
    installed(site, tmp_path, *"sample --model 05-guidance --digits 3 --out x.png".split())
    assert (tmp_path / "x.png").stat().st_size > 100


@pytest.mark.slow
def test_it_trains_and_scores_far_from_the_clone(site, tmp_path):
    (tmp_path / "mine.yaml").write_text(
        "model: {network: {levels: [{width: 4}], time: 8, condition: {classes: 10}}}\n"
        "data: {name: synthetic, size: 8}\ntrain: {batch: 4}\nscore: {samples: 10, steps: 2}\n"
    )
    installed(site, tmp_path, *"train --recipe mine.yaml --out run --images 8".split())
    printed = installed(site, tmp_path, *"evaluate --model run/model.safetensors --samples 10 --steps 2".split())
    assert json.loads(printed.stdout)["floor"]["frechet"] > 0
