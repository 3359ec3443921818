"""The grammar, both ways; and which combinations training never shows."""

from dataclasses import replace
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diffusion101.data.captions import (
    EXAMPLES,
    HELD_OUT,
    LONGEST,
    PLACES,
    PLAIN,
    VOCABULARY,
    WORDS,
    Thing,
    caption,
    draw,
    forget,
    held_out,
    parse,
    words,
)

THINGS = st.builds(
    Thing,
    st.sampled_from(range(10)),
    *(st.sampled_from([None, *names]) for names in (WORDS["colour"], WORDS["size"], PLACES, WORDS["hand"])),
)


@settings(deadline=None)
@given(st.lists(THINGS, min_size=1, max_size=2), st.randoms(use_true_random=False))
def test_every_caption_says_its_scene_and_nothing_else(things, random):
    said = caption(tuple(things), random)
    assert parse(said) == tuple(things), said
    assert {*words(said)} <= {*VOCABULARY} and len(words(said)) <= LONGEST, said
    assert parse(said.upper().replace(" ", "  ") + "!") == tuple(things), "case and punctuation say nothing"


def test_a_scene_is_said_in_many_ways_and_every_word_is_used():
    random = Random(0)
    scene = (Thing(7, "red", "small", "top left", "bold"),)
    assert len({caption(scene, random) for _ in range(500)}) > 450
    scenes = [draw(random, 1 + i % 2, held=i % 3 == 0) for i in range(2000)]
    said = [caption(scene if i % 2 else forget(scene, random), random) for i, scene in enumerate(scenes)]
    assert {word for one in said for word in words(one)} == {*VOCABULARY}


def test_articles():
    said = {caption((Thing(digit),), Random(seed)) for digit in (8, 7) for seed in range(300)}
    assert {"an eight", "an 8", "a seven", "a 7", "the eight", "eight", "a number eight", "show me a 7"} <= said
    assert not {"a eight", "a 8", "an seven", "an 7"} & said


def test_the_examples_show_each_digit():
    assert [parse(text)[0].digit for text in EXAMPLES] == [*range(10)]


def test_what_the_lesson_promises_is_understood():
    assert parse("a handwritten number three") == (Thing(3),)
    assert parse("a small red seven, top left") == (Thing(7, "red", "small", "top left"),)
    assert parse("a blue two and a green five") == (Thing(2, "blue"), Thing(5, "green"))
    assert parse("In the centre: a THIN 4, in white!") == (Thing(4, "white", None, "middle", "thin"),)


@pytest.mark.parametrize(
    "text, message",
    [
        ("a red cat", "no caption holds the word 'cat'"),
        ("", "'' names no digit"),
        ("red and a two", "'red' names no digit"),
        ("a two and", "'' names no digit"),
        ("a red blue two", "contradicts itself"),
        ("seven eight", "contradicts itself"),
        ("a two at the top bottom", "contradicts itself"),
        ("a two left in the middle", "contradicts itself"),
    ],
)
def test_what_makes_no_sense_is_refused(text, message):
    with pytest.raises(ValueError, match=message):
        parse(text)


@settings(deadline=None)
@given(st.integers(), st.sampled_from([1, 2]), st.booleans())
def test_scenes_are_complete_apart_and_of_the_kind_asked_for(seed, things, held):
    random = Random(seed)
    scene = draw(random, things, held)
    assert len(scene) == things and all(None not in vars(thing).values() for thing in scene)
    assert held_out(scene[0]) if held else not any(map(held_out, scene))
    if things == 2:
        (a, b), (c, d) = (PLACES[thing.place] for thing in scene)
        assert max(abs(a - c), abs(b - d)) == 2 and {thing.size for thing in scene} == {"small"}
    for thing, said in zip(scene, forget(scene, random)):
        kept = {key: value for key, value in vars(said).items() if value is not None}
        assert kept.items() <= vars(thing).items() and "digit" in kept and said.hand != PLAIN


def test_held_out_says_which():
    assert held_out(Thing(7, "red")) and held_out(Thing(1, "green", None, "top right"))
    assert not held_out(Thing(7)) and not held_out(Thing(7, "blue", None, "top left"))
    assert not held_out(replace(Thing(1, "green", None, "top right"), place="top"))


def test_every_part_of_what_is_held_out_is_seen_elsewhere():
    """Else the network could not know the word."""
    random = Random(1)
    seen = {value for _ in range(500) for value in vars(draw(random)[0]).values()}
    assert {part for pair in HELD_OUT for part in pair} <= seen
