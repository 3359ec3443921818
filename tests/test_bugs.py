"""The switches: on inside their block, off after it whatever happens, for everyone who holds the function."""

from contextlib import ExitStack
from dataclasses import replace

import pytest
import torch

from diffusion101 import bugs, guidance, process, samplers, schedules
from diffusion101.bugs.switch import Bug, Edit
from diffusion101.core import toy
from diffusion101.core.denoiser import Denoiser
from diffusion101.data.images import Images
from diffusion101.drawing import Request, pictures
from diffusion101.networks import UNet
from diffusion101.training import tasks
from diffusion101.training.loop import train

EACH = pytest.mark.parametrize("name", bugs.BUGS)
FUNCTIONS = {edit.function for bug in bugs.BUGS.values() for edit in bug.edits}


@pytest.fixture(autouse=True)
def all_right_again():
    """Whatever a test does, each function ends with the very code it began with."""
    before = {function: function.__code__ for function in FUNCTIONS}
    yield
    assert [f.__qualname__ for f in FUNCTIONS if f.__code__ is not before[f]] == []


@EACH
def test_on_inside_and_off_after_an_error(name):
    bug = bugs.BUGS[name]
    functions = {edit.function for edit in bug.edits}
    before = {function: function.__code__ for function in FUNCTIONS}
    with pytest.raises(ZeroDivisionError), bugs.bug(name) as on:
        assert on is bug
        assert {f for f in FUNCTIONS if f.__code__ is not before[f]} == functions
        raise ZeroDivisionError
    assert all(f.__code__ is before[f] for f in FUNCTIONS)


def test_every_function_keeps_its_line_numbers():
    for bug in bugs.BUGS.values():
        before = {edit.function: edit.function.__code__ for edit in bug.edits}
        with bug.on():
            for function, code in before.items():
                lines = [[line for *_, line in c.co_lines() if line] for c in (code, function.__code__)]
                assert (min(lines[0]), max(lines[0])) == (min(lines[1]), max(lines[1]))
                assert function.__code__.co_filename == code.co_filename


@EACH
def test_a_visitor_can_read_it(name):
    bug = bugs.BUGS[name]
    assert bug.acts and set(bug.acts) <= {"training", "sampling", "evaluation"}
    for text in (bug.looks, bug.diagnosis):
        assert len(text) > 40 and text.endswith(".")
    signs = [line[:2] for line in bug.diff.splitlines()]
    assert signs == ["- ", "+ "] * len(bug.edits)
    before = bug.diff
    with bug.on():
        assert bug.diff == before, "the right code stays the one to compare with"


def test_an_unknown_name_is_refused():
    with pytest.raises(ValueError, match="there is no bug 'millennium'; there are uniform noise, "):
        bugs.bug("millennium")


def test_whoever_holds_the_function_has_the_bug():
    """By name, in a table, or inside a closure that was made before."""
    s = schedules.cosine(T=10)
    x, t = torch.ones(3, 3), torch.tensor([1, 5, 9])
    right = toy.at(s.signal, t, x)
    clipped = guidance.clip(lambda x, t: process.Denoised(9 * x, x), s)
    ddpm = samplers.SAMPLERS["ddpm"]
    assert right.shape == (3, 1)
    with bugs.bug("time along the batch axis"), bugs.bug("noise at the last step"):
        assert toy.at(s.signal, t, x).shape == (3,)
        *_, last = ddpm(clipped, torch.zeros(1, 1), s, generator=torch.Generator().manual_seed(0))
        assert (last.x - last.x0).abs() > 1e-4
    *_, last = ddpm(clipped, torch.zeros(1, 1), s, generator=torch.Generator().manual_seed(0))
    assert torch.equal(last.x, last.x0) and torch.equal(toy.at(s.signal, t, x), right)


def test_bugs_of_one_function_nest_and_may_end_in_any_order():
    code = samplers.ancestral.__code__
    first, second = ExitStack(), ExitStack()
    first.enter_context(bugs.bug("noise at the last step"))
    one = samplers.ancestral.__code__
    second.enter_context(bugs.bug("variance for standard deviation"))
    assert samplers.ancestral.__code__ not in (code, one)
    first.close()
    with bugs.bug("noise at the last step"):
        pass
    assert samplers.ancestral.__code__ not in (code, one)
    second.close()
    assert samplers.ancestral.__code__ is code


@pytest.mark.parametrize("other", ["w against 1 + w", "guidance with the wrong sign"])
def test_two_bugs_in_one_line_are_refused(other):
    with bugs.bug("w against 1 + w"):
        on = guidance.guide.__code__
        with pytest.raises(ValueError, match="should hold .* once: is another bug in that line"), bugs.bug(other):
            pass
        assert guidance.guide.__code__ is not None and guidance.guide.__code__ == on, "the first is still on"


def test_a_bug_of_two_lines_is_on_whole_or_not_at_all():
    half = Bug(
        "half", "", "", (), (Edit(samplers.draw_noise, "randn", "rand"), Edit(samplers.ddpm, "no such text", ""))
    )
    code = samplers.draw_noise.__code__
    with pytest.raises(ValueError, match="ddpm should hold 'no such text' once"), half.on():
        raise AssertionError("never here")
    assert samplers.draw_noise.__code__ is code


@pytest.fixture
def model(tiny):
    """A network that has no zeros left, and hears its label."""
    torch.manual_seed(1)
    model = Denoiser(UNet(tiny.model.network), schedules.cosine(), "v").eval()
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.1 * torch.randn(p.shape))
    return model


ELSEWHERE = {
    "betas one off",
    "LoRA scaled twice",
    "no clipping with eps",
}  # the model has none of it, or has it already


@pytest.mark.parametrize("name", [name for name in bugs.BUGS if name not in ELSEWHERE])
def test_it_acts_while_sampling_only_if_it_says_so(model, name):
    cond = None if name == "time along the batch axis" else torch.arange(8)
    request = Request(cond, 8, guidance=2.0, sampler="ddpm", steps=4, size=(8, 8))

    def drawn():
        torch.manual_seed(1)  # of the dropout of labels, which draws where nobody hands it a generator
        return pictures(model, request)

    right = drawn()
    assert torch.equal(drawn(), right)
    with bugs.bug(name):
        broken = drawn()
    assert torch.equal(broken, right) == ("sampling" not in bugs.BUGS[name].acts)
    assert torch.equal(drawn(), right)


@pytest.mark.parametrize("name", [name for name, bug in bugs.BUGS.items() if bug.acts == ("sampling",)])
def test_what_acts_while_sampling_leaves_training_alone(tiny, pictures, name):
    losses = []
    for bug in (None, name):
        with ExitStack() as stack:
            if bug:
                stack.enter_context(bugs.bug(bug))
            model = tasks.task(tiny).build()
            losses.append([step.loss for step in train(model, pictures, replace(tiny, total=16))])
    assert losses[0] == losses[1]


def test_normalisation_acts_wherever_pictures_are_shown():
    images = Images("synthetic", torch.tensor([0, 255], dtype=torch.uint8).view(2, 1, 1, 1), torch.zeros(2).long(), "")
    with bugs.bug("normalisation to [0, 1]"):
        assert images.pictures().flatten().tolist() == [0, 1]
    assert images.pictures().flatten().tolist() == [-1, 1]
