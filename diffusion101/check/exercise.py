"""One engine for all exercises. An exercise is its right answer, inputs to try, and a table of mistakes:

    @exercise(
        cases=lambda: [(3.0, 4.0), (1.0, 2.0)],
        done="Correct: Pythagoras.",
        mistakes={"The root is missing.": dict(power=1), "That is the way round.": lambda a, b: a + b},
    )
    def distance(a, b, power=0.5):
        return (a**2 + b**2) ** power

A mistake is a slip (keywords with which the right answer goes wrong; the engine also tries any two slips at once) or a
function of the inputs. It is recognised by giving the same wrong values as the learner's function on every case.
"""

import contextlib
import copy
import math
import numbers
import textwrap
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import combinations
from typing import Any

import numpy as np
import torch
from torch import Tensor

UNTRIED = "Not tried yet: replace the ... and run the cell again."
NOTHING = "Your function returned None: the line with its answer must begin with return."
CHANCE = (
    "Asked the same twice, your function gave two answers: use what it is given, draw no random numbers of its own."
)
ANYWHERE = {  # what goes wrong in any exercise, made of the right answer
    "Right but for the sign: all of it is turned over.": torch.neg,
    "Yours is the square of what is wanted: take the root.": torch.square,
    "Yours is the root of what is wanted: square it.": torch.sqrt,
    "Yours is one over what is wanted: turn the fraction over.": torch.reciprocal,
    "Right, but transposed: rows and columns are exchanged.": lambda right: right.transpose(0, 1),
    "Right, but upside down: the first is to be the last.": lambda right: right.flip(0),
    "Right, but each row runs backwards.": lambda right: right.flip(-1),
}


class Told(Exception):
    """There is no answer to compare; the message is the sentence that says why."""


@dataclass(repr=False, eq=False)
class Exercise:
    """Called with a learner's function: prints one line; True if it is right, False if not, None if not tried.

    pick(yours) is what the lesson goes on with: the learner's function, even a wrong one, or this one.

    right      right(*case, **slip): a number, a tensor or lists of them; with parts > 1 a tuple of so many
    cases      () -> the inputs to try, a tuple each
    mistakes   the sentence to say -> a slip or a function of the inputs
    within     the relative error that passes (a hundredth of it absolute); 0 where the answer is exact
    seen       what of an answer, or of each part, is looked at, where the truth is a property; its ValueError is told
    untouched  what to add if the answer is right but was written into the inputs
    """

    right: Callable
    cases: Callable[[], list[tuple]]
    mistakes: dict[str, dict[str, Any] | Callable]
    done: str = "Correct."
    within: float = 1e-3
    seen: Callable[[Any], Any] = lambda answer: answer
    parts: int = 1
    untouched: str = ""

    def __post_init__(self) -> None:
        self.__name__, self.__doc__ = self.right.__name__, self.right.__doc__

    def __call__(self, yours: Callable) -> bool | None:
        try:
            verdict, sentence = self._judge(yours)
        except Told as told:
            verdict, sentence = None if str(told) == UNTRIED else False, str(told)
        print(sentence)
        return verdict

    def pick(self, yours: Callable) -> Callable:
        """What a lesson draws with: yours, right or wrong, as soon as its answers have the right shape; else ours.

        Yours is lent copies, and its answers come as ours do, of the same type. Where it stops after all, or gives
        another shape, ours answers. So a wrong function shows what it does, and breaks no cell.
        """
        try:
            for case in self.cases():
                self._drawable(yours, case, self.right(*case))
        except Told as told:
            until = "answers" if str(told) == UNTRIED else "answers in the right shape"
            print(f"The figure is drawn by the course, until your function {until}.")
            return self.right
        print("The figure is drawn by your function.")
        failures = []

        def drawn(*case):
            right = self.right(*case)
            try:
                return self._drawable(yours, case, right)
            except Told as told:
                if not failures:
                    print(f"Here the course had to answer. {told}")
                failures.append(told)
                return right

        return drawn

    def _drawable(self, yours: Callable, case: tuple, right: Any) -> Any:
        """Yours' answer to the case, of right's type; Told if there is none of its shape."""
        answer = self._call(yours, tuple(map(_lent, case)))
        for look in (lambda answer: answer, self.seen):  # as it is; or what of it is looked at
            with contextlib.suppress(Exception):  # whatever a learner may return
                if self.parts == 1:
                    return _as(right, look(answer))
                return tuple(_as(part, its) for part, its in zip(right, answer, strict=True))
        raise Told("Your function's answer has another shape than it should.")

    def _judge(self, yours: Callable) -> tuple[bool, str]:
        cases = self.cases()
        lent = [copy.deepcopy(case) for case in cases]  # what is done to them stays without consequence
        answers = [self._ask(yours, case) for case in lent]
        wanted = [self._read(self.right(*case)) for case in cases]
        if all(map(self._same, answers, wanted)):
            pairs = [pair for case, own in zip(cases, lent) for pair in zip(case, own) if isinstance(pair[0], Tensor)]
            touched = self.untouched and not all(torch.equal(*pair) for pair in pairs)
            return True, f"{self.done} {self.untouched}" if touched else self.done
        for sentence, mistake in self._likely():
            if self._makes(mistake, cases, answers):
                return False, sentence
        again = [self._ask(yours, copy.deepcopy(case)) for case in cases]
        if not all(map(partial(self._same, nan=True), answers, again)):
            return False, CHANCE
        return False, next(filter(None, map(self._difference, cases, answers, wanted)))

    def _call(self, yours: Callable, case: tuple) -> Any:
        if yours is not ... and not callable(yours):
            raise Told(f"Give the function itself, not its answer: check.{self.__name__}(your_function).")
        try:
            answer = yours if yours is ... else yours(*case)
        except Exception as error:  # the learner's own: say it, whatever it is
            raise Told(f"Your function stopped with {_brief(error)}") from None
        if answer is ... or answer is None:
            raise Told(UNTRIED if answer is ... else NOTHING)
        return answer

    def _ask(self, yours: Callable, case: tuple) -> list[Tensor]:
        answer = self._call(yours, case)
        try:
            return self._read(answer)
        except Exception as error:  # whatever a learner may return
            raise Told(f"Not yet: {_brief(error).partition(': ')[2]}; numbers or a tensor are wanted.") from None

    def _read(self, answer: Any) -> list[Tensor]:
        if self.parts == 1:
            return [numbers_of(self.seen(answer))]
        if not isinstance(answer, (tuple, list)) or len(answer) != self.parts:
            raise TypeError(f"your function returned a {type(answer).__name__}, not {self.parts} answers with a comma")
        return [numbers_of(self.seen(part)) for part in answer]

    def _close(self, a: Tensor, w: Tensor, nan: bool = False) -> Tensor:
        return torch.isclose(a.double(), w.double(), rtol=self.within, atol=self.within / 100, equal_nan=nan)

    def _same(self, answer: list[Tensor], wanted: list[Tensor], nan: bool = False) -> bool:
        return all(a.shape == w.shape and bool(self._close(a, w, nan).all()) for a, w in zip(answer, wanted))

    def _likely(self) -> Iterator[tuple[str, Callable]]:
        """(sentence, function of the inputs) of every mistake: this exercise's, then anybody's, then any two slips."""
        slips = [(sentence, slip) for sentence, slip in self.mistakes.items() if isinstance(slip, dict)]
        for sentence, mistake in self.mistakes.items():
            yield sentence, partial(self.right, **mistake) if isinstance(mistake, dict) else mistake
        for sentence, change in ANYWHERE.items() if self.parts == 1 else ():
            yield sentence, lambda *case, change=change: change(self._read(self.right(*case))[0].double())
        for (one, slip), (two, other) in combinations(slips, 2):
            if not slip.keys() & other.keys():
                yield f"{one} And: {two}", partial(self.right, **slip, **other)

    def _makes(self, mistake: Callable, cases: list[tuple], answers: list[list[Tensor]]) -> bool:
        try:
            return all(self._same(a, self._read(mistake(*case)), nan=True) for a, case in zip(answers, cases))
        except Exception:  # not every mistake can be made with every input
            return False

    def _difference(self, case: tuple, answer: list[Tensor], wanted: list[Tensor]) -> str:
        """What to say if the mistake is unknown: the shape, or the first wrong value. "" if this case is right."""
        plain = all(isinstance(value, (int, float, list, tuple)) for value in case)
        name = f"{self.__name__}({', '.join(map(repr, case))})" if plain else "your answer"
        for number, (a, w) in enumerate(zip(answer, wanted), start=1):
            part = f"part {number} of {name}" if self.parts > 1 else name
            if a.shape != w.shape:
                return f"Not yet: {part} should be {_shape(w)}, not {_shape(a)}."
            for place in (~self._close(a, w)).nonzero()[:1].tolist():
                given, right = a.double()[tuple(place)].item(), w.double()[tuple(place)].item()
                times = f"{given / right:.4g}" if right and math.isfinite(given) else "1"
                ratio = f", {times} times as much" if times != "1" else ""
                digits = 5 if self.within else 15
                told = f"should be {right:.{digits}g}, and it is {given:.{digits}g}{ratio}"
                return f"Not yet: {part}{place or ''} {told}."
        return ""


