"""Values from outside (YAML, weight files) into dataclasses, type-checked in depth by pydantic."""

import json
from typing import Any, TypeVar

from pydantic import ConfigDict, TypeAdapter, ValidationError

STRICT = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)
T = TypeVar("T")


def read(cls: type[T], values: Any, what: str) -> T:
    """`values` as a `cls`; ValueError tells in one sentence all that is wrong, by its path."""
    try:
        return TypeAdapter(cls).validate_json(json.dumps(values))
    except ValidationError as error:
        raise ValueError(f"{what}: " + "; ".join(dict.fromkeys(map(_sentence, error.errors())))) from None
    except (TypeError, ValueError, RecursionError) as error:  # json refuses dates and the like
        raise ValueError(f"{what}: {error}") from None


def _sentence(error: dict) -> str:
    path = ".".join(str(part) for part in error["loc"] if not str(part)[:1].isupper())  # a union names its classes
    message = error["msg"].removeprefix("Value error, ").removeprefix("Input ")
    if error["type"] in ("value_error", "unexpected_keyword_argument", "missing"):
        return f"{path}: {message}" if path else message
    shown = repr(error["input"])
    return f"{path} is {shown if len(shown) < 80 else shown[:77] + '...'}, but {message}"
