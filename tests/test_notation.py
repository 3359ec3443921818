"""Four notations: each against its paper's own formulas on data whose perfect answer is known, and back again."""

import math
import re

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from diffusion101 import schedules
from diffusion101.core.notation import NOTATIONS, angle, mix, sigma, tau, translate, unmix
from diffusion101.core.process import PREDICTIONS, q_sample, target
from tests.mixture import MEANS, STD, WEIGHTS, draw, exact
from tools.normalise import read
from tools.repository import NOTEBOOKS, ROOT, notebooks

S = schedules.cosine()
TIMES = torch.tensor([1, 20, 300, 500, 700, 950])
PLACES = draw(6).double() + torch.randn(6, 2, generator=torch.Generator().manual_seed(1)).double()
INSIDE = st.floats(min_value=1e-6, max_value=1 - 1e-6)
PAGE = "\n".join(cell.source for cell in read(NOTEBOOKS / "notation.ipynb").cells if cell.cell_type == "markdown")


def perfect(alpha_bar=S.exact[TIMES]):
    """x of the plane's mixture at six times, and its perfect x0 and eps; float64."""
    x = alpha_bar.sqrt()[:, None] * PLACES
    return x, *exact(S)(x, TIMES), alpha_bar


@pytest.mark.parametrize("source", NOTATIONS)
@pytest.mark.parametrize("target", NOTATIONS)
@settings(max_examples=20, deadline=None)
@given(a=INSIDE)
def test_there_and_back(source, target, a):
    a = torch.tensor([a], dtype=torch.float64)
    x0, eps = PLACES[:1], PLACES[1:2]
    said = mix(x0, eps, a, source)
    back = translate(*translate(*said, a, source, target), a, target, source)
    for was, now in zip(said, back):
        torch.testing.assert_close(now, was, rtol=1e-7, atol=1e-7)
    torch.testing.assert_close(tuple(unmix(*said, a, source)), (x0, eps), rtol=1e-7, atol=1e-7)


@settings(max_examples=50, deadline=None)
@given(a=INSIDE)
def test_the_clocks_agree(a):
    """Each clock can be read off any other, and all say the same of the ratio of noise to signal."""
    a = torch.tensor(a, dtype=torch.float64)
    torch.testing.assert_close(1 / (1 + sigma(a) ** 2), a)
    torch.testing.assert_close(angle(a).cos() ** 2, a)
    torch.testing.assert_close((1 - tau(a)) / tau(a), sigma(a))
    for notation in NOTATIONS.values():
        of_x0, of_eps = notation.x(a)
        torch.testing.assert_close(of_eps / of_x0, sigma(a))
        assert notation.time(a).isfinite()


def test_the_clocks_run_the_right_way():
    a = S.exact[1:]
    assert (sigma(a).diff() > 0).all() and (tau(a).diff() < 0).all() and (angle(a).diff() > 0).all()
    assert 0 < tau(a[-1]) < 1e-4 and tau(a[0]) > 0.99 and angle(a[-1]) == pytest.approx(math.pi / 2, abs=1e-4)


@pytest.mark.parametrize("notation, predict", [("DDPM", "eps"), ("v", "v")])
def test_ours_are_the_prediction_table(notation, predict):
    """signal x0 + noise eps, and what a network of this prediction should answer."""
    x0, eps = PLACES.float(), PLACES.flip(0).float()
    x, answer = mix(x0, eps, S.exact[TIMES], notation)
    torch.testing.assert_close(x, q_sample(x0, TIMES, eps, S))
    torch.testing.assert_close(answer, target(predict, x0, TIMES, eps, S))
    theirs = PREDICTIONS[predict].denoised(answer, x, TIMES, S)
    torch.testing.assert_close(unmix(x, answer, S.exact[TIMES], notation), theirs, rtol=1e-3, atol=1e-3)


