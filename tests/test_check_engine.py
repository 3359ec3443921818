"""Whatever a learner's function does, every checker answers in one line, and only the right values are right."""

import contextlib
import copy
import io
import re
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from diffusion101 import check
from diffusion101.check.exercise import ANYWHERE, Exercise, exercise
from tools.normalise import code_cells, read
from tools.repository import notebooks

CHECKERS = {name: found for name, found in vars(check).items() if isinstance(found, Exercise)}
EVERY = pytest.mark.parametrize("name", CHECKERS)
UNTRIED = "Not tried yet: replace the ... and run the cell again."


def ask(checker: Exercise, yours) -> tuple[bool | None, str]:
    with contextlib.redirect_stdout(io.StringIO()) as out:
        verdict = checker(yours)
    lines = out.getvalue().splitlines()
    assert len(lines) == 1 and 0 < len(lines[0]) < 400 and verdict in (True, False, None), lines
    return verdict, lines[0]


def sentences(text: str) -> int:
    return len(re.findall(r"[.?](?= [A-Z]|$)", text))


def some(count: int):
    return settings(deadline=None, max_examples=count, derandomize=True, database=None)


# What every exercise promises


@EVERY
def test_the_right_answer_is_right_and_each_mistake_has_a_sentence_of_its_own(name):
    checker = CHECKERS[name]
    assert ask(checker, checker.right) == (True, checker.done) and checker.done.startswith("Correct")
    assert checker.__name__ == name and checker.__doc__.startswith(f"{name}(")
    for sentence, mistake in checker.mistakes.items():
        slip = isinstance(mistake, dict)
        assert ask(checker, partial(checker.right, **mistake) if slip else mistake) == (False, sentence)
        assert sentences(sentence) <= (1 if slip else 2), "two slips together are told in two sentences"


@EVERY
def test_untried_nothing_and_stopped(name):
    def stopped(*case):
        raise ValueError("first line\nsecond line " + 1000 * "x ")

    assert ask(CHECKERS[name], lambda *case: ...) == ask(CHECKERS[name], ...) == (None, UNTRIED)
    assert ask(CHECKERS[name], lambda *case: None) == (
        False,
        "Your function returned None: the line with its answer must begin with return.",
    )
    verdict, said = ask(CHECKERS[name], stopped)
    assert verdict is False and said.startswith("Your function stopped with ValueError: first line second line x")
    assert ask(CHECKERS[name], lambda *, more: 1)[1].startswith("Your function stopped with TypeError: ")
    assert ask(CHECKERS[name], 41) == (False, f"Give the function itself, not its answer: check.{name}(your_function).")


CLOTHES = {
    "list": lambda x: x.tolist(),
    "tuple": lambda x: tuple(x.tolist()) if x.ndim else x.item(),
    "tensors in a list": lambda x: list(x) if x.ndim else x,
    "array": lambda x: x.numpy(),
    "array, backwards in memory": lambda x: x.numpy()[::-1].copy()[::-1] if x.ndim else x.numpy()[()],
    "float64": lambda x: x.double(),
    "with a gradient": lambda x: x.double().requires_grad_(),
}


@EVERY
@pytest.mark.parametrize("cloth", CLOTHES)
def test_the_same_numbers_in_other_clothes_are_right(name, cloth):
    checker = CHECKERS[name]

    def dressed(*case):
        answer = checker.right(*case)
        wear = lambda part: CLOTHES[cloth](torch.as_tensor(part))  # noqa: E731
        return tuple(map(wear, answer)) if checker.parts > 1 else wear(answer)

    assert ask(checker, dressed)[0] is True


def spoil_inputs(case) -> None:
    for value in case:
        if isinstance(value, Tensor):
            value.zero_()
        elif isinstance(value, list):
            value.clear()
        elif hasattr(value, "exact"):  # a schedule
            value.exact.zero_(), value.signal.zero_(), value.beta.zero_()


