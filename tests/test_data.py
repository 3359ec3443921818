import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file, save_file

from diffusion101 import data
from diffusion101.data import images, synthetic


@pytest.fixture
def nothing_at_hand(tmp_path, monkeypatch):
    """No cache, no files, no network."""
    from torchvision import datasets

    def refused(*args, **kwargs):
        raise RuntimeError("Error downloading train-images-idx3-ubyte.gz")

    monkeypatch.setenv("DIFFUSION101_DATA", str(tmp_path / "data"))
    monkeypatch.setattr(datasets.MNIST, "download", refused)
    monkeypatch.setattr(datasets.FashionMNIST, "download", refused)
    monkeypatch.setattr(images, "SYNTHETIC", {"train": (300, 1), "test": (100, 2)})
    return tmp_path / "data"


@pytest.fixture
def idx_files(tmp_path, monkeypatch):
    """A data folder with 20 pictures in MNIST's own file format."""
    raw = tmp_path / "data" / "MNIST" / "raw"
    raw.mkdir(parents=True)
    digits, labels = synthetic.dataset(20, seed=7)
    for split in ("train", "t10k"):
        head = b"\x00\x00\x08\x03" + b"".join(n.to_bytes(4, "big") for n in (20, 28, 28))
        (raw / f"{split}-images-idx3-ubyte").write_bytes(head + digits.numpy().tobytes())
        head = b"\x00\x00\x08\x01" + (20).to_bytes(4, "big")
        (raw / f"{split}-labels-idx1-ubyte").write_bytes(head + labels.byte().numpy().tobytes())
    monkeypatch.setenv("DIFFUSION101_DATA", str(tmp_path / "data"))
    return digits, labels


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


def test_synthetic_digits_stand_in_for_mnist(nothing_at_hand):
    found = data.load("mnist")
    assert found.name == "synthetic" and len(found) == 300
    assert found.sentence == "This notebook uses 300 digits drawn on the spot (MNIST could not be had)."
    assert [file.name for file in (nothing_at_hand / "cache").iterdir()] == ["synthetic-train.safetensors"]
    asked_for = data.load("synthetic")
    assert torch.equal(asked_for.images, found.images) and "could not" not in asked_for.sentence
    assert not torch.equal(data.load("mnist", "test").images, found.images[:100])


def test_who_wants_no_stand_in_gets_none(nothing_at_hand):
    with pytest.raises(ValueError, match="MNIST is neither in .* nor can it be downloaded"):
        data.load("mnist", stand_in=False)
    assert not (nothing_at_hand / "cache").exists()


def test_the_data_folder_is_a_file(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("DIFFUSION101_DATA", str(tmp_path / "file"))
    with pytest.raises(ValueError, match="the data folder .*file' is a file; set DIFFUSION101_DATA"):
        data.load("synthetic")


def cut(path):
    path.write_bytes(path.read_bytes()[:-100])


def relabel(path):
    found = load_file(path)
    save_file(found | {"labels": found["labels"] + 9}, path)


def flatten(path):
    found = load_file(path)
    save_file(found | {"images": found["images"].flatten(1)}, path)


def test_the_cache_can_be_read_by_whoever_may_read_the_folder(idx_files, tmp_path):
    (tmp_path / "other").touch()
    data.load("mnist")
    cache = tmp_path / "data" / "cache" / "mnist-train.safetensors"
    assert cache.stat().st_mode == (tmp_path / "other").stat().st_mode


@pytest.mark.parametrize("spoil", [cut, relabel, flatten])
def test_a_damaged_cache_is_made_again_or_named(idx_files, tmp_path, monkeypatch, spoil):
    from torchvision import datasets

    data.load("mnist")
    cache = tmp_path / "data" / "cache" / "mnist-train.safetensors"
    whole = cache.read_bytes()
    spoil(cache)
    assert torch.equal(data.load("mnist").images, idx_files[0]) and cache.read_bytes() == whole
    spoil(cache)
    cut(tmp_path / "data" / "MNIST" / "raw" / "train-images-idx3-ubyte")  # nothing left to make it from
    monkeypatch.setattr(datasets.MNIST, "download", lambda self: None)
    with pytest.raises(ValueError, match="mnist-train.safetensors is damaged, and MNIST cannot be had to make it"):
        data.load("mnist")


def test_a_full_disk_gets_no_cache(idx_files, tmp_path, monkeypatch):
    def full(tensors, path):
        path.write_bytes(b"half")
        raise images.SafetensorError("No space left on device")

    monkeypatch.setattr(images, "save_file", full)
    assert len(data.load("mnist")) == 20 and not list((tmp_path / "data" / "cache").iterdir())


def test_fashion_has_no_stand_in(nothing_at_hand):
    with pytest.raises(ValueError, match="FashionMNIST is neither in .* nor can it be downloaded"):
        data.load("fashion")


def test_unknown_names():
    with pytest.raises(ValueError, match="unknown data 'mnits'; there are mnist, fashion, .*synthetic"):
        data.load("mnits")
    with pytest.raises(ValueError, match="unknown split 'validation'"):
        data.load("mnist", "validation")


@pytest.mark.parametrize("name", ["mnist", "synthetic"])
def test_size(idx_files, name, monkeypatch):
    monkeypatch.setattr(images, "SYNTHETIC", {"train": (30, 1), "test": (10, 2)})
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