def exercise(**about: Any) -> Callable[[Callable], Exercise]:
    """Turns the right answer below it into a checker; the keywords are the fields of Exercise."""
    return lambda right: Exercise(right, **about)


def numbers_of(answer: Any) -> Tensor:
    """A tensor of what a person would read as numbers; TypeError or ValueError says what else was found."""
    if isinstance(answer, (list, tuple)):
        found = [numbers_of(value).double() for value in answer]
        if len({value.shape for value in found}) > 1:
            raise ValueError("the rows of your answer differ in shape")
        return torch.stack(found) if found else torch.empty(0)
    if isinstance(answer, numbers.Real):
        return torch.tensor(float(answer), dtype=torch.float64)
    if isinstance(answer, (np.ndarray, np.generic)):
        answer = torch.from_numpy(np.array(answer, order="C"))
    if not isinstance(answer, Tensor) or answer.is_complex():
        raise TypeError(f"there is a {type(answer).__name__} in what your function returned")
    return answer.detach().cpu().to_dense()


def _as(right: Any, answer: Any) -> Any:
    """The answer as right is: a tensor of its kind, or numbers in lists; ValueError if the shapes differ."""
    given, like = numbers_of(answer), torch.as_tensor(right)
    if given.shape != like.shape:
        raise ValueError(f"{_shape(given)}, not {_shape(like)}")
    return given.to(like) if isinstance(right, Tensor) else given.to(like).tolist()


def _lent(value: Any) -> Any:
    """A copy that may be written into; functions and networks are lent themselves."""
    if isinstance(value, Tensor):
        return value.clone()
    if type(value) in (list, tuple):
        return type(value)(map(_lent, value))
    return value if callable(value) else copy.deepcopy(value)


def normal(*shape: int, seed: int = 0) -> Tensor:
    """Noise of this shape, the same for the same seed."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def _shape(x: Tensor) -> str:
    return f"of shape {tuple(x.shape)}" if x.ndim else "one number"


def _brief(error: Exception) -> str:
    return textwrap.shorten(" ".join(traceback.format_exception_only(error)), 200, placeholder=" ...")
