"""What the README promises."""

import re
import shlex
import textwrap

import pytest

from diffusion101 import checkpoint
from diffusion101.__main__ import parser
from diffusion101.scoring import scenes
from diffusion101.scoring.score import scoreboard
from diffusion101.training import recipe
from tools.repository import ROOT

TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^ {4}(?:python|torchrun \S+) -m diffusion101 ([^#\n]+)", TEXT, re.MULTILINE)


def test_the_scoreboard_is_the_measured_one():
    assert textwrap.indent(scoreboard(), "    ") in TEXT


def test_the_scenes_table_is_the_measured_one():
    scores = checkpoint.read("08-text", "denoiser")[0]["scores"]
    assert (scores["samples"], scores["guidance"]) == (1000, 3)
    assert f"<!-- scenes -->\n{textwrap.indent(scenes.table(scores), '    ')}\n<!-- /scenes -->" in TEXT


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: " ".join(command.split()[:3]))
def test_its_commands_are_understood(command):
    """Every option is known, and every recipe, model, digit and prompt that they name is there."""
    a = parser().parse_args(shlex.split(command))
    if a.command in ("train", "lora"):
        assert recipe.load(a.recipe).task == ("denoiser" if a.command == "train" else "adapter")
    elif a.command in ("sample", "evaluate") and a.model and not a.model.startswith("runs/"):
        model = checkpoint.load(a.model)
        model.schedule.times(a.steps)
        words = a.command == "sample" and (a.digits or a.prompt)
        if words:
            model.condition.parse(words)
        if a.lora:
            checkpoint.load_lora(model, a.lora, merge=a.merge)


def test_it_shows_every_command():
    assert {command.split()[0] for command in COMMANDS} == {"train", "sample", "evaluate", "lora", "app"}


def test_its_links_lead_somewhere():
    links = re.findall(r"\]\((?!https?:)([^)#]+)", TEXT)
    assert links and all((ROOT / link).exists() for link in links), links
