"""The course as values: each milestone is the one before with one thing replaced.

M1 01 a UNet at one resolution that does not know t    M4 04 the same network; the schedule and the target change
M2 02 it knows t                                       M5 05 it knows the label
M3 03 it sees the picture at three resolutions         M6 06 it reads a prompt of two tokens by cross-attention
                                                       M8 08 M6 in colour, one level deeper; it reads sentences
M10 10 M5 in colour, twice as wide, at four resolutions that change inside its blocks; pixels of the two smallest ask
       each other
"""

from dataclasses import replace

from .data.captions import EXAMPLES, LONGEST, VOCABULARY
from .networks import Labels, Level, Tokens, UNetConfig, Words

M1 = UNetConfig(levels=(Level(16),))
M2 = replace(M1, time=128)
M3 = replace(M2, levels=(Level(16), Level(32), Level(64, blocks=2)))
M4 = M3
M5 = replace(M4, condition=Labels(10))
M6 = replace(M4, condition=Tokens(10), levels=(Level(16), Level(32, cross=True), Level(64, blocks=2, cross=True)))
M8 = replace(
    M6,
    channels=3,
    levels=(Level(16), Level(32), Level(64, cross=True), Level(96, blocks=2, cross=True)),
    condition=Words(VOCABULARY, EXAMPLES, length=LONGEST + 1),
)
M10 = replace(
    M5,
    channels=3,
    biggan=True,
    levels=(Level(32), Level(64), Level(128, attention=True), Level(128, blocks=2, attention=True)),
)

MILESTONES = {"M1": M1, "M2": M2, "M3": M3, "M4": M4, "M5": M5, "M6": M6, "M8": M8, "M10": M10}
