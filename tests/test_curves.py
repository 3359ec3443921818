"""Figures whose colours and places a reader relies on: curves of models, hands of clocks."""

import math

import pytest
import torch

from diffusion101.figures import plot


@pytest.fixture(autouse=True)
def figures_stay_open(monkeypatch):
    monkeypatch.setattr(plot, "Picture", lambda figure: figure)


def drawn(*names):
    return plot.lines([1, 2], {name: [0, 1] for name in names}, "t", "loss").axes[0].lines


def test_a_model_has_one_colour_in_every_figure():
    for lines in (drawn("M1", "M2"), drawn("the truth", "M2", "M1"), drawn("M2, most", "M1, least")):
        colours = {line.get_label().split(",")[0]: line.get_color() for line in lines}
        assert colours["M1"] == plot.MODELS["M1"] and colours["M2"] == plot.MODELS["M2"]


def test_no_two_curves_look_alike():
    looks = [(line.get_color(), line.get_linestyle()) for line in drawn("M1, most", "M1, least", *"abcdef")]
    assert len(set(looks)) == 8
    assert [line.get_color() for line in drawn("a", "b")] == plot.COLOURS[:2]


def test_several_curves_are_named_once():
    """One curve needs no legend; of figures that stand together only one has it."""
    one, two = {"a": [0, 1]}, {"a": [0, 1], "b": [1, 0]}
    figures = plot.lines([1, 2], one, "t", "loss"), plot.lines([1, 2], two, "t", "loss")
    axes = [figure.axes[0] for figure in (*figures, plot.lines([1, 2], two, "t", "loss", legend=False))]
    assert [ax.get_legend() is None for ax in axes] == [True, False, True]
    assert [text.get_text() for text in axes[1].get_legend().get_texts()] == ["a", "b"]


def test_hands_stand_at_their_angles():
    angle = torch.arange(0, 101) * math.pi / 100
    first, second = plot.clocks({"half a turn": angle, "none": 0 * angle}, t=50, every=10).axes[:2]
    assert first.lines[0].get_xydata()[1] == pytest.approx((0, 1), abs=1e-6)
    assert second.lines[0].get_xydata()[1] == pytest.approx((1, 0))
    assert len(first.collections[0].get_offsets()) == 11
