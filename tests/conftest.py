import os

import pytest
import torch

from diffusion101.data import Images, synthetic
from diffusion101.networks import Labels, Level, UNetConfig
from diffusion101.training import recipe

os.environ.setdefault("OMP_NUM_THREADS", "2")

TINY = UNetConfig(levels=(Level(16), Level(16)), time=16, condition=Labels(10))


@pytest.fixture
def tiny() -> recipe.Recipe:
    """A run of six steps on drawn digits with a network of a few thousand weights."""
    return recipe.Recipe(
        name="tiny",
        model=recipe.Model(network=TINY),
        data=recipe.Data("synthetic"),
        train=recipe.Train(batch=8),
        score=recipe.Score(samples=10, sampler="ddim", steps=2),
        total=48,
    )


@pytest.fixture
def pictures() -> Images:
    return Images("synthetic", *synthetic.dataset(64, seed=3), "")


@pytest.fixture(autouse=True)
def no_leaked_state():
    torch.manual_seed(0)
    yield
    assert torch.is_grad_enabled()
