"""The networks. They know nothing of diffusion: a picture, a number and a condition go in, a picture comes out."""

from .conditions import Labels, Tokens
from .text import Words
from .unet import Level, UNet, UNetConfig

__all__ = ["Labels", "Level", "Tokens", "UNet", "UNetConfig", "Words"]
