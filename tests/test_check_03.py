"""Lesson 03's checkers: right, wrong and untried answers, each with its own sentence."""

import pytest

from diffusion101.check import lesson03


def field(layers, start=1, less=1, multiply=True, late=False, strides=True, last=False):
    r, step = start, 1
    for kernel, stride in layers:
        stride = stride if strides else 1
        after = stride if last else step * stride if multiply else step + stride - 1
        r += (kernel - less) * (after if late else step)
        step = after
    return r


FIELD = {
    "Correct. A stride doubles": field,
    "You left the strides out": lambda layers: field(layers, strides=False),
    "first widen the field, then the step": lambda layers: field(layers, late=True),
    "kernel - 1 steps, not kernel": lambda layers: field(layers, less=0),
    "One is missing": lambda layers: field(layers, start=0),
    "Strides multiply": lambda layers: field(layers, multiply=False),
    "Every stride so far counts": lambda layers: field(layers, last=True),
    "Not yet": lambda layers: 0,
    "Not tried yet": lambda layers: ...,
    "stopped with KeyError": lambda layers: {}[0],
}


def cost(a, b, k, side, level, root=None):
    return k * k * a * b * (side // 2**level if root is None else root) ** 2


MACS = {
    "Correct. Your first two answers are equal": cost,
    "divide the side before you square it": lambda a, b, k, s, n: k * k * a * b * s * s / 2**n,
    "square the side": lambda a, b, k, s, n: k * k * a * b * (s >> n),
    "You left the level out": lambda a, b, k, s, n: cost(a, b, k, s, 0),
    "not by 2 * level": lambda a, b, k, s, n: cost(a, b, k, s, n, s // (2 * n) if n else s),
    "kernel ** 2 places": lambda a, b, k, s, n: cost(a, b, k, s, n) / k,
    "all `a` input channels": lambda a, b, k, s, n: cost(1, b, k, s, n),
    "one multiply-add is one of each": lambda a, b, k, s, n: 2 * cost(a, b, k, s, n),
    "Those are the layer's weights": lambda a, b, k, s, n: k * k * a * b,
    "Not yet": lambda a, b, k, s, n: 1,
    "Not tried yet": lambda a, b, k, s, n: None,
}

UP = {
    "Correct. A skip needs": lambda w, s: [(2 * c, s >> k) for k, c in enumerate(w)],
    "You forgot the skip": lambda w, s: [(c, s >> k) for k, c in enumerate(w)],
    "`grow` has already": lambda w, s: [(a + b, s >> k) for k, (a, b) in enumerate(zip(w, [*w[1:], w[-1]]))],
    "pops a skip too": lambda w, s: [(2 * c if k < len(w) - 1 else c, s >> k) for k, c in enumerate(w)],
    "the side halves with every level": lambda w, s: [(2 * c, s) for c in w],
    "Right, but upside down": lambda w, s: [(2 * c, s >> k) for k, c in enumerate(w)][::-1],
    "not what the level above it pushed": lambda w, s: [(a + b, s >> k) for k, (a, b) in enumerate(zip(w, [w[0], *w]))],
    "the shape should be (3, 2)": lambda w, s: [2 * c for c in w],
    "Not tried yet": lambda w, s: ...,
}

ANSWERS = {"receptive_field": FIELD, "macs": MACS, "up_inputs": UP}
CASES = [(checker, words, answer) for checker, cases in ANSWERS.items() for words, answer in cases.items()]


@pytest.mark.parametrize("checker, words, answer", CASES, ids=[f"{c}-{w[:24]}" for c, w, _ in CASES])
def test_each_answer_gets_its_sentence(checker, words, answer, capsys):
    verdict = getattr(lesson03, checker)(answer)
    said = capsys.readouterr().out
    assert words in said
    assert verdict is (True if words.startswith("Correct") else None if words.startswith("Not tried") else False)


def test_what_the_sentences_claim():
    assert cost(32, 32, 3, 28, 0) == cost(64, 64, 3, 28, 1)
    assert field([(3, 1), (3, 2), (3, 1), (3, 1)]) == 1 + 2 + 2 + 4 + 4
