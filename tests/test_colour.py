"""Colour, from the files on disk to the pictures of a run: CIFAR-10, folders of pictures, their judge."""

import subprocess
import sys
from dataclasses import replace
from io import BytesIO

import numpy as np
import pytest
import torch
from PIL import Image

from diffusion101 import checkpoint, data
from diffusion101.data import Flipped, images, synthetic
from diffusion101.data.sources import kinds
from diffusion101.networks import Labels, Level, UNetConfig
from diffusion101.scoring import judge
from diffusion101.scoring.classifier import LAYOUTS, Classifier, cutout, shift
from diffusion101.training import fit, recipe, tasks


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("DIFFUSION101_DATA", str(tmp_path / "data"))
    (tmp_path / "data").mkdir()
    return tmp_path / "data"


def smooth(n: int, side: int = 32) -> torch.Tensor:
    """n pictures (n, 3, side, side) uint8 that JPEG hardly harms: red to the right, green down, blue by number."""
    ramp = torch.linspace(0, 255, side)
    blue = (torch.arange(n) * 40 % 256).float().view(n, 1, 1).expand(n, side, side)
    planes = [ramp.expand(n, side, side), ramp[:, None].expand(n, side, side), blue]
    return torch.stack(planes, 1).round().byte()


@pytest.fixture
def cifar(monkeypatch):
    """torchvision's CIFAR10, of twenty pictures, where .files says that they are at hand, and a log of who asked."""
    from torchvision import datasets

    class Fake:
        there, asked = True, []

        def __init__(self, root, train, download):
            self.asked.append(download)
            if not self.there:
                raise RuntimeError("Dataset not found or corrupted")
            self.data, self.targets = smooth(20).movedim(1, -1).numpy(), [i % 10 for i in range(20)]

    Fake.asked = []
    monkeypatch.setattr(datasets, "CIFAR10", Fake)
    return Fake


def pack(folder) -> None:
    """CIFAR-10's other form: JPEG files end to end."""
    files = []
    for picture in smooth(20):
        written = BytesIO()
        Image.fromarray(picture.movedim(0, -1).numpy()).save(written, "jpeg", quality=95)
        files.append(np.frombuffer(written.getvalue(), dtype=np.uint8))
    (folder / "cifar10_jpeg").mkdir()
    for split in ("train", "test"):
        np.savez(
            folder / "cifar10_jpeg" / f"{split}.npz",
            jpeg=np.concatenate(files),
            offsets=np.cumsum([0, *map(len, files)]),
            labels=(np.arange(20) % 10).astype(np.uint8),
        )


def test_cifar10_is_read_and_cached(folder, cifar):
    found = data.load("cifar10")
    assert found.name == "cifar10" and found.sentence == "This notebook uses 20 real CIFAR-10 pictures."
    assert torch.equal(found.images, smooth(20)) and found.labels.tolist() == [i % 10 for i in range(20)]
    cifar.there = False
    assert torch.equal(data.load("cifar10").images, found.images), "the cache alone must do"
    assert data.load("cifar10", size=16).images.shape == (20, 3, 16, 16) and len(cifar.asked) == 1


def test_pictures_that_went_through_jpeg_are_called_so(folder, cifar):
    """They stand in without any download, and only where the originals are not at hand."""
    pack(folder)
    cifar.there = False
    found = data.load("cifar10")
    assert found.name == "cifar10-jpeg" and cifar.asked == [False]
    words = "This notebook uses 20 CIFAR-10 pictures that went through JPEG compression once"
    assert found.sentence == f"{words} (CIFAR-10 could not be had)."
    assert (found.images.float() - smooth(20)).square().mean().sqrt() < 8
    assert data.load("cifar10-jpeg", "test", stand_in=False).sentence == f"{words}."
    with pytest.raises(ValueError, match="CIFAR-10 is neither in .* nor can it be downloaded"):
        data.load("cifar10", stand_in=False)
    cifar.there = True
    assert data.load("cifar10").name == "cifar10"


@pytest.mark.parametrize("kept", [0, 0.5])
def test_a_form_cut_short_is_told(folder, cifar, kept):
    pack(folder)
    cifar.there = False
    path = folder / "cifar10_jpeg" / "train.npz"
    path.write_bytes(path.read_bytes()[: int(kept * path.stat().st_size)])
    with pytest.raises(ValueError, match="CIFAR-10 .* is neither in .* nor can it be downloaded"):
        data.load("cifar10-jpeg")


