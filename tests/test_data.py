import subprocess
import sys

import pytest
import torch

from diffusion101 import data, strokes


@pytest.fixture
def nothing_at_hand(tmp_path, monkeypatch):
    """No cache, no files, no network."""
    from torchvision import datasets

    def refused(*args, **kwargs):
        raise RuntimeError("Error downloading train-images-idx3-ubyte.gz")

    monkeypatch.setenv("DIFFUSION101_DATA", str(tmp_path / "data"))
    monkeypatch.setattr(datasets.MNIST, "download", refused)
    monkeypatch.setattr(datasets.FashionMNIST, "download", refused)
    monkeypatch.setattr(data, "STROKES", {"train": (300, 1), "test": (100, 2)})
    return tmp_path / "data"


@pytest.fixture
def idx_files(tmp_path, monkeypatch):
    """A data folder with 20 pictures in MNIST's own file format."""
    raw = tmp_path / "data" / "MNIST" / "raw"
    raw.mkdir(parents=True)
    images, labels = strokes.dataset(20, seed=7)
    for split in ("train", "t10k"):
        head = b"\x00\x00\x08\x03" + b"".join(n.to_bytes(4, "big") for n in (20, 28, 28))
        (raw / f"{split}-images-idx3-ubyte").write_bytes(head + images.numpy().tobytes())
        head = b"\x00\x00\x08\x01" + (20).to_bytes(4, "big")
        (raw / f"{split}-labels-idx1-ubyte").write_bytes(head + labels.byte().numpy().tobytes())
    monkeypatch.setenv("DIFFUSION101_DATA", str(tmp_path / "data"))
    return images, labels


def test_reads_mnist_and_caches_it(idx_files, tmp_path):
    found = data.load("mnist", "train")
    assert found.name == "mnist" and torch.equal(found.images, idx_files[0]) and torch.equal(found.labels, idx_files[1])
    assert found.sentence == "This notebook uses 20 real MNIST pictures."
    for file in (tmp_path / "data" / "MNIST" / "raw").iterdir():
        file.unlink()
    assert torch.equal(data.load("mnist", "train").images, idx_files[0]), "the cache alone must do"


def test_a_read_only_folder_gets_no_cache(idx_files, tmp_path):
    (tmp_path / "data").chmod(0o555)
    try:
        assert len(data.load("mnist")) == 20 and not (tmp_path / "data" / "cache").exists()
    finally:
        (tmp_path / "data").chmod(0o755)


def test_strokes_stand_in_for_mnist(nothing_at_hand):
    found = data.load("mnist")
    assert found.name == "strokes" and len(found) == 300 and "drawn on the spot" in found.sentence
    assert [file.name for file in (nothing_at_hand / "cache").iterdir()] == ["strokes-train.safetensors"]
    assert torch.equal(data.load("strokes").images, found.images)
    assert not torch.equal(data.load("mnist", "test").images, found.images[:100])


def test_fashion_has_no_stand_in(nothing_at_hand):
    with pytest.raises(ValueError, match="FashionMNIST is neither in .* nor can it be downloaded"):
        data.load("fashion")


def test_unknown_names():
    with pytest.raises(ValueError, match="unknown data 'mnits'; there are mnist, fashion, strokes"):
        data.load("mnits")
    with pytest.raises(ValueError, match="unknown split 'validation'"):
        data.load("mnist", "validation")


@pytest.mark.parametrize("name", ["mnist", "strokes"])
def test_size(idx_files, name, monkeypatch):
    monkeypatch.setattr(data, "STROKES", {"train": (30, 1), "test": (10, 2)})
    found = data.load(name, size=16)
    assert found.images.shape[1:] == (1, 16, 16) and found.images.dtype == torch.uint8 and found.images.max() > 150


def test_pictures_are_in_range(pictures):
    x = pictures.pictures()
    assert x.dtype == torch.float32 and x.min() == -1 and 0.9 < x.max() <= 1
    assert torch.equal(((x + 1) * 127.5).round().byte(), pictures.images)


def test_every_epoch_shows_every_picture_once(pictures):
    numbered = data.Images("", torch.arange(64, dtype=torch.uint8).view(64, 1, 1, 1), torch.arange(64), "")
    labels = torch.cat([numbered.batch(step, 10, seed=4)[1] for step in range(32)])  # 320 = 5 epochs, batches overlap
    epochs = labels.view(5, 64)
    assert all(torch.equal(epoch.sort().values, torch.arange(64)) for epoch in epochs)
    assert not torch.equal(epochs[0], epochs[1])
    assert torch.equal(numbered.batch(17, 10, seed=4)[1], labels[170:180]), "any step without the ones before"
    assert not torch.equal(numbered.batch(0, 10, seed=5)[1], labels[:10])
    x0, y = numbered.batch(3, 10)
    assert torch.equal(((x0.flatten() + 1) * 127.5).round().long(), y), "labels stay with their pictures"


def test_a_cached_start_imports_no_torchvision(idx_files):
    data.load("mnist")
    code = "import sys; from diffusion101 import data; data.load('mnist'); assert 'torchvision' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
