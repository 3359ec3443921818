import os

import pytest
import torch

from diffusion101 import data, recipe

os.environ.setdefault("OMP_NUM_THREADS", "2")


@pytest.fixture
def tiny() -> recipe.Recipe:
    """A run of six steps on drawn digits with a network of a few thousand weights."""
    network = {"widths": [16, 16], "time": 16}
    ending = {"sampler": "ddim", "steps": 2, "samples": 10}
    return recipe.load("mnist-m3", data="strokes", network=network, images=48, batch=8, evaluate=ending)


@pytest.fixture
def pictures() -> data.Images:
    from diffusion101 import strokes

    return data.Images("strokes", *strokes.dataset(64, seed=3), "")


@pytest.fixture(autouse=True)
def no_leaked_state():
    torch.manual_seed(0)
    yield
    assert torch.is_grad_enabled()
