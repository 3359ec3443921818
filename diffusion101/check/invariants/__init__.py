"""What holds in every right diffusion model, whoever wrote it; each names the mistake that is likely if it does not."""

from . import process, training  # noqa: F401  (they enter theirs into the list)
from .entry import INVARIANTS, Invariant
from .subject import Subject

__all__ = ["INVARIANTS", "Invariant", "Subject"]
