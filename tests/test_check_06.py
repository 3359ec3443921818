"""Lesson 06's checkers: right, wrong and untried answers, each with its own sentence."""

import pytest
import torch

from diffusion101.check import lesson06
from diffusion101.networks.attention import CrossAttention

WEIGHTS = {
    "Correct. The package": lambda q, k: torch.softmax(q @ k.T / q.shape[1] ** 0.5, -1),
    "You forgot sqrt(d)": lambda q, k: torch.softmax(q @ k.T, -1),
    "You divided by d": lambda q, k: torch.softmax(q @ k.T / q.shape[1], -1),
    "You multiplied by sqrt(d)": lambda q, k: torch.softmax(q @ k.T * q.shape[1] ** 0.5, -1),
    "the number of keys": lambda q, k: torch.softmax(q @ k.T / k.shape[0] ** 0.5, -1),
    "ran over the pixels": lambda q, k: torch.softmax(q @ k.T / q.shape[1] ** 0.5, 0),
    "Queries and keys are exchanged": lambda q, k: torch.softmax(k @ q.T / q.shape[1] ** 0.5, -1),
    "but transposed": lambda q, k: torch.softmax(q @ k.T / q.shape[1] ** 0.5, -1).T,
    "One softmax over everything": lambda q, k: (s := (q @ k.T / q.shape[1] ** 0.5).exp()) / s.sum(),
    "Those are the scores": lambda q, k: q @ k.T / q.shape[1] ** 0.5,
    "the values are not": lambda q, k: torch.full((len(q), len(k)), 0.5),
    "Not tried yet": lambda q, k: ...,
    "stopped with RuntimeError": lambda q, k: q @ k,
}


def shown(prompts):
    return {(a, b) for a, b in prompts.tolist() if a < 10 and b < 10}


NEVER = {
    "Correct. Ask it": lambda p: 100 - len(shown(p)),
    "however often": lambda p: 100 - sum(a < 10 and b < 10 for a, b in p.tolist()),
    "A prompt with token 10": lambda p: 100 - len(set(map(tuple, p.tolist()))),
    "the left token only": lambda p: 100 - len({tuple(row) for row in p.tolist() if row[0] < 10}),
    "the right token only": lambda p: 100 - len({tuple(row) for row in p.tolist() if row[1] < 10}),
    "mind the order": lambda p: 100 - len({tuple(sorted(pair)) for pair in shown(p)}),
    "That is how many were shown": lambda p: len(shown(p)),
    "There are 100 numbers": lambda p: 90 - len(shown(p)),
    "Those are the prompts that are left": lambda p: 100 - len(p),
    "Not yet": lambda p: 30,
    "Not tried yet": lambda p: None,
    "stopped with TypeError": lambda p: p(),
}

ONE_KEY = {
    "Correct. And to_out": lambda w, c: w * c + w * w + w,
    "All of them?": lambda w, c: 2 * w * c + 2 * w * w + w,
    "The keys are as dead": lambda w, c: 2 * w * c + w * w + w,
    "The queries are as dead": lambda w, c: w * c + 2 * w * w + w,
    "has a bias too": lambda w, c: w * c + w * w,
    "to_out sees": lambda w, c: w * c,
    "to_v turns the token": lambda w, c: w * w + w,
    "to_v reads tokens": lambda w, c: 2 * w * w + w,
    "Not yet": lambda w, c: 0,
    "Not tried yet": lambda w, c: ...,
    "stopped with ZeroDivisionError": lambda w, c: w / 0,
}

ANSWERS = {"attention_weights": WEIGHTS, "never_shown": NEVER, "learning_with_one_key": ONE_KEY}
CASES = [(checker, words, answer) for checker, cases in ANSWERS.items() for words, answer in cases.items()]


@pytest.mark.parametrize("checker, words, answer", CASES, ids=[f"{c}-{w[:24]}" for c, w, _ in CASES])
def test_each_answer_gets_its_sentence(checker, words, answer, capsys):
    verdict = getattr(lesson06, checker)(answer)
    said = capsys.readouterr().out
    assert words in said and said.count("\n") == 1
    assert verdict is (True if words.startswith("Correct") else None if words.startswith("Not tried") else False)


def test_the_packages_own_weights_are_right(capsys):
    def package(q, k):
        attend = CrossAttention(q.shape[1], k.shape[1], 1)
        attend.keep = True
        with torch.no_grad():
            for layer in (attend.to_q, attend.to_k):
                layer.weight.copy_(torch.eye(q.shape[1]))
            attend(q[None], k[None])
        return attend.maps[0, 0]

    assert lesson06.attention_weights(package) is True


def test_the_package_learns_in_as_many_places_with_one_key(capsys):
    def alive(width, context):
        attend = CrossAttention(width, context, 2)
        attend.keep = True  # plain softmax: PyTorch's fused one leaves rounding errors where zeros should be
        torch.nn.init.normal_(attend.to_out.weight)  # born zero, it would keep to_v asleep for one step
        attend(torch.randn(2, 5, width), torch.randn(2, 1, context)).square().sum().backward()
        return sum(int(p.grad.any()) * p.numel() for p in attend.parameters())

    assert lesson06.learning_with_one_key(alive) is True