def test_no_cifar10_at_all(folder, cifar, small_synthetic):
    """Digits in colour stand in, unless it is asked not to be so."""
    cifar.there = False
    for how in (dict(name="cifar10-jpeg"), dict(name="cifar10", stand_in=False)):
        with pytest.raises(ValueError, match="CIFAR-10.* is neither in .* nor can it be downloaded"):
            data.load(**how)
    found = data.load("cifar10")
    assert found.name == "synthetic-colour" and found.images.shape == (300, 3, 32, 32)
    assert found.sentence == "This notebook uses 300 digits drawn on the spot (CIFAR-10 could not be had)."
    assert cifar.asked == [True, True]


def test_digits_in_colour_are_the_grey_ones_in_two_colours():
    grey, labels = synthetic.dataset(30, 32, seed=4)
    x, same = synthetic.coloured(30, seed=4)
    assert torch.equal(labels, same) and x.shape == (30, 3, 32, 32) and x.dtype == torch.uint8
    ground = x[:, :, 0, 0]  # the outermost pixels hold no ink
    assert (ground.float().std(0) > 40).all(), "each picture has its own"
    flat = grey.expand(-1, 3, -1, -1) == 0
    assert torch.equal(x[flat], ground[:, :, None, None].expand_as(x)[flat])
    assert torch.equal(x, synthetic.coloured(30, seed=4)[0]) and not torch.equal(x, synthetic.coloured(30, seed=5)[0])


def test_labels_have_names_where_the_data_set_has():
    assert len(kinds("cifar10")) == len(set(kinds("cifar10"))) == 10 and kinds("cifar10-jpeg") == kinds("cifar10")
    assert kinds("cifar10")[7] == "horse" and kinds("mnist") == kinds("folder") == kinds(None) == kinds([1]) == ()


def test_flips():
    """Half are mirrored, each step its own half, the same in every run; labels stay."""
    pictures = data.Images(
        "", torch.arange(64 * 3 * 4 * 4).view(64, 3, 4, 4).remainder(251).byte(), torch.arange(64), ""
    )
    plain, labels = pictures.batch(3, 64, seed=2)
    x0, same = Flipped(pictures).batch(3, 64, seed=2)
    assert torch.equal(same, labels) and torch.equal(x0, Flipped(pictures).batch(3, 64, seed=2)[0])
    kept = (x0 == plain).flatten(1).all(1)
    assert torch.equal(x0[~kept], plain[~kept].flip(3)) and 16 < kept.sum() < 48
    other = Flipped(pictures).batch(4, 64, seed=2)[0] == pictures.batch(4, 64, seed=2)[0]
    assert not torch.equal(other.flatten(1).all(1), kept)


def draw_faces(folder, sizes, kind=".png", mode="RGB") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for i, size in enumerate(sizes):
        Image.fromarray(smooth(i + 1, max(size))[i].movedim(0, -1).numpy()).resize(size).convert(mode).save(
            folder / f"{i:03}{kind}"
        )


def test_a_folder_of_pictures_of_any_size_and_kind(folder):
    draw_faces(folder / "faces", [(40, 40)] * 12)
    draw_faces(folder / "faces" / "grey", [(30, 50)] * 5, ".jpg", "L")
    draw_faces(folder / "faces" / "clear", [(50, 30)] * 3, ".webp", "RGBA")
    (folder / "faces" / "notes.txt").write_text("no picture")
    train, test = (data.load("folder", split, 16, path="faces") for split in ("train", "test"))
    assert (len(train), len(test)) == (18, 2) and train.name == "folder" and train.images.dtype == torch.uint8
    assert train.images.shape[1:] == test.images.shape[1:] == (3, 16, 16)
    assert set(train.labels.tolist()) == {0, 1, 2}, "one label a folder"
    assert data.load("folder", path=str(folder / "faces")).images.shape[1:] == (3, 64, 64), "any path, a common size"
    assert train.sentence == "This notebook uses 18 pictures from a folder."


