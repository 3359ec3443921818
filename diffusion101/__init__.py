"""diffusion101: a diffusion model, grown idea by idea. The notebooks derive; this package holds what they derived."""

__version__ = "0.2.0"

from .checkpoint import load
from .core import editing, guidance, process, samplers, schedules, toy
from .core.denoiser import Denoiser
from .core.process import Denoised
from .drawing import Request, draw, pictures
from .networks import UNet, UNetConfig
from .scoring.judge import reference
from .scoring.score import score
from .training.loop import train

__all__ = [
    "Denoised",
    "Denoiser",
    "Request",
    "UNet",
    "UNetConfig",
    "draw",
    "editing",
    "guidance",
    "load",
    "pictures",
    "process",
    "reference",
    "samplers",
    "schedules",
    "score",
    "toy",
    "train",
]
