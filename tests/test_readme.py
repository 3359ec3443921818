"""What the README promises."""

import re
import shlex
import shutil
import subprocess
import textwrap

import pytest
import yaml

from diffusion101 import __version__, checkpoint, commands
from diffusion101.__main__ import parser
from diffusion101.scoring import scenes
from diffusion101.scoring.score import scoreboard
from diffusion101.training import recipe
from tools import measure_times
from tools.repository import ROOT, address
from tools.stamp import stamp_citation

TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^ {4}(?:python|torchrun \S+) -m diffusion101 ([^#\n]+)", TEXT, re.MULTILINE)


def test_the_scoreboard_is_the_measured_one():
    assert textwrap.indent(scoreboard(), "    ") in TEXT


def test_the_scoreboard_leaves_out_what_has_no_score(tmp_path, monkeypatch):
    about, state = checkpoint.read("03-scales", "denoiser")
    rows = scoreboard(["03-scales"])
    for name, file in (("mine", "03-scales"), ("my-lora", "07-outline"), ("03-scales", "03-scales")):
        shutil.copy(checkpoint.find(file), tmp_path / f"{name}.safetensors")
    monkeypatch.setattr(checkpoint, "FOLDER", tmp_path)
    del about["scores"]
    checkpoint.write(tmp_path / "mine.safetensors", state, about)
    assert scoreboard() == rows and rows.count("\n") == 1


@pytest.mark.parametrize("name", ["08-text", "08-two"])
def test_the_scenes_table_is_the_measured_one(name):
    scores = checkpoint.read(name, "denoiser")[0]["scores"]
    assert (scores["samples"], scores["guidance"]) == (1000, 3)
    assert f"<!-- scenes of {name} -->\n{textwrap.indent(scenes.table(scores), '    ')}\n<!-- /scenes -->" in TEXT


def test_the_run_times_are_the_measured_ones():
    assert measure_times.PLACE.findall(TEXT) == [measure_times.table(measure_times.measured())]
    cpu, gpu = {"01": 95, "02": 61}, {"01": 3.04}
    times = {"cuda": {"hardware": "GPU", "seconds": gpu}, "cpu": {"hardware": "CPU", "seconds": cpu}}
    rows = ["| to run | CPU | GPU |", "| --- | --- | --- |", "| 01 | 1.6 min | 3 s |", "| 02 | 61 s |  |", ""]
    assert measure_times.table(times) == "\n".join(rows)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: " ".join(command.split()[:3]))
def test_its_commands_are_understood(command):
    """Every option is known, and every recipe, model, digit and prompt that they name is there."""
    a = parser().parse_args(shlex.split(command))
    if a.command in ("train", "lora"):
        assert recipe.load(a.recipe).task == ("denoiser" if a.command == "train" else "adapter")
    elif a.command in ("sample", "evaluate") and a.model and not a.model.startswith("runs/"):
        model = checkpoint.load(a.model)
        model.schedule.times(a.steps)
        if a.command == "sample":
            commands.asked(commands.ordered(a), model)
        if a.lora:
            checkpoint.load_lora(model, a.lora, merge=a.merge)


def test_it_shows_every_command():
    assert {command.split()[0] for command in COMMANDS} == {"train", "sample", "evaluate", "lora", "app"}


def test_its_links_lead_somewhere():
    links = re.findall(r"\]\((?!https?:)([^)#]+)", TEXT)
    assert links and all((ROOT / link).exists() for link in links), links


def test_every_picture_says_what_it_shows():
    shown = re.findall(r"!\[([^\]]*)\]\(", TEXT) + re.findall(r"<img(?![^>]*\balt=\"([^\"]+)\")", TEXT)
    assert shown and all(shown)


def test_it_names_no_package_index_but_pytorchs_own():
    assert set(re.findall(r"index-url[ =](\S+?)[\s)]", TEXT, re.IGNORECASE)) == {"https://download.pytorch.org/whl/cpu"}
    assert not re.search(r"PIP_\w*INDEX|pypi\.org/simple", TEXT)


@pytest.mark.skipif(not shutil.which("make"), reason="no make here")
@pytest.mark.parametrize("cpu", [True, False])
def test_one_word_takes_the_small_build(cpu):
    """--always-make: as if there were no environment yet."""
    command = ["make", "--dry-run", "--always-make", "lab", *["CPU=1"] * cpu]
    plan = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    small, course = plan.find("torch torchvision --index-url https://download.pytorch.org/whl/cpu"), plan.find("-e ")
    assert course > 0 and (0 < small < course if cpu else small < 0)


def test_the_citation_is_of_this_version_and_address():
    text = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    entry = yaml.safe_load(text)
    assert {"cff-version", "message", "title", "authors"} <= entry.keys()
    assert (entry["version"], entry["repository-code"]) == (__version__, address())
    assert yaml.safe_load(stamp_citation(text, "https://github.com/a/b"))["repository-code"] == "https://github.com/a/b"


def test_its_python_runs():
    found = {}
    exec(re.search(r"```python\n(.*?)```", TEXT, re.DOTALL)[1], found)
    assert found["x"].shape == (3, 1, 28, 28) and found["x"].abs().max() <= 1.1