def test_what_lies_beyond_the_square_is_cut_off(folder):
    """A wide picture, red on the left, green in the middle, blue on the right: only green is left."""
    wide = np.zeros((20, 60, 3), dtype=np.uint8)
    for i in range(3):
        wide[:, 20 * i : 20 * i + 20, i] = 255
    (folder / "wide").mkdir()
    for name, array in {"a": wide, "b": wide.transpose(1, 0, 2)}.items():
        Image.fromarray(array).save(folder / "wide" / f"{name}.png")
    for split in ("train", "test"):
        [picture] = data.load("folder", split, 10, path="wide").images
        inside = picture[:, 3:-3, 3:-3]  # at the edges the resampling still sees what was cut off
        assert (inside[1] == 255).all() and (inside[[0, 2]] == 0).all() and picture[1].min() > 200


def test_a_bad_folder_is_named(folder):
    with pytest.raises(ValueError, match="data.path: there is no folder .*none"):
        data.load("folder", path="none")
    with pytest.raises(ValueError, match="folder needs data.path"):
        data.load("folder")
    (folder / "few").mkdir()
    with pytest.raises(ValueError, match="holds 0 pictures .*: too few"):
        data.load("folder", path="few")
    draw_faces(folder / "few", [(8, 8)] * 2)
    (folder / "few" / "000.png").write_bytes(b"nothing")
    with pytest.raises(ValueError, match="000.png' is damaged or no picture"):
        data.load("folder", "test", path="few")


@pytest.mark.parametrize(
    "text, message",
    [
        ("data: {name: folder}", "data: name folder and path go together"),
        ("data: {path: faces}", "name folder and path go together: the name is mnist"),
        ("data: {name: cifar10, hidden: 30}", "hidden need grey digits, and cifar10 has none"),
        ("data: {hidden: 30, flip: true}", "flip would mirror the digits of hidden"),
        ("preview: {pictures: 0}", "preview.pictures is 0"),
    ],
)
def test_data_that_does_not_go_together(tmp_path, text, message):
    (tmp_path / "mine.yaml").write_text(f"model: {{milestone: M10}}\n{text}")
    with pytest.raises(ValueError, match=message):
        recipe.load(tmp_path / "mine.yaml")


TINY = UNetConfig((Level(16), Level(16, attention=True)), 3, 16, Labels(10), biggan=True, answers=2)


@pytest.fixture
def faces(folder):
    """A run of three steps on a folder of twenty pictures, with a learned variance."""
    draw_faces(folder / "faces", [(12, 9)] * 20)
    return recipe.Recipe(
        name="faces",
        model=recipe.Model(network=replace(TINY, condition=None)),
        data=recipe.Data("folder", 8, path="faces", flip=True),
        train=recipe.Train(batch=8),
        preview=recipe.Preview(pictures=16),
        score=recipe.Score(samples=0),
        total=24,
    )


