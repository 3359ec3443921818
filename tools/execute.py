"""Run notebooks from top to bottom and write them back in normal form: python -m tools.execute [--fresh] [PREFIX]"""

import argparse
import copy
import sys
import time
from pathlib import Path

from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, DeadKernelError
from nbformat import NotebookNode

from .normalise import code_cells, normalise, read, settle, write
from .repository import NOTEBOOKS, address, notebooks, prepare_kernels
from .stamp import stamp_notebook


class Noise(Exception):
    """A cell wrote to stderr: a warning that a learner would see too."""


def run(nb: NotebookNode) -> None:
    for cell in code_cells(nb):
        cell.outputs, cell.execution_count = [], None
    client = NotebookClient(
        nb,
        kernel_name="python3",
        timeout=None,
        record_timing=False,
        resources={"metadata": {"path": str(NOTEBOOKS)}},
        extra_arguments=["--log-level=40"],  # the kernel's own warnings are no news here
    )
    client.execute()
    for number, cell in enumerate(code_cells(nb), start=1):
        for output in cell.outputs:
            if output.get("name") == "stderr":
                raise Noise(f"cell [{number}] wrote to stderr:\n{output.text}\nfrom\n{cell.source}")


def update(path: Path, fresh: bool) -> bool:
    """Run one notebook; say whether the file changed. A failing notebook keeps its file."""
    old = normalise(stamp_notebook(read(path), address(), path.name))
    new = copy.deepcopy(old)
    run(new)
    normalise(new)
    if not fresh:
        settle(old, new)
    return write(path, new)


def main() -> int:
    parser = argparse.ArgumentParser(description="Run notebooks and write them back in normal form.")
    parser.add_argument("prefix", nargs="?", default="", help="only notebooks whose name starts so, as 01")
    parser.add_argument("--fresh", action="store_true", help="take every output anew, even where little changed")
    args = parser.parse_args()
    prepare_kernels(budget="cpu")
    chosen, failed = notebooks(args.prefix), 0
    if not chosen:
        print(f"no notebook starts with {args.prefix!r}", file=sys.stderr)
        return 2
    for path in chosen:
        start = time.perf_counter()
        try:
            outcome = "changed" if update(path, args.fresh) else "unchanged"
        except (CellExecutionError, DeadKernelError, Noise) as error:
            outcome, failed = f"FAILED\n{error}", failed + 1
        print(f"{path.name}: {time.perf_counter() - start:.0f} s, {outcome}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
