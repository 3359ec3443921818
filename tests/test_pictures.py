"""The README's pictures: they are there, small, told in words, and what tools/pictures.py draws."""

import re

import numpy as np
import pytest
from PIL import Image

from diffusion101.figures import files
from tools import pictures
from tools.repository import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(("path", "most"), [(pictures.FILM, 2e6), (pictures.MILESTONES, 3e5)], ids=["film", "still"])
def test_the_readme_shows_it_in_words_too(path, most):
    assert 0 < path.stat().st_size < most
    shown = dict(re.findall(r"!\[([^\]]*)\]\(([^)]+)\)", README))
    [alt] = [alt for alt, target in shown.items() if ROOT / target == path]
    assert len(alt.split()) >= 10, "what it shows, for who cannot see it"


def test_every_picture_in_assets_is_one_of_these():
    made = {pictures.FILM, pictures.MILESTONES}
    assert {path for path in (ROOT / "assets").iterdir() if path.is_file()} == made


def test_the_film_goes_from_noise_to_pictures_and_rests_there():
    with Image.open(pictures.FILM) as film:
        times = []
        for i in range(film.n_frames):
            film.seek(i)
            times.append(film.info["duration"])
    assert len(times) == pictures.STEPS + 1 and times[-1] >= 20 * times[0]


def test_the_film_is_drawn_by_these_weights():
    """The digits at its end, drawn anew; a GIF has 256 colours, and another processor rounds otherwise."""
    drawn = files.grid(pictures.digits()[-1], pictures.COLUMNS, pictures.SCALE)
    with Image.open(pictures.FILM) as film:
        film.seek(film.n_frames - 1)
        shown = film.convert("RGB").crop((0, 0, *drawn.size))
    difference = np.abs(np.asarray(shown, dtype=int) - np.asarray(drawn, dtype=int))
    assert difference.mean() < 4 and np.quantile(difference, 0.99) < 40
