import pytest

from diffusion101 import recipe


@pytest.mark.parametrize("name", recipe.names())
@pytest.mark.parametrize("budget", ["smoke", "cpu", "gpu"])
def test_every_recipe_loads_in_every_budget(name, budget, monkeypatch):
    monkeypatch.setenv("DIFFUSION101_BUDGET", budget)
    r = recipe.load(name)
    assert r.name == name and r.images == r.budgets[budget] and r.steps >= 1
    if r.kind == "denoiser":
        r.build()


def test_lesson_is_a_short_run_on_cpu_only(monkeypatch):
    for budget, images in (("smoke", 256), ("cpu", 60_000), ("gpu", 1_200_000)):
        monkeypatch.setenv("DIFFUSION101_BUDGET", budget)
        assert recipe.load("mnist-m1", lesson=True).images == images


@pytest.mark.parametrize(
    "text, message",
    [
        ("milestone: M3\nepochs: 5", "unknown key 'epochs' for Recipe; there are name, kind, milestone"),
        ("lr: fast", "lr is 'fast'; it must be float"),
        ("lr: 1e-3", "lr is '1e-3'; it must be float"),  # YAML wants 1.0e-3
        ("batch: 12.5", "batch is 12.5; it must be int"),
        ("batch: true", "batch is True; it must be int"),
        ("batch: 0", "batch is 0; it must lie from 1"),
        ("milestone: M99", "unknown milestone 'M99'; there are M1"),
        ("budgets: {cpu: 10}", "needs exactly the keys smoke, lesson, cpu, gpu"),
        ("- a list", "expected keys and values, found list"),
        ("a: [", "not valid YAML"),
    ],
)
def test_mistakes_are_named(tmp_path, text, message):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        recipe.load(path)


def test_bad_network_keys_are_named():
    with pytest.raises(ValueError, match="unknown key 'depth' for UNetConfig; there are channels, widths"):
        recipe.load("mnist-m3", network={"depth": 3}).config()
    with pytest.raises(ValueError, match="blocks is 'many'; it must be int"):
        recipe.load("mnist-m3", network={"blocks": "many"}).config()


def test_unknown_names(tmp_path):
    with pytest.raises(ValueError, match="unknown recipe 'mnist-m33'; there are .*mnist-m3"):
        recipe.load("mnist-m33")
    with pytest.raises(ValueError, match="no recipe file"):
        recipe.load(tmp_path / "none.yaml")


def test_bad_budget(monkeypatch):
    monkeypatch.setenv("DIFFUSION101_BUDGET", "huge")
    with pytest.raises(ValueError, match="'huge'; it must be smoke, cpu or gpu"):
        recipe.load("mnist-m1")
