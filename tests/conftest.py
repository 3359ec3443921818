import os

import pytest
import torch

from diffusion101 import data
from diffusion101.data import synthetic
from diffusion101.training import recipe

os.environ.setdefault("OMP_NUM_THREADS", "2")


@pytest.fixture
def tiny() -> recipe.Recipe:
    """A run of six steps on drawn digits with a network of a few thousand weights."""
    model = {"network": {"levels": [{"width": 16}, {"width": 16}], "time": 16}}
    score = {"sampler": "ddim", "steps": 2, "samples": 10}
    return recipe.load("mnist-m3", model=model, data__name="synthetic", train__batch=8, score=score, total=48)


@pytest.fixture
def pictures() -> data.Images:
    return data.Images("synthetic", *synthetic.dataset(64, seed=3), "")


@pytest.fixture(autouse=True)
def no_leaked_state():
    torch.manual_seed(0)
    yield
    assert torch.is_grad_enabled()
