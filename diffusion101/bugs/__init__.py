"""The bug museum: famous failures of public implementations as switches over the one real code.

    with bugs.bug("noise at the last step"):  # or its number: bugs.bug(5)
        broken = pictures(model, Request(sampler="ddpm", seed=0))

bugs.BUGS holds all of them by name. A Bug says what it looks like and why, when it acts, and shows its line as a diff.
both, exhibit and caught show one of them: made right and broken, as a picture, and what an audit says.
"""

from .exhibit import both, caught, exhibit
from .museum import BUGS, bug
from .switch import Bug, Edit

__all__ = ["BUGS", "Bug", "Edit", "both", "bug", "caught", "exhibit"]
