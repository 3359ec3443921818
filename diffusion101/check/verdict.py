"""What every checker shares: try the learner's function, compare it with the right one and with the likely mistakes."""

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

UNTRIED = "Not tried yet: replace the ... and run the cell again."


def compare(
    yours: Callable, right: Callable, mistakes: dict[str, Callable], *inputs: tuple, done: str = "Correct."
) -> bool | None:
    """Call yours(*input) for each tuple of inputs. Prints one sentence; True right, False wrong, None not tried.

    mistakes: the sentence to say -> the function that would be right if that mistake had been made.
    """
    answers = []
    for args in inputs:
        answer, sentence = tried(yours, *args)
        if sentence:
            return say(None if sentence == UNTRIED else False, sentence)
        answers.append(answer)
    wanted = [torch.as_tensor(right(*args)) for args in inputs]
    if all(map(close, answers, wanted)):
        return say(True, done)
    for sentence, mistake in mistakes.items():
        if all(close(a, torch.as_tensor(mistake(*args))) for a, args in zip(answers, inputs)):
            return say(False, sentence)
    return say(False, difference(*next((a, w) for a, w in zip(answers, wanted) if not close(a, w))))


def tried(yours: Callable, *args: Any) -> tuple[Tensor | None, str]:
    """(the answer, "") of a learner's function, or (None, the sentence to say) if there is none to look at.

    It gets copies: what it does to its inputs in place stays without consequence.
    """
    try:
        answer = yours(*map(_copied, args))
    except Exception as error:  # the learner's own: say it, whatever it is
        return None, f"Your function stopped with {type(error).__name__}: {error}"
    if answer is ... or answer is None:
        return None, UNTRIED
    try:
        return torch.as_tensor(answer).detach(), ""
    except (TypeError, ValueError, RuntimeError):
        return None, f"Not yet: your function returned a {type(answer).__name__}; a tensor or numbers are wanted."


def _copied(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.detach().clone().requires_grad_(value.requires_grad)
    return copy.deepcopy(value) if isinstance(value, list) else value


def difference(answer: Tensor, wanted: Tensor) -> str:
    """What to say of an answer whose mistake is unknown: its shape, or the first value that is off."""
    if answer.shape != wanted.shape:
        return f"Not yet: the shape should be {tuple(wanted.shape)}, yours is {tuple(answer.shape)}."
    pairs = zip(answer.double().flatten().tolist(), wanted.double().flatten().tolist())
    a, w = next((a, w) for a, w in pairs if not close(torch.tensor(a), torch.tensor(w)))
    times = f", {a / w:.4g} times it" if w else ""
    first = f"The first wrong one should be {w:.5g}, yours is {a:.5g}{times}."
    return f"Not yet: the shape is right, the values are not. {first}"


def close(a: Tensor, b: Tensor) -> bool:
    same = a.shape == b.shape and torch.allclose(a.double(), b.double(), rtol=1e-3, atol=1e-5, equal_nan=True)
    return bool(same)


def say(verdict: bool | None, sentence: str) -> bool | None:
    print(sentence)
    return verdict
