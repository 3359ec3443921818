"""Data: MNIST, FashionMNIST, CIFAR-10 and folders of pictures; digits drawn on the spot; numbers and handwritings."""

from .images import Flipped, Images, folder, load

__all__ = ["Flipped", "Images", "folder", "load"]
