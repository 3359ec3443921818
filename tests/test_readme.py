"""What the README promises."""

import re
import shlex
import textwrap

import pytest

from diffusion101 import checkpoint, evaluate, recipe
from diffusion101.__main__ import parser
from tools.repository import ROOT

TEXT = (ROOT / "README.md").read_text()
COMMANDS = re.findall(r"^ {4}python -m diffusion101 ([^#\n]+)", TEXT, re.MULTILINE)


def test_the_scoreboard_is_the_measured_one():
    assert textwrap.indent(evaluate.scoreboard(), "    ") in TEXT


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: " ".join(command.split()[:3]))
def test_its_commands_are_understood(command):
    words = parser().parse_args(shlex.split(command))
    if words.command in ("train", "lora"):
        recipe.load(words.recipe)
    elif not words.model.startswith("runs/"):
        checkpoint.load(words.model).schedule.times(words.steps)
    assert len(COMMANDS) >= 5


def test_its_links_lead_somewhere():
    links = re.findall(r"\]\((?!https?:)([^)#]+)", TEXT)
    assert links and all((ROOT / link).exists() for link in links), links
