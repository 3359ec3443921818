"""The bug museum: famous failures of public implementations as switches over the one real code.

    with bugs.bug("noise at the last step"):
        broken = pictures(model, Request(sampler="ddpm", seed=0))

bugs.BUGS holds all of them by name. A Bug says what it looks like and why, when it acts, and shows its line as a diff.
"""

from .museum import BUGS, bug
from .switch import Bug, Edit

__all__ = ["BUGS", "Bug", "Edit", "bug"]
