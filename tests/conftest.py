import os

import pytest
import torch

from diffusion101.data import Images, load, synthetic
from diffusion101.networks import Labels, Level, UNetConfig
from diffusion101.scoring import judge
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


@pytest.fixture
def small_synthetic(monkeypatch):
    """The synthetic data sets are of 300 and 100 digits, so that they are drawn in no time."""
    monkeypatch.setattr("diffusion101.data.images.SYNTHETIC", {"train": (300, 1), "test": (100, 2)})


@pytest.fixture(scope="session")
def mnist() -> judge.Reference:
    """The judge and 2,000 real test pictures, as every committed score was measured (seed 0)."""
    test = load("mnist", "test")
    if test.name != "mnist":
        pytest.skip("MNIST is not at hand and cannot be downloaded")
    return judge.reference(test, 2000)


@pytest.fixture(autouse=True)
def no_leaked_state():
    torch.manual_seed(0)
    yield
    assert torch.is_grad_enabled()
