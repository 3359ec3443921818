"""diffusion101: a diffusion model, grown idea by idea. The notebooks derive; this package holds what they derived."""

from . import guidance, process, samplers, schedules
from .checkpoint import load
from .denoiser import Denoiser
from .networks import UNet, UNetConfig
from .process import Denoised

__version__ = "0.1.0"
__all__ = [
    "Denoised",
    "Denoiser",
    "UNet",
    "UNetConfig",
    "guidance",
    "load",
    "process",
    "samplers",
    "schedules",
]
