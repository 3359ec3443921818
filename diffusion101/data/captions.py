"""Scenes in words: what a picture of one or two digits shows, many sentences that say it, and back.

A Thing says what is known of a digit; what is None is left unsaid and may be anything. `caption` speaks exactly what a
scene says, `parse` reads exactly that out again. Some combinations are kept from training: see `held_out`.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain
from random import Random

WORDS = {  # of each attribute, its values and how they are called
    "digit": {
        digit: (name, str(digit))
        for digit, name in enumerate("zero one two three four five six seven eight nine".split())
    },
    "colour": {colour: (colour,) for colour in ("red", "green", "blue", "yellow", "purple", "white")},
    "size": {"small": ("small", "little", "tiny"), "big": ("big", "large")},
    "hand": {"thin": ("thin", "fine"), "bold": ("bold", "thick"), "slanted": ("slanted", "leaning")},
}
PLACES = {  # name: column and row, both -1, 0 or 1
    "top left": (-1, -1), "top": (0, -1), "top right": (1, -1),
    "left": (-1, 0), "middle": (0, 0), "right": (1, 0),
    "bottom left": (-1, 1), "bottom": (0, 1), "bottom right": (1, 1),
}  # fmt: skip
PLAIN = "plain"  # the handwriting that goes without saying
UNSAID = {"colour": 0.2, "size": 0.6, "place": 0.2, "hand": 0.3}  # how often a caption leaves it open
NOUNS = ("{}", "number {}", "digit {}", "numeral {}")
BEHIND = (", {}", " {}")  # a place behind its digit, and before it
BEFORE = ("{}: {}", "{}, {}", "{} there is {}")
WHERE = {place: (place, f"at the {place}", f"in the {place}", f"in the {place} corner") for place in PLACES}
WHERE |= {side: (side, f"{on} the {side}") for side, on in dict(left="on", right="on", top="at", bottom="at").items()}
WHERE["middle"] = ("in the middle", "in the centre", "in the center")
LEADS = ("", "", "", "draw ", "please draw ", "a picture of ", "show me ")
JOINS = (" and ", " with ", " next to ", " beside ", " plus ")
OTHERS = ("handwritten", "written by hand", "in", "a", "an", "the")

# Never shown in training: these digits in these colours, and these colours at these places.
HELD_OUT = {(7, "red"), (3, "blue"), (5, "yellow"), (0, "white"), ("green", "top right"), ("purple", "bottom left")}


@dataclass(frozen=True)
class Thing:
    """A digit, its colour, size, place and handwriting by the names in WORDS and PLACES; None: unsaid."""

    digit: int
    colour: str | None = None
    size: str | None = None
    place: str | None = None
    hand: str | None = None


Scene = tuple[Thing, ...]  # one thing or two


def held_out(thing: Thing) -> bool:
    """Whether this thing shows a combination that is kept from training."""
    return (thing.digit, thing.colour) in HELD_OUT or (thing.colour, thing.place) in HELD_OUT


def draw(random: Random, things: int = 1, held: bool = False) -> Scene:
    """A scene of one or two things with nothing left open, at places that do not touch.

    Nothing in it is held out, or with held=True the first thing is, and the second may be.
    """
    while True:
        scene = tuple(_thing(random, things) for _ in range(things))
        apart = things == 1 or any(abs(a - b) == 2 for a, b in zip(*(PLACES[thing.place] for thing in scene)))
        if apart and (held_out(scene[0]) if held else not any(map(held_out, scene))):
            return scene


def _thing(random: Random, things: int) -> Thing:
    colour, place = random.choice([*WORDS["colour"]]), random.choice([*PLACES])
    size = random.choice([*WORDS["size"]]) if things == 1 else "small"  # two big ones would touch
    hand = random.choice([PLAIN, PLAIN, PLAIN, *WORDS["hand"]])
    return Thing(random.randrange(10), colour, size, place, hand)


def forget(scene: Scene, random: Random, keys: Sequence[str] = ("colour", "size", "place", "hand")) -> Scene:
    """The scene with some of these left unsaid; the digits are always said, and the plain handwriting never."""

    def less(thing: Thing) -> Thing:
        gone = {key: None for key in keys if random.random() < UNSAID[key]}
        return replace(thing, **({"hand": None} if thing.hand == PLAIN else {}) | gone)

    return tuple(map(less, scene))


def caption(scene: Scene, random: Random) -> str:
    """One of many sentences that say this scene, no more and no less."""
    lead, join = random.choice(LEADS), random.choice(JOINS)
    return lead + join.join(_phrase(thing, random, place_first=not lead) for thing in scene)


def _phrase(thing: Thing, random: Random, place_first: bool) -> str:
    said = {key: random.choice(names[getattr(thing, key)]) for key, names in WORDS.items() if _says(thing, key)}
    before, after = [said[key] for key in ("size", "hand") if key in said], []
    if random.random() < 0.2:
        before, after = random.choice([([*before, "handwritten"], []), (before, ["written by hand"])])
    random.shuffle(before)
    if "colour" in said:
        before, after = random.choice([([*before, said["colour"]], after), (before, [f"in {said['colour']}", *after])])
    words = " ".join([*before, random.choice(NOUNS).format(said["digit"]), *after])
    article = random.choice(["", "the ", "an " if re.match("[aeio]|8", words) else "a "])
    if thing.place is None:
        return article + words
    where = random.choice(WHERE[thing.place])
    if place_first and random.random() < 0.3:
        return random.choice(BEFORE).format(where, article + words)
    return article + words + random.choice(BEHIND).format(where)


def _says(thing: Thing, key: str) -> bool:
    return getattr(thing, key) not in (None, PLAIN)


def words(text: str) -> list[str]:
    """The words of a text in lower case, without punctuation."""
    return re.findall(r"\w+", text.lower())


def _vocabulary() -> tuple[str, ...]:
    names = chain.from_iterable(chain.from_iterable(values.values()) for values in WORDS.values())
    forms = (*NOUNS, *BEFORE, *chain.from_iterable(WHERE.values()), *LEADS, *JOINS, *OTHERS)
    return tuple(sorted({word for text in (*names, *forms) for word in words(text)}))


VOCABULARY = _vocabulary()  # every word that a caption can hold
LONGEST = 35  # words of a caption
EXAMPLES = (
    "a big yellow zero in the middle",
    "a thin white one on the right",
    "a blue two, bottom left",
    "a handwritten number three",
    "a bold purple four at the top",
    "in the bottom right corner there is a green 5",
    "a large six",
    "a small red seven, top left",
    "a slanted numeral eight in blue, top right",
    "draw a tiny nine at the bottom",
)
_MEANING = {word: (key, value) for key, values in WORDS.items() for value, names in values.items() for word in names}
_BETWEEN = {word for join in JOINS for word in words(join)}


def parse(text: str) -> Scene:
    """What a caption says; ValueError for a word that no caption holds, and unless every part names one digit.

    It reads more than `caption` writes: within a part the order of the words does not matter.
    """
    parts: list[list[str]] = [[]]
    for word in words(text):
        if word not in VOCABULARY:
            raise ValueError(f"no caption holds the word {word!r}")
        if word in _BETWEEN:
            parts += [[]] if parts[-1] else []
        else:
            parts[-1].append(word)
    return tuple(map(_understood, parts))


def _understood(part: Sequence[str]) -> Thing:
    sides = [side for side in ("top", "bottom", "left", "right") if side in part]
    sides += ["middle"] * bool({"middle", "centre", "center"} & {*part})
    said = {_MEANING[word] for word in part if word in _MEANING} | ({("place", " ".join(sides))} if sides else set())
    known = dict(said)
    if "digit" not in known:
        raise ValueError(f"{' '.join(part)!r} names no digit")
    if len(known) < len(said) or known.get("place", "top") not in PLACES:
        raise ValueError(f"{' '.join(part)!r} contradicts itself")
    return Thing(**known)
