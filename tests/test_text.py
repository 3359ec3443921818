"""Words: from a sentence to vectors, and to a network's blocks."""

from dataclasses import replace

import pytest
import torch

from diffusion101.milestones import M8
from diffusion101.networks import UNet, Words
from diffusion101.networks.attention import CrossAttention
from diffusion101.networks.text import nearness

FEW = Words(("a", "blue", "red", "seven", "two"), ("a red seven", "a blue two"), length=8, width=16)


def built(words: Words, seed: int = 0) -> torch.nn.Module:
    torch.manual_seed(seed)
    return words.build(0)


def test_a_row_begins_with_nothing_and_ends_with_nothing():
    assert FEW.parse(["a red seven", "TWO,Seven!", ""]).tolist() == [
        [5, 0, 2, 3, 5, 5, 5, 5],
        [5, 4, 3, 5, 5, 5, 5, 5],
        [5] * 8,
    ]
    assert torch.equal(FEW.parse([""]), FEW.empty(1)), "the empty prompt is the one that guidance compares with"
    assert FEW.there(FEW.parse(["a two", ""])).sum(1).tolist() == [3, 1], "there is always something to ask"


@pytest.mark.parametrize(
    "prompt, message",
    [
        ("a rad seven", "does not know the word 'rad'; the nearest it knows: red, a"),
        ("blau", "the word 'blau'; the nearest it knows: blue"),
        ("xyz", "the word 'xyz'; it knows a, blue, red, seven, two"),
        ("42", "the word '42'"),
        ("a two é", "the word 'é'"),
        ("a " * 8, "has 8 words; this model reads up to 7"),
    ],
)
def test_unknown_words_and_long_sentences_are_told(prompt, message):
    with pytest.raises(ValueError, match=message):
        FEW.parse([prompt])


def test_spread_is_the_examples_in_turn():
    assert torch.equal(FEW.spread(5), FEW.parse(["a red seven", "a blue two"] * 2 + ["a red seven"]))
    assert FEW.places(["a red seven"]) == 1


def test_drop_empties_whole_sentences():
    rows, g = FEW.spread(4000), torch.Generator().manual_seed(0)
    gone = (FEW.drop(rows, 0.3, g) == FEW.empty(4000)).all(1)
    assert abs(gone.float().mean().item() - 0.3) < 0.03 and torch.equal(FEW.drop(rows, 0.0), rows)


@pytest.mark.parametrize(
    "options, message",
    [
        (dict(words=("a",)), "of a sane size"),
        (dict(words=("a", "red", "seven", "a")), "must be there once"),
        (dict(examples=()), "examples must not be empty"),
        (dict(examples=("a green two",)), "does not know the word 'green'"),
        (dict(length=1), "of a sane size"),
        (dict(width=18), "heads must divide width"),
        (dict(heads=0), "heads must divide width"),
        (dict(layers=-1), "of a sane size"),
    ],
)
def test_words_that_cannot_be_built_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        replace(FEW, **options)


def test_fit_fills_up_and_refuses_labels():
    rows = FEW.parse(["a two"])
    assert torch.equal(FEW.fit(rows[:, :4]), rows)
    for bad in (torch.tensor([1, 2]), torch.zeros(1, 9).long(), torch.zeros(1, 0).long()):
        with pytest.raises(ValueError, match=r"it must be \(B, L\) with L up to 8"):
            FEW.fit(bad)


@pytest.mark.parametrize("near", [False, True])
def test_padding_is_never_heard(near):
    """The same sentence in rows of 5, 8 and 12 places, and beside a longer one."""
    encoder, prompt = built(replace(FEW, length=12, near=near)), ["a red seven"]
    answers = []
    for length in (5, 8, 12):
        words = replace(FEW, length=length, near=near)
        heard = words.hear(encoder, words.parse(prompt))
        answers.append((heard.tokens[:, :4], heard.vectors[0]))
    words = replace(FEW, length=12, near=near)
    heard = words.hear(encoder, words.parse([*prompt, "a red seven a blue two"]))
    answers.append((heard.tokens[:1, :4], heard.vectors[0][:1]))
    for tokens, bag in answers[1:]:
        torch.testing.assert_close(tokens, answers[0][0], rtol=0, atol=1e-5)
        torch.testing.assert_close(bag, answers[0][1], rtol=0, atol=1e-6)