def test_a_run_in_colour(faces, tmp_path):
    """Estimate, preview, TensorBoard and weights: all in three channels."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    said, out = [], tmp_path / "run"
    about = fit.fit(faces, out, say=said.append)
    assert isinstance(tasks.task(faces).stream(data.load("folder", "train", 8, path="faces")), Flipped)
    assert about["data"] == "folder" and "3 steps of 8 pictures on cpu, about" in said[0]
    with Image.open(out / "samples" / "step-000003.png") as grid:
        assert grid.mode == "RGB" and grid.size == (128, 32), "16 pictures of 8x8 in rows of 8, each pixel four times"
    [shown] = EventAccumulator(str(out)).Reload().Images("samples")
    assert (shown.width, shown.height) == (64, 16)
    model = checkpoint.load(out / "model.safetensors")
    guess = model(torch.zeros(2, 3, 8, 8), torch.tensor([1, 500]))
    assert guess.x0.shape == guess.share.shape == (2, 3, 8, 8)
    assert fit.seconds_per_step(faces) > 0, "also without any pictures at hand"


def test_a_judge_that_is_not_there_is_missed_before_training(faces, folder, tmp_path, monkeypatch, cifar):
    """Said in one sentence that names the command which trains it; nothing is written."""
    monkeypatch.setattr(judge.checkpoint, "names", lambda: ["classifier"])
    chosen = replace(faces, model=recipe.Model(network=TINY), data=recipe.Data("cifar10", 8))
    command = r"python -m diffusion101 train --recipe cifar10-classifier --out runs/judge"
    with pytest.raises(ValueError, match=f"the judge of cifar10 pictures is not trained yet: run {command}"):
        fit.fit(replace(chosen, score=recipe.Score(samples=10)), tmp_path / "run")
    with pytest.raises(ValueError, match="nobody judges pictures of data 'folder'.*; set score.samples to 0"):
        fit.fit(replace(faces, score=recipe.Score(samples=10)), tmp_path / "run", save_every=0)
    assert not (tmp_path / "run").exists()


def test_each_data_set_has_its_judge(tmp_path, folder, cifar, monkeypatch):
    """Trained by its recipe and put where the others lie, it judges the pictures of its own data set and no others."""
    known = {name for name in images.NAMES if name != "folder"}
    assert set(judge.JUDGES) == known and judge.DIGITS is not judge.COLOUR
    for chosen in (judge.DIGITS, judge.COLOUR):
        learned = recipe.load(chosen.recipe)
        assert learned.task == "classifier" and judge.judge_of(learned.data.name) is chosen
        assert tasks.task(learned).build().options == {"classes": 10, "width": chosen.width, "layout": chosen.layout}
    torch.manual_seed(0)
    small = Classifier(width=16, layout="colour")
    about = {"kind": "classifier", "network": small.options}
    checkpoint.write(tmp_path / "assets" / "cifar10-classifier.safetensors", small.state_dict(), about)
    monkeypatch.setattr(checkpoint, "FOLDER", tmp_path / "assets")
    real = judge.reference(data.load("cifar10", "test"), 10)
    assert real.features.shape == (10, 64) and real.classifier.options == small.options
    assert real.right(real.test.pictures(), real.test.labels).shape == (20,)


def test_a_judge_is_not_trained_on_pictures_too_small_for_it():
    few = images.Images("synthetic-colour", torch.zeros(10, 3, 4, 4, dtype=torch.uint8), torch.arange(10), "")
    job = tasks.task(recipe.load("cifar10-classifier", data__size=4))
    with pytest.raises(ValueError, match="data.size is 4; a classifier needs pictures of 8 pixels and more"):
        job.check(job.build(), few, few)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_judge_learns(layout):
    """A handful of pictures of two kinds, told apart after a few steps."""
    torch.manual_seed(0)
    model = Classifier(width=16, layout=layout)
    channels = LAYOUTS[layout].channels
    x, labels = torch.rand(16, channels, 16, 16) - 0.5, torch.arange(16) % 2
    x[labels == 1, :, ::2] += 0.5
    optimizer = torch.optim.AdamW(model.parameters(), 2e-3)
    for _ in range(12):
        optimizer.zero_grad()
        model.loss(x, labels).backward()
        optimizer.step()
    logits, features = model.eval()(x)
    assert (logits.argmax(1) == labels).float().mean() > 0.9 and features.shape == (16, 64)


def test_shifted_pictures_come_from_their_mirrored_surroundings():
    x = torch.rand(200, 3, 8, 6)
    moved = shift(x, torch.Generator().manual_seed(0), most=2)
    padded = torch.nn.functional.pad(x, (2, 2, 2, 2), mode="reflect")
    windows = torch.stack([padded[:, :, i : i + 8, j : j + 6] for i in range(5) for j in range(5)])  # (25, N, 3, 8, 6)
    found = (windows == moved).flatten(2).all(2)  # (25, N)
    assert found.any(0).all() and found.any(1).all(), "each is a window, and every window is seen"
    assert not torch.equal(moved, shift(x, torch.Generator().manual_seed(1), most=2))


def test_cut_out_squares_are_grey_and_anywhere():
    x = torch.rand(500, 3, 8, 6) + 0.5
    cut = cutout(x, torch.Generator().manual_seed(0), side=4)
    gone = cut == 0
    assert torch.equal(cut[~gone], x[~gone]) and (gone == gone[:, :1]).all(), "a pixel goes in all its colours"
    rows, columns = gone[:, 0].any(2).sum(1), gone[:, 0].any(1).sum(1)
    assert (gone[:, 0].sum((1, 2)) == rows * columns).all(), "one rectangle each"
    assert rows.unique().tolist() == columns.unique().tolist() == [2, 3, 4], "its middle lies in the picture"
    assert gone[:, 0].any(0).all() and not torch.equal(cut, cutout(x, torch.Generator().manual_seed(1), side=4))


def test_a_cached_start_imports_no_torchvision(folder, cifar):
    data.load("cifar10")
    code = "import sys; from diffusion101 import data; data.load('cifar10'); assert 'torchvision' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
