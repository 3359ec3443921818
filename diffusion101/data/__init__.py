"""Data: MNIST and FashionMNIST, digits drawn on the spot, two-digit numbers, and other handwritings."""

from .images import Images, folder, load

__all__ = ["Images", "folder", "load"]
