"""An exhibit: the same thing made without a bug and with it, from the same random numbers, and what an audit says."""

from collections.abc import Callable
from typing import Any

import torch

from ..figures import plot
from .museum import BUGS, find


def both(which: str | int, make: Callable[[], Any]) -> dict[str, Any]:
    """{"correct": make(), "broken": make()}, the second with the bug; which: its name or its number.

    PyTorch's own random numbers are the same for both, and as they were afterwards.
    """
    bug = find(which)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        right = make()
        torch.manual_seed(0)
        with bug.on():
            return {"correct": right, "broken": make()}


def exhibit(which: str | int, make: Callable[[], Any], show: Callable[[dict], plot.Picture] = plot.filmstrip):
    """The picture of both: make() -> pictures (N, C, H, W), or whatever show(both) draws."""
    return show(both(which, make))


def caught(which: str | int, audit: Callable[[], Any]) -> str:
    """What a visitor reads at the end: the bug's name, its lines (- right, + wrong), and which invariants it breaks.

    audit() -> check.audit(...) of code that is built and asked inside the call.
    """
    bug = find(which)
    with bug.on():
        failing = [f"  broken: {row.invariant.asserts} ({row.found})" for row in audit().failing]
    lines = [f"  {line}" for line in bug.diff.splitlines()]
    return "\n".join([f"{list(BUGS).index(bug.name) + 1}. {bug.name}", *lines, *(failing or ["  not caught"])])
