"""The networks. They know nothing of diffusion: a picture, a number and a condition go in, a picture comes out."""

from .unet import UNet, UNetConfig

__all__ = ["UNet", "UNetConfig"]