@EVERY
def test_inputs_are_lent_and_only_the_answer_counts(name):
    checker = CHECKERS[name]

    def right(*case):
        answer = copy.deepcopy(checker.right(*case))
        spoil_inputs(case)
        return answer

    assert ask(checker, right)[0] is True
    ask(checker, spoil_inputs)
    assert ask(checker, checker.right)[0] is True


# Random answers

NUMBERS = st.integers(-(10**400), 10**400) | st.floats() | st.booleans()
ARRAYS = st.builds(
    lambda shape, dtype, fill: torch.full(shape, fill, dtype=torch.float64).to(dtype),
    st.lists(st.integers(0, 5), max_size=4),
    st.sampled_from([torch.float32, torch.float64, torch.float16, torch.int64, torch.bool, torch.complex64]),
    st.sampled_from([0.0, 1.0, -3.5, 1e300, float("nan"), float("inf")]),
)
ODD = st.sampled_from(
    [object(), range(3), {1, 2}, b"1", 1j, ..., None, int, nn.Linear(2, 2), np.array(["a"]), np.array([{}, 1])]
    + [torch.eye(3).to_sparse(), torch.empty(2, device="meta"), [..., 1], [[1], [1, 2]]]
)
SCALARS = NUMBERS | st.text(max_size=9) | ODD
ANSWERS = st.recursive(
    SCALARS | ARRAYS | ARRAYS.filter(lambda x: not x.is_complex()).map(lambda x: x.numpy()),
    lambda inner: st.lists(inner, max_size=3) | st.tuples(inner, inner) | st.dictionaries(st.text(), inner, max_size=2),
    max_leaves=5,
)
ERRORS = st.sampled_from([ValueError, KeyError, StopIteration, RecursionError, MemoryError, AssertionError])


@EVERY
@some(20)
@given(answer=ANSWERS)
def test_no_random_answer_is_right_and_none_breaks_a_checker(name, answer):
    verdict, said = ask(CHECKERS[name], lambda *case: answer)
    assert verdict is None if answer is ... else verdict is False
    assert (said == UNTRIED) == (answer is ...)


@EVERY
@some(4)
@given(error=ERRORS, text=st.text())
def test_every_error_is_told(name, error, text):
    def stopped(*case):
        raise error(text)

    verdict, said = ask(CHECKERS[name], stopped)
    assert verdict is False and said.startswith(f"Your function stopped with {error.__name__}")


@EVERY
@some(10)
@given(data=st.data())
def test_the_right_answer_spoilt_in_one_place_is_wrong(name, data):
    checker = CHECKERS[name]
    how = data.draw(st.sampled_from(["value", "nan", "inf", "row more", "one more dimension"]))
    at, case_at = data.draw(st.integers(0, 10**6)), data.draw(st.integers(0, len(checker.cases()) - 1))
    calls = iter(range(10**6))

    def spoilt(*case):
        *others, part = checker.right(*case) if checker.parts > 1 else (checker.right(*case),)
        part = torch.as_tensor(part).double().clone()
        if next(calls) % len(checker.cases()) == case_at:
            if how == "one more dimension":
                part = part[None]
            elif how == "row more":
                part = torch.cat([part, part[-1:]]) if part.ndim else part.repeat(2)
            else:
                old = part.flatten()[at % part.numel()]
                new = {"nan": torch.nan, "inf": torch.inf}.get(how, old + 0.1 * old.abs().clamp(min=1))
                part.view(-1)[at % part.numel()] = new
        return (*others, part) if others else part

    assert ask(checker, spoilt)[0] is False


# The engine, on an exercise as small as can be


@exercise(
    cases=lambda: [(torch.tensor([3.0, 6.0]), torch.tensor([4.0, 8.0])), (torch.tensor([1.0, 0.0]), torch.ones(2))],
    mistakes={"The root is missing.": dict(power=1), "Plus, not minus.": dict(sign=-1)},
)
def hypotenuse(a, b, power=0.5, sign=1):
    """hypotenuse(a, b): Pythagoras."""
    return (a**2 + sign * b**2).abs() ** power


