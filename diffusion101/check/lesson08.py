"""Lesson 08: a sentence as a row of numbers, a softmax that leaves out empty places, and the bag of words."""

import re
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from .exercise import exercise, normal

__all__ = ["bag", "masked_softmax", "word_numbers"]

_WORDS = ("a", "in", "left", "red", "seven", "small", "the", "top", "two")
_PROMPTS = {"a small red seven, top left": 9, "The RED two: in the top left!": 12, "": 4, "two": 2}


@exercise(
    cases=lambda: [(prompt, _WORDS, length) for prompt, length in _PROMPTS.items()],
    done="Correct: that is all the network will ever see of a sentence.",
    within=0,
    mistakes={
        "A row begins with the number that says nothing: so there is always something to read.": dict(start=0),
        "You counted the words from 1: the first of the vocabulary has the number 0.": dict(first=1),
        "You took 0 for nothing and counted the words from 1: here words begin at 0.": dict(first=1, nothing="0"),
        "You filled up with 0, but 0 is a word: nothing has the number len(vocabulary).": dict(nothing="0"),
        "You filled up with -1, which is no row of a table: nothing is len(vocabulary).": dict(nothing="-1"),
        "len(vocabulary) - 1 is the last word: nothing has the number after it.": dict(nothing="last"),
        "Fill the row up: it is to hold `length` numbers.": dict(fill=False),
        "One too long: the nothing in front is one of the `length` numbers.": dict(more=1),
        "The empty places belong behind the words, not before them.": dict(behind=False),
        "RED is the word red: make all letters small before you look them up.": dict(fold=str),
        "“seven,” is the word seven and a comma: leave out what is neither letter nor number.": dict(cut=str.split),
        "You sorted the words: their order says which belongs to which.": dict(order=sorted),
        "Each word counts as often as it is said, and where it is said.": dict(order=dict.fromkeys),
    },
)
def word_numbers(
    prompt: str,
    vocabulary: tuple[str, ...],
    length: int,
    start=1,
    first=0,
    nothing="",
    fill=True,
    more=0,
    behind=True,
    fold: Callable = str.lower,
    cut: Callable = re.compile(r"\w+").findall,
    order: Callable = list,
) -> list[int]:
    """word_numbers(prompt, vocabulary, length): `length` numbers: nothing, the words' places, nothing.

    A word's place is that in the vocabulary; the number len(vocabulary) says nothing. All words are known, whatever
    their case and the punctuation.
    """
    empty = {"0": 0, "-1": -1, "last": len(vocabulary) - 1}.get(nothing, len(vocabulary))
    found = [vocabulary.index(word) + first for word in order(cut(fold(prompt))) if word in vocabulary]
    rest = [empty] * (length + more - start - len(found)) * fill
    return [empty] * start + (found + rest if behind else rest + found)


@exercise(
    cases=lambda: [
        (normal(4, 6), torch.tensor([1, 1, 0, 1, 0, 0]).bool()),
        (2 * normal(3, 5, seed=1) - 3, torch.tensor([1, 0, 1, 1, 0]).bool()),
    ],
    done="Correct: who is not there gets nothing, and the others share all of it.",
    mistakes={
        "The mask is missing: empty places are read as if they were words.": dict(mask="none"),
        "Turned round: True is where something is to be read, and you left just that out.": dict(mask="turned"),
        "You put 0 there, but exp(0) is 1 and is heard: put minus infinity.": dict(instead=0.0),
        "-1 is a score like any other: exp(-1) is heard; put minus infinity.": dict(instead=-1.0),
        "Your rows no longer sum to 1: leave places out before the softmax, not after it.": dict(late=True),
        "The softmax ran over those who ask: each of them shares its attention among the words.": dict(dim=0),
        "You threw the columns out: their weights are 0, but they are there.": (
            lambda scores, there: scores[:, there].softmax(1)
        ),
        "0 times infinity is no number: use torch.where, or masked_fill.": (
            lambda scores, there: (scores + ~there * -torch.inf).softmax(1)
        ),
        "Those are the scores with the mask: their softmax is missing.": (
            lambda scores, there: scores.masked_fill(~there, -torch.inf)
        ),
        "Those are the exponentials: divide each row by its sum.": lambda scores, there: scores.exp() * there,
        "That is a mean over what is there: the scores say who gets more.": (
            lambda scores, there: (there / there.sum()).expand_as(scores)
        ),
    },
)
def masked_softmax(scores: Tensor, there: Tensor, mask="", instead=-torch.inf, late=False, dim=1) -> Tensor:
    """masked_softmax(scores, there): scores (N, L) to weights (N, L), each row's summing to 1.

    They are 0 where there (L,) is False.
    """
    read = {"none": torch.ones_like(there), "turned": ~there}.get(mask, there)
    if late:
        return scores.softmax(dim) * read
    return scores.masked_fill(~read, instead).softmax(dim)


@exercise(
    cases=lambda: [
        (normal(3, 6, 4), torch.arange(6) < torch.tensor([[4], [1], [6]])),
        (normal(2, 5, 3, seed=1), torch.tensor([[1, 0, 1, 1, 0], [1, 1, 0, 0, 0]]).bool()),
    ],
    done="Correct: as loud for ten words as for one.",
    mistakes={
        "That is a mean: of ten words each counts a tenth; divide by the root of their count.": dict(power=1),
        "That is the sum: a long sentence would shout; divide by the root of the count.": dict(power=0),
        "You multiplied by the root of the count: divide by it.": dict(power=-0.5),
        "You summed the empty places too: only what is there counts.": dict(heard="all"),
        "You divided by the root of the row's length: count the words that are there.": dict(counted="row"),
        "Each sentence has its own count: you took that of the whole batch.": dict(counted="batch"),
        "You divided by the root of the width: divide by that of the count of words.": dict(counted="width"),
        "That is the mean over all places: leave the empty ones out, and take the root of the count.": (
            lambda vectors, there: vectors.mean(1)
        ),
        "You summed over the width: one vector for each sentence is wanted, so sum over its places.": (
            lambda vectors, there: (vectors * there[..., None]).sum(2)
        ),
        "You made every bag the same length: divide by the root of the count, and no more.": (
            lambda vectors, there: F.normalize((vectors * there[..., None]).sum(1), dim=1)
        ),
        "That is the largest of each column: a bag is a sum, so that every word is in it.": (
            lambda vectors, there: vectors.masked_fill(~there[..., None], -torch.inf).amax(1)
        ),
    },
)
def bag(vectors: Tensor, there: Tensor, power=0.5, heard="", counted="") -> Tensor:
    """bag(vectors, there): from (B, L, width) and (B, L) bool to (B, width): their sum over the root of their count."""
    read = torch.ones_like(there) if heard == "all" else there
    own = there.sum(1, keepdim=True)  # (B, 1)
    count = {"row": there.shape[1], "batch": there.sum(), "width": vectors.shape[2]}.get(counted, own)
    return (vectors * read[..., None]).sum(1) / count**power
