"""The museum's rooms: pairs from the same noise, what catches each bug, and the numbers that lesson 11 uses."""

import pytest
import torch

from diffusion101 import UNet, UNetConfig, bugs, check, samplers, schedules, toy
from diffusion101.check.lesson11 import LINE_UP
from diffusion101.figures import plot
from tools.normalise import read
from tools.repository import NOTEBOOKS


def noise():
    return samplers.draw_noise(torch.zeros(2, 1, 4, 4))


def test_both_are_made_from_the_same_random_numbers():
    state = torch.get_rng_state()
    made = bugs.both(1, noise)
    assert list(made) == ["correct", "broken"] and made["correct"].min() < 0 <= made["broken"].min()
    assert torch.equal(torch.get_rng_state(), state)
    same = bugs.both("noise at the last step", noise)  # a bug that draws nothing
    assert torch.equal(same["correct"], same["broken"]) and torch.equal(same["correct"], made["correct"])


def test_what_is_made_may_raise_and_leaves_nothing_behind():
    code, state = samplers.draw_noise.__code__, torch.get_rng_state()

    def make():
        if samplers.draw_noise.__code__ is not code:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        bugs.both(1, make)
    assert samplers.draw_noise.__code__ is code and torch.equal(torch.get_rng_state(), state)


def test_an_exhibit_is_a_picture_of_both():
    assert isinstance(bugs.exhibit(1, noise), plot.Picture)
    assert bugs.exhibit(1, noise, show=lambda made: sorted(made)) == ["broken", "correct"]


@pytest.mark.parametrize("which", [0, 17, "millennium", None])
def test_an_unknown_bug_is_refused_before_anything_is_made(which):
    with pytest.raises(ValueError, match=f"there is no bug {which!r}"):
        bugs.both(which, lambda: pytest.fail("never here"))


def asked():
    s = schedules.cosine(T=50)
    return check.audit(s, lambda x, t: 0 * x, samplers.ddpm, shape=(1, 4, 4), steps=5)


def test_caught_tells_the_lines_and_what_they_break():
    name, *lines = bugs.caught(5, asked).splitlines()
    assert name == "5. noise at the last step"
    assert lines[0] == "  - if r > 0:" and lines[1] == "  + if True:"
    assert any(line.startswith("  broken: sampling ends at t = 0, on the last guess itself (") for line in lines)


def test_what_nobody_asks_for_is_not_caught():
    class Quiet:
        failing = []

    assert bugs.caught("averaged buffers", Quiet).endswith("\n  not caught")


def test_the_numbers_of_the_line_up():
    names = {row: list(bugs.BUGS)[number - 1] for row, number in LINE_UP.items()}
    assert names == {
        "A": "guidance with the wrong sign",
        "B": "dropout in evaluation",
        "C": "w against 1 + w",
        "D": "noise at the last step",
    }
    assert check.suspects.right() == [*LINE_UP.values()]


def test_the_exercise_s_invariant_catches_the_museum_s_own_bug():
    s = schedules.cosine(T=20)
    case = samplers.ddpm, toy.ring().denoiser(s), torch.randn(9, 2), s
    assert check.ends_clean.right(*case)
    with bugs.bug("noise at the last step"):
        assert not check.ends_clean.right(*case)


MENDS = {"torch.rand_like(x0)": "torch.randn_like(x0)", "x + added.sqrt()": "x + (r > 0) * added.sqrt()"}


def test_two_bugs_hide_in_the_lesson_s_own_ddpm():
    """The cell of exercise 3, before and after what its folded answer says."""
    cells = {cell.id: cell.source for cell in read(NOTEBOOKS / "11_bug_museum.ipynb").cells}
    source, answer = cells["tiny"], cells["tiny-answer"]
    assert asked_of(source).suspicions == ["noise at the last step", "uniform noise", "variance for standard deviation"]
    for wrong, right in MENDS.items():
        assert source.count(wrong) == 1 and right.removeprefix("x + ") in answer
        source = source.replace(wrong, right)
    assert asked_of(source).passed


def asked_of(source: str):
    """What the cell's last line finds."""
    *lines, last = source.splitlines()
    names = {"torch": torch, "F": torch.nn.functional, "UNet": UNet, "UNetConfig": UNetConfig, "check": check}
    exec("\n".join(lines), names)
    return eval(last, names)