TOLD = {
    "Correct.": lambda a, b: torch.hypot(a, b),
    "The root is missing. And: Plus, not minus.": lambda a, b: (a * a - b * b).abs(),
    "Right but for the sign: all of it is turned over.": lambda a, b: -torch.hypot(a, b),
    "Right, but upside down: the first is to be the last.": lambda a, b: torch.hypot(a, b).flip(0),
    "Yours is one over what is wanted: turn the fraction over.": lambda a, b: 1 / torch.hypot(a, b),
    "Not yet: your answer[0] should be 5, and it is 7, 1.4 times as much.": lambda a, b: a + b,
    "Not yet: your answer[1] should be 10, and it is nan.": lambda a, b: torch.hypot(a, b) / (a != 6) * (a != 6),
    "Not yet: your answer should be of shape (2,), not one number.": lambda a, b: torch.hypot(a, b).sum(),
    "Not yet: your answer should be of shape (2,), not of shape (1, 2).": lambda a, b: torch.hypot(a, b)[None],
    "Asked the same twice": lambda a, b: torch.rand(2),
    "Not yet: there is a str in what your function returned; numbers or a tensor are wanted.": lambda a, b: "5",
    "Not yet: there is a dict in": lambda a, b: [{}],
    "Not yet: there is a generator in": lambda a, b: (x for x in a),
    "Not yet: the rows of your answer differ in shape; numbers": lambda a, b: [[1.0], [1.0, 2.0]],
    "Not yet: int too large to convert to float; numbers": lambda a, b: 10**400,
}


@pytest.mark.parametrize("words", TOLD)
def test_what_is_told(words):
    verdict, said = ask(hypotenuse, TOLD[words])
    assert said.startswith(words) and verdict is (words == "Correct.")


def test_exact_answers_are_exact_and_plain_inputs_are_named():
    macs = CHECKERS["macs"]
    verdict, said = ask(macs, lambda *case: macs.right(*case) + (case[-1] == 3))
    assert verdict is False
    assert said == "Not yet: macs(64, 32, 5, 32, 3) should be 819200, and it is 819201."


def test_several_parts_are_told_apart():
    def posterior(a, b):
        return a, a + b

    checker = Exercise(posterior, lambda: [(1.0, 2.0)], {}, parts=2)
    assert ask(checker, lambda a, b: [1, 3]) == (True, "Correct.")
    assert ask(checker, lambda a, b: (1, 4))[1].startswith(
        "Not yet: part 2 of posterior(1.0, 2.0) should be 3, and it is"
    )
    assert "returned a float, not 2 answers with a comma;" in ask(checker, lambda a, b: a)[1]


def test_a_random_answer_can_be_right_by_its_property():
    """A learner who draws labels away at a rate: what is looked at is how many are gone, and that the rest stays."""

    def drop(labels, rate):
        return torch.where(torch.rand(len(labels)) < rate, 10, labels)

    def seen(answer):
        return torch.stack([(answer == 10).double().mean(), answer[answer != 10].double().mean()])

    cases = lambda: [(torch.full((40000,), 7), 0.1), (torch.full((40000,), 3), 0.5)]  # noqa: E731
    checker = Exercise(drop, cases, {"All kept.": lambda labels, rate: labels}, within=0.1, seen=seen)
    assert ask(checker, lambda y, rate: torch.where(torch.rand(len(y)) > 1 - rate, 10, y))[0] is True
    assert ask(checker, lambda y, rate: torch.where(torch.rand(len(y)) < 0.3, 10, y))[0] is False
    assert ask(checker, lambda y, rate: y) == (False, "All kept.")


def test_what_goes_wrong_anywhere_is_told_in_one_sentence():
    assert all(sentences(sentence) == 1 for sentence in ANYWHERE)


# What a lesson draws with

BY_YOURS, BY_OURS = "The figure is drawn by your function.\n", "The figure is drawn by the course, until your function "


