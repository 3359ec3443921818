"""What a measurement was made on, and how quiet it was there."""

import os
import platform
import time
from importlib import metadata
from pathlib import Path

import torch

from diffusion101.training.folder import version
from diffusion101.training.loop import has_bf16

LIBRARIES = ("torch", "diffusers", "denoising-diffusion-pytorch")


def facts() -> dict:
    """Hardware and versions, for the record."""
    return {
        "processor": processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "bf16": has_bf16(torch.device("cpu")),
        "version": version(),
        "python": platform.python_version(),
    } | {name: installed(name) for name in LIBRARIES}


def installed(library: str) -> str | None:
    """Its version; None where it is missing."""
    try:
        return metadata.version(library)
    except metadata.PackageNotFoundError:
        return None


def processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


class Others:
    """How many cores other programs kept busy since this was made (Linux; None elsewhere)."""

    def __init__(self):
        self.before = self._now()

    def cores(self) -> float | None:
        (wall, busy, own), (wall_0, busy_0, own_0) = self._now(), self.before
        if busy is None or wall <= wall_0:
            return None
        return round(max(0.0, (busy - busy_0 - own + own_0) / (wall - wall_0)), 2)

    def _now(self) -> tuple[float, float | None, float]:
        """Seconds: on the clock, of processor time of the whole machine, and of this process."""
        try:
            user, nice, system, _, _, irq, softirq = map(int, Path("/proc/stat").read_text().split()[1:8])
            busy = (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")
        except (OSError, ValueError):
            busy = None
        return time.perf_counter(), busy, time.process_time()