def test_edm_is_the_score_of_the_smoothed_data():
    """(D - z) / sigma² is the gradient of log p(z; sigma), p smoothed by noise of size sigma (Karras et al., eq. 3)."""
    x, x0, eps, a = perfect()
    z, D = translate(x, eps, a, "DDPM", "EDM")
    z.requires_grad_()
    variance = STD**2 + sigma(a)[:, None] ** 2
    log_p = (WEIGHTS.log() - (z[:, None] - MEANS).square().sum(-1) / (2 * variance)).logsumexp(1)
    (score,) = torch.autograd.grad(log_p.sum(), z)
    torch.testing.assert_close((D - z) / sigma(a)[:, None] ** 2, score, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(D, x0)


def test_flow_is_the_mean_velocity_of_the_lines_through_y():
    """E[x0 - eps | y] over straight lines from eps (tau = 0) to x0 (tau = 1), by Bayes in flow matching's own scale."""
    x, _, eps, a = perfect()
    y, velocity = translate(x, eps, a, "DDPM", "flow")
    s = tau(a)[:, None]
    variance = (s * STD) ** 2 + (1 - s) ** 2  # of y around tau times a mean
    away = y[:, None] - s[..., None] * MEANS  # (6, 3, 2)
    odds = (WEIGHTS.log() - away.square().sum(-1) / (2 * variance)).softmax(1)[..., None]
    lines = MEANS + ((s * STD**2 - (1 - s)) / variance)[..., None] * away  # of x0 - eps, for each normal
    torch.testing.assert_close(velocity, (odds * lines).sum(1), rtol=1e-4, atol=1e-4)


def test_v_is_the_speed_along_the_circle():
    x0, eps, h = PLACES, PLACES.flip(0), 1e-6
    a = S.exact[TIMES]
    later = (angle(a) + h).cos() ** 2
    (x, v), (there, _) = mix(x0, eps, a, "v"), mix(x0, eps, later, "v")
    torch.testing.assert_close((there - x) / h, v, rtol=1e-4, atol=1e-4)


def test_float32_near_the_ends():
    """The network's own words, v, survive the way to every notation and back, at the schedule's first and last step."""
    a, v, x = S.exact[[1, 1000]], PLACES[:2].float(), PLACES[2:4].float()
    for notation in ("EDM", "flow"):
        back = translate(*translate(x, v, a, "v", notation), a, notation, "v")
        torch.testing.assert_close(tuple(back), (x, v), rtol=0, atol=0.02)


def test_pictures_keep_their_shape_and_each_has_its_time():
    x, answer = torch.randn(2, 3, 1, 4, 4).unbind()
    a = S.exact[[10, 500, 990]]
    said = translate(x, answer, a, "DDPM", "flow")
    alone = [translate(x[i : i + 1], answer[i : i + 1], a[i : i + 1], "DDPM", "flow") for i in range(3)]
    assert said.x.shape == said.answer.shape == x.shape and said.x.dtype == torch.float32
    torch.testing.assert_close(said.answer, torch.cat([one.answer for one in alone]))


@pytest.mark.parametrize("a, name, words", [(0.5, "ddpm", "unknown notation 'ddpm'"), (1.0, "EDM", "between 0 and 1")])
def test_refuses(a, name, words):
    with pytest.raises(ValueError, match=words):
        unmix(PLACES, PLACES, torch.full((6,), a), name)


# The page's prose: its map and its glossary


def test_the_map_prints_lines_as_they_stand_in_the_package():
    rows = re.findall(r"`([^`]+)` in `([\w/]+\.py)`", PAGE)
    package = ROOT / "diffusion101"
    assert len(rows) > 15
    assert not [line for line, file in rows if line not in (package / file).read_text(encoding="utf-8")]


def test_the_glossary_names_a_lesson_in_which_the_term_stands():
    rows = re.findall(r"^\| \*\*(.+?)\*\* \| .+ \| (\d\d) \|$", PAGE, re.MULTILINE)
    terms = [term.lower() for term, _ in rows]
    assert len(rows) > 80 and terms == sorted(set(terms))
    for number in {number for _, number in rows}:
        found = notebooks("notation" if number == "12" else number)
        text = " ".join(cell.source for path in found for cell in read(path).cells).lower()
        for term in (term.lower() for term, lesson in rows if lesson == number and found):
            stems = [word[:5] for word in re.split(r"[ -]", term) if len(word) > 2 or word == term]
            assert any(stem in text for stem in stems), f"{term!r} does not stand in lesson {number}"
