"""A bug is a line of the real code, written wrong for as long as a `with` block lasts.

A function's code is exchanged, not the function: whoever imported it by name, or holds it in a table, gets the bug too.
"""

import inspect
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import CodeType, FunctionType


@dataclass(frozen=True)
class Edit:
    """In `where`, a function, method or property, the text `old` (there once) becomes `new`."""

    where: Callable | property
    old: str
    new: str

    @property
    def function(self) -> FunctionType:
        """The plain function, without its decorators."""
        return inspect.unwrap(self.where.fget if isinstance(self.where, property) else self.where)

    @property
    def diff(self) -> str:
        """The lines that change, the right ones after - and the wrong ones after +, without what indents them all."""
        right = _source(self.function)
        start, end = right.index(self.old), right.index(self.old) + len(self.old)
        first, last = right.rfind("\n", 0, start) + 1, right.find("\n", end)
        lines = right[first:last], right[first:start] + self.new + right[end:last]
        marked = zip("-+", (textwrap.dedent(part).splitlines() for part in lines))
        return "\n".join(f"{sign} {line}" for sign, part in marked for line in part)


@dataclass(frozen=True)
class Bug:
    """A switch, and what a visitor of the museum reads beside it.

    looks      what is seen, for the question "what is wrong?"
    diagnosis  what is wrong, and why it looks like that
    acts       where: some of "training", "sampling" and "evaluation"; in all others the block changes nothing
    edits      the lines
    source     where the public can read of it; empty if it has many fathers
    """

    name: str
    looks: str
    diagnosis: str
    acts: tuple[str, ...]
    edits: tuple[Edit, ...]
    source: str = ""

    @property
    def diff(self) -> str:
        """Its lines, right (-) and wrong (+)."""
        return "\n".join(edit.diff for edit in self.edits)

    @contextmanager
    def on(self) -> Iterator["Bug"]:
        """The package has this bug inside the block, and not after it, however the block ends.

        Blocks of several bugs may nest. ValueError if a line is already wrong by another bug, or is not as it was.
        """
        mine = []
        try:
            for edit in self.edits:
                _rebuild(edit.function, [*_on, edit])
                _on.append(edit)
                mine.append(edit)
            yield self
        finally:
            for edit in mine:
                _on.remove(edit)
                _rebuild(edit.function, _on)


_on: list[Edit] = []
_right: dict[FunctionType, CodeType] = {}  # the code of every function that is wrong just now


def _source(function: FunctionType) -> str:
    return textwrap.dedent(inspect.getsource(_right.get(function, function.__code__)))


def _rebuild(function: FunctionType, edits: list[Edit]) -> None:
    """Give the function its own code with those of the edits that are for it."""
    mine = [edit for edit in edits if edit.function is function]
    if not mine:
        function.__code__ = _right.pop(function)
        return
    right = _right.get(function, function.__code__)
    text = _source(function)
    for edit in mine:
        if text.count(edit.old) != 1:
            raise ValueError(f"{function.__qualname__} should hold {edit.old!r} once: is another bug in that line?")
        text = text.replace(edit.old, edit.new)
    above = "\n" * (right.co_firstlineno - 2)  # so that tracebacks still tell the line
    around = f"{above}def around({', '.join(right.co_freevars)}):\n{textwrap.indent(text, ' ')}"  # super() has one
    module = compile(around, right.co_filename, "exec")
    _right[function] = right
    function.__code__ = _inner(_inner(module, "around"), function.__name__)


def _inner(code: CodeType, name: str) -> CodeType:
    return next(part for part in code.co_consts if isinstance(part, CodeType) and part.co_name == name)
