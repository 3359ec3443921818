"""The controls without a browser: what a reader sets is drawn, and what cannot be drawn is told."""

import base64

import ipywidgets
import pytest
import torch

from diffusion101.figures import plot, widgets
from diffusion101.networks import Words

WORDS = Words(("a", "blue", "red", "seven", "two"), ("a red seven", "a blue two"), length=8, width=16)


@pytest.fixture
def shown(monkeypatch):
    """What was displayed: (widget, still picture)."""
    found = []
    monkeypatch.setattr(widgets, "bundle", lambda widget, still: found.append((widget, still)))
    return found


def parts(box):
    """Its controls by their names, its line for what is wrong, and its picture."""
    *controls, wrong, picture = box.children
    return {control.description: control for control in controls}, wrong, picture


def draw(prompt: str, guidance: float) -> plot.Picture:
    return plot.lines([0, 1], {"a": [guidance, WORDS.parse([prompt]).sum().item()]}, "x", "y")


def test_a_sentence_is_drawn_and_an_unknown_word_is_told(shown):
    widgets.explore(draw, slow=True, prompt="a red seven", guidance=(0.0, 6.0, 0.5, 3.0))
    [(box, still)] = shown
    controls, wrong, picture = parts(box)
    text, slider = controls["prompt"], controls["guidance"]
    assert isinstance(text, ipywidgets.Text) and text.value == "a red seven" and not text.continuous_update
    first = picture.value
    assert picture.width == str(still.width // 2)
    assert first == still.png == draw("a red seven", 3.0).png and wrong.value == ""
    text.value = "a <rad> seven"
    assert wrong.value == "this model does not know the word &#x27;rad&#x27;; the nearest it knows: red, a"
    assert picture.value == first, "the last picture stays"
    slider.value = 4.0
    assert "rad" in wrong.value and picture.value == first
    text.value = "a blue two"
    assert wrong.value == "" and picture.value == draw("a blue two", 4.0).png != first


def test_what_fails_at_once_is_an_error(shown):
    with pytest.raises(ValueError, match="does not know the word 'rad'"):
        widgets.explore(draw, prompt="rad", guidance=(0.0, 6.0, 0.5, 3.0))
    assert not shown


def test_a_picture_stands_beside_the_widget(monkeypatch):
    found = []
    monkeypatch.setattr(widgets, "display", lambda data, raw, metadata: found.extend([data, metadata]))
    widgets.explore(draw, prompt="a two", guidance=[1.0, 2.0])
    assert found[1] == {"image/png": {"width": draw("a two", 1.0).width // 2}}
    assert set(found[0]) == {"application/vnd.jupyter.widget-view+json", "image/png", "text/plain"}
    assert base64.b64decode(found[0]["image/png"]) == draw("a two", 1.0).png


def test_every_picture_has_its_sentence():
    x = torch.zeros(7, 3, 32, 32)
    long, short = ["a small red seven in the top left corner"] * 7, ["two"] * 7
    sizes = [plot.imread(plot.BytesIO(plot.captioned(x, said).png)).shape for said in (long, short)]
    assert sizes[0][1] == sizes[1][1] and sizes[0][0] > sizes[1][0], "two lines are higher than one"
