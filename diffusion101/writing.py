"""Files that appear whole: written beside, then renamed."""

import secrets
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

PART = ".part"  # the end of the names of files that are being written


def whole(path: Path, write: Callable[[Path], Any]) -> None:
    """Call write on a file beside path, then rename: path never holds half a file. ValueError if it cannot be."""
    beside = path.with_name(f".{secrets.token_hex(8)}{PART}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        beside.touch()
        mode = beside.stat().st_mode  # safetensors would make it private
        write(beside)
        beside.chmod(mode)
        beside.replace(path)
    except (OSError, SafetensorError, RuntimeError) as error:
        words = getattr(error, "strerror", None) or " ".join(str(error).split())[:200]
        raise ValueError(f"cannot write {str(path)!r}: {words}") from error
    finally:
        with suppress(OSError):
            beside.unlink()
