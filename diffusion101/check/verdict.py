"""What every checker shares: try the learner's function, compare it with the right one and with the likely mistakes."""

from collections.abc import Callable

import torch
from torch import Tensor


def compare(
    yours: Callable, right: Callable, mistakes: dict[str, Callable], *inputs: tuple, done: str = "Correct."
) -> bool | None:
    """Call yours(*input) for each tuple of inputs. Prints one sentence; True right, False wrong, None not tried.

    mistakes: the sentence to say -> the function that would be right if that mistake had been made.
    """
    answers = []
    for args in inputs:
        try:
            answer = yours(*args)
        except Exception as error:  # the learner's own: say it, whatever it is
            return say(False, f"Your function stopped with {type(error).__name__}: {error}")
        if answer is ... or answer is None:
            return say(None, "Not tried yet: replace the ... and run the cell again.")
        answers.append(torch.as_tensor(answer))
    wanted = [torch.as_tensor(right(*args)) for args in inputs]
    if all(map(close, answers, wanted)):
        return say(True, done)
    for sentence, mistake in mistakes.items():
        if all(close(a, torch.as_tensor(mistake(*args))) for a, args in zip(answers, inputs)):
            return say(False, sentence)
    a, w = next((a, w) for a, w in zip(answers, wanted) if not close(a, w))
    if a.shape != w.shape:
        return say(False, f"Not yet: the shape should be {tuple(w.shape)}, yours is {tuple(a.shape)}.")
    return say(False, "Not yet: the shape is right, the values are not.")


def close(a: Tensor, b: Tensor) -> bool:
    same = a.shape == b.shape and torch.allclose(a.double(), b.double(), rtol=1e-3, atol=1e-5, equal_nan=True)
    return bool(same)


def say(verdict: bool | None, sentence: str) -> bool | None:
    print(sentence)
    return verdict