@pytest.mark.parametrize("keep", [False, True])
def test_attention_reads_only_what_is_there(keep):
    attend = CrossAttention(16, 8, 2)
    torch.nn.init.normal_(attend.to_out.weight)
    attend.keep = keep
    h, tokens = torch.randn(2, 5, 16), torch.randn(2, 4, 8)
    there = torch.tensor([[True, True, False, False], [True] * 4])
    other = tokens.clone()
    other[0, 2:] = 1e6
    answer = attend(h, tokens, there)
    torch.testing.assert_close(attend(h, other, there), answer, rtol=0, atol=1e-5)
    torch.testing.assert_close(answer[:1], attend(h[:1], tokens[:1, :2]), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(answer[1:], attend(h[1:], tokens[1:]), rtol=1e-4, atol=1e-5)


def test_what_is_added_before_the_softmax_counts_only_where_something_is_there():
    attend = CrossAttention(16, 8, 2)
    h, tokens, bias = torch.randn(2, 5, 16), torch.randn(2, 4, 8), torch.randn(2, 5, 4)
    there = torch.tensor([[True, True, False, False], [True] * 4])
    attend.keep = True
    attend(h, tokens, there)
    plain = attend.maps
    attend(h, tokens, there, bias)
    wanted = plain * bias.exp()  # exp(score + bias), up to a factor of the row
    torch.testing.assert_close(attend.maps, wanted / wanted.sum(-1, keepdim=True))


def test_near_words_are_heard_more():
    whole = torch.tensor([[0.0, 1, 2], [1, 0, 1], [2, 1, 0]])
    assert torch.equal(nearness(2, 3), torch.stack([-whole, -whole / 2]))
    near = replace(FEW, near=True)
    plain, encoder = built(FEW), built(near)
    encoder.load_state_dict(plain.state_dict())
    for table in (plain.table, encoder.table):
        torch.nn.init.zeros_(table.where.weight)  # so that distance alone can tell one order from another
    rows = near.parse(["a red two a blue seven", "a blue two a red seven"])
    one, two = near.hear(encoder, rows).tokens
    assert (one[3] - two[3]).abs().max() > 0.01, "two has heard the colour beside it"
    one, two = FEW.hear(plain, rows).tokens
    torch.testing.assert_close(one[3], two[3])


def test_the_bag_hears_words_and_the_tokens_their_order():
    encoder = built(FEW)
    one, two = FEW.hear(encoder, FEW.parse(["a red two a blue seven", "a blue two a red seven"])).vectors[0]
    torch.testing.assert_close(one, two)
    tokens = FEW.hear(encoder, FEW.parse(["a red two a blue seven", "a blue two a red seven"])).tokens
    assert (tokens[0, 3] - tokens[1, 3]).abs().max() > 0.01, "the same two at the same place, but red or blue"
    bags = [FEW.hear(encoder, FEW.parse([text])).vectors[0].std().item() for text in ("two", "a red two a blue seven")]
    assert 0.5 < bags[1] / bags[0] < 2, "a long sentence is as loud as a short one"
    quiet = replace(FEW, bag=False)
    assert quiet.hear(encoder, quiet.parse(["two"])).vectors == () == quiet.vectors(128)


def test_a_network_hears_each_picture_s_own_sentence_whatever_stands_behind_it():
    config = replace(M8, levels=(M8.levels[0], M8.levels[2]), condition=FEW)
    torch.manual_seed(0)
    net = UNet(config)
    for p in net.parameters():
        torch.nn.init.normal_(p, std=0.1)
    x, t = torch.randn(3, 3, 8, 8), torch.tensor([1, 500, 1000])
    cond = FEW.parse(["a red seven", "a blue two", ""])
    answer = net(x, t, cond)
    torch.testing.assert_close(net(x, t, cond[:, :5]), answer, rtol=0, atol=1e-5)
    torch.testing.assert_close(net(x[2:], t[2:]), answer[2:], rtol=0, atol=1e-5)
    assert (net(x, t, cond[[1, 1, 2]]) - answer).abs().amax((1, 2, 3)).gt(1e-4).tolist() == [True, False, False]