@pytest.mark.parametrize(
    "yours, told",
    [
        (lambda t, s: s.snr[t], BY_YOURS),
        (lambda t, s: 7 * s.beta[t], BY_YOURS),  # wrong, but worth seeing
        (lambda t, s: ..., BY_OURS + "answers.\n"),
        (..., BY_OURS + "answers.\n"),
        (lambda t, s: None, BY_OURS + "answers in the right shape.\n"),
        (lambda t, s: s.snr, BY_OURS + "answers in the right shape.\n"),
        (lambda t: t, BY_OURS + "answers in the right shape.\n"),
        (7, BY_OURS + "answers in the right shape.\n"),
    ],
)
def test_figures_are_drawn_by_what_has_the_right_shape(yours, told, capsys):
    drawn, case = check.snr.pick(yours), check.snr.cases()[0]
    assert capsys.readouterr().out == told
    assert torch.equal(drawn(*case), (yours if told == BY_YOURS else check.snr.right)(*case))


def alike(answer, right) -> bool:
    if isinstance(right, tuple):
        return isinstance(answer, tuple) and all(map(alike, answer, right))
    if isinstance(right, Tensor):
        return isinstance(answer, Tensor) and (answer.shape, answer.dtype) == (right.shape, right.dtype)
    return type(answer) is type(right) and np.shape(answer) == np.shape(right)


@EVERY
def test_whatever_is_drawn_with_answers_as_ours_does(name):
    """The right answer in other clothes, and each mistake: what is drawn has the type and the shape of ours."""
    checker = CHECKERS[name]
    tried = [partial(checker.right, **slip) if isinstance(slip, dict) else slip for slip in checker.mistakes.values()]
    if checker.parts == 1:
        tried += [lambda *case, wear=wear: wear(torch.as_tensor(checker.right(*case))) for wear in CLOTHES.values()]
    for yours in tried:
        with contextlib.redirect_stdout(io.StringIO()):
            drawn = checker.pick(yours)
            for case in checker.cases():
                assert alike(drawn(*case), checker.right(*case))


def test_a_function_that_stops_later_breaks_no_cell(capsys):
    def choosy(a, b):
        if len(a) != 2:
            raise ValueError("two,\nplease")
        return [3, 4]

    drawn = hypotenuse.pick(choosy)
    assert drawn(torch.ones(2), torch.ones(2)).tolist() == [3.0, 4.0]
    for _ in range(2):
        assert torch.equal(drawn(torch.full((3,), 3.0), torch.full((3,), 4.0)), torch.full((3,), 5.0))
    said = "Here the course had to answer. Your function stopped with ValueError: two, please\n"
    assert capsys.readouterr().out == BY_YOURS + said


def test_what_a_figure_lends_is_not_written_into(capsys):
    def greedy(a, b):
        return torch.hypot(a.mul_(0), b)

    a = torch.ones(2)
    assert hypotenuse.pick(greedy)(a, torch.ones(2)).tolist() == [1.0, 1.0] and a.tolist() == [1.0, 1.0]


def test_the_part_that_is_looked_at_is_what_is_drawn(capsys):
    """Asked for eps, a learner may answer with both guesses, as guidance.guide does."""
    model, x, t, wanted, unwanted, w = check.away.cases()[0]
    drawn = check.away.pick(lambda model, x, t, wanted, unwanted, w: model(x, t, wanted))
    assert torch.equal(drawn(model, x, t, wanted, unwanted, w), model(x, t, wanted).eps)
    assert capsys.readouterr().out == BY_YOURS


def test_notebooks_ask_an_exercise_for_its_answer_or_for_what_to_draw_with():
    asked = [
        (name, what)
        for path in notebooks()
        for cell in code_cells(read(path))
        for name, what in re.findall(r"\bcheck\.(\w+)\.(\w+)", cell.source)
    ]
    assert {name for name, _ in asked} <= CHECKERS.keys() and {what for _, what in asked} == {"pick", "right"}
