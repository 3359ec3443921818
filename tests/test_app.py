"""The page, asked as a program asks it and as a person does. Skipped without gradio: pip install -e ".[app]"."""

import json
import os
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from test_browser import browser  # noqa: F401  (a fixture)

from diffusion101.__main__ import main
from diffusion101.networks import Tokens
from diffusion101.order import Order

pytest.importorskip("gradio", "6", reason='no gradio: pip install -e ".[app]"')
import gradio as gr  # noqa: E402
from gradio_client import Client  # noqa: E402
from gradio_client.exceptions import AppError  # noqa: E402

from diffusion101 import app  # noqa: E402

GOOD = dict(text="3 7", guidance=2.0, steps=3, sampler="dpmpp_2m", seed=5, model="05-guidance", lora="", scale=1.0)
NUMBERS = GOOD | dict(text="42", steps=1, model="06-attention")


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    kept = os.environ.get("GRADIO_TEMP_DIR")
    os.environ["GRADIO_TEMP_DIR"] = str(tmp_path_factory.mktemp("gradio"))
    yield app.serve("cpu", wait=False)
    gr.close_all()
    os.environ.pop("GRADIO_TEMP_DIR") if kept is None else os.environ.update(GRADIO_TEMP_DIR=kept)


@pytest.fixture(scope="module")
def client(address, tmp_path_factory):
    return Client(address, download_files=tmp_path_factory.mktemp("downloads"), verbose=False, analytics_enabled=False)


def asked(client, tab="/digits", **changes):
    """All that comes back, step by step: (picture, line, file)."""
    job = client.submit(*((GOOD if tab == "/digits" else NUMBERS) | changes).values(), api_name=tab)
    job.result(timeout=600)
    return job.outputs()


def test_the_denoising_is_shown_and_the_file_draws_itself_again(client, tmp_path):
    *steps, (picture, line, file) = asked(client)
    assert [said for _, said, _ in steps] == [f"Step {i + 1} of 3, t = {t}" for i, t in enumerate((667, 333, 0))]
    shown = [np.asarray(Image.open(path).convert("L"), float) for path, _, _ in steps]
    assert shown[0].std() > 10 and all(np.abs(a - b).max() > 20 for a, b in zip(shown, shown[1:]))
    assert line.startswith("Done.") and Path(file["value"] if isinstance(file, dict) else file).suffix == ".png"
    order = Order.of(Image.open(picture).text["diffusion101"], "the page")
    assert (order.model, order.condition, order.seed, order.guidance) == ("05-guidance", ("3", "7"), 5, 2.0)
    assert main(["sample", "--again", picture, "--out", str(tmp_path / "a.png")]) == 0
    ours, theirs = Image.open(tmp_path / "a.png"), Image.open(picture)
    scale = theirs.width // 56
    assert np.array_equal(np.asarray(ours)[::2, ::2], np.asarray(theirs)[::scale, ::scale])


def test_whatever_is_wrong_is_one_sentence_and_the_page_lives_on(client):
    for changes, message in [
        (dict(steps=101), "steps is 101, but should be less than or equal to 100"),
        (dict(steps=0), "steps is 0, but"),
        (dict(steps="many"), "steps is 'many', but should be a valid integer"),
        (dict(steps=None), "steps is None, but"),
        (dict(guidance=[1]), r"guidance is \[1\], but should be a valid number"),
        (dict(guidance=-0.5), "guidance is -0.5, but"),
        (dict(seed=2**31), "seed is 2147483648, but"),
        (dict(sampler="euler"), "sampler is 'euler', but should be 'ddpm', 'ddim', 'dpmpp_2m' or 'dpmpp_2m_sde'"),
        (dict(text=""), "this asks for 0 pictures; write digits, with spaces between them, for 1 to 40 of them"),
        (dict(text="3 " * 41), "this asks for 41 pictures"),
        (dict(text="3" * 3000), "text is .*should have at most 2000 characters"),
        (dict(text="3 x"), "'x' is no label of this model; its labels go from 0 to 9"),
        (dict(text={"a": 1}), "text is {'a': 1}, but should be a valid string"),
        (dict(model="06-attention"), "'06-attention' is not offered here; there are 05-guidance"),
        (dict(model="/etc/passwd.safetensors"), "is not offered here"),
        (dict(lora="07-outline"), "'07-outline' is not offered here"),
    ]:
        with pytest.raises(AppError, match=message) as refused:
            asked(client, **changes)
        assert "\n" not in str(refused.value)
    assert len(asked(client, text="1", steps=1)) == 2


def test_numbers_are_drawn_with_an_adapter_as_strong_as_asked(client):
    def drawn(**changes):
        return np.asarray(Image.open(asked(client, "/numbers", **changes)[-1][0]))

    plain, off, on = drawn(), drawn(lora="07-outline", scale=0.0), drawn(lora="07-outline", scale=1.0)
    assert plain.shape[1] == 2 * plain.shape[0]
    assert np.abs(plain.astype(int) - off).max() <= 1 and np.abs(plain.astype(int) - on).max() > 50


def test_a_sentence_is_drawn_in_colour_and_an_unknown_word_is_told(client):
    def drawn(text):
        return np.asarray(Image.open(asked(client, "/sentences", text=text, model="08-text", steps=2)[-1][0]))

    assert drawn("a red two\n\na blue 3, top left").shape[2] == 3
    with pytest.raises(AppError, match="does not know the word 'rad'; the nearest it knows: red"):
        drawn("a rad two")


def test_a_tab_for_each_kind_of_condition(client, monkeypatch):
    names = [dependency["api_name"] for dependency in client.config["dependencies"]]
    assert names == ["digits", "numbers", "sentences", "photographs"]
    digits, numbers, sentences, photographs = app.offers()
    assert digits.models == {"05-guidance": 28} and not digits.adapters
    assert "06-attention" in numbers.models and "07-outline" in numbers.adapters
    monkeypatch.delitem(app.TABS, Tokens)  # a condition that nobody has written an entry for
    assert sentences.models == {"08-text": 32, "08-two": 32} and not sentences.adapters
    assert photographs.models == {"10-cifar10": 32} and "horse ship" in photographs.tab.example
    _, prompts, *_ = app.offers()
    wish = app.Wish(**NUMBERS | dict(text=" 42\n\n7_ "))
    assert prompts.tab.title == "Prompts" and prompts.order(wish).condition == ("42", "7_")


def test_it_is_private_unless_asked_and_tells_nobody(monkeypatch, capsys):
    launched = []
    monkeypatch.setattr(gr.Blocks, "launch", lambda self, **how: launched.append((self, how)) or (None, "", ""))
    assert main(["app"]) == 0 and main("app --share --port 7999".split()) == 0
    (blocks, how), (_, other) = launched
    assert how["server_name"] == "127.0.0.1" and how["share"] is False and how["server_port"] is None
    assert other["share"] is True and other["server_port"] == 7999
    assert not blocks.analytics_enabled and os.environ["GRADIO_ANALYTICS_ENABLED"] == "False"
    assert main("app --port 70000".split()) == 2 and main("app --device tpu9".split()) == 2 and len(launched) == 2
    assert "--port is 70000; it must lie from 1 to 65535" in capsys.readouterr().err
    fonts = json.dumps(gr.themes.Default(font=app.FONT)._stylesheets)
    assert "http" not in fonts, "no font is fetched"


@pytest.mark.browser
@pytest.mark.slow
def test_in_a_real_browser(address, browser):  # noqa: F811
    """Draw is pressed, steps go by, and the picture can be downloaded; a bad prompt shows its sentence."""
    page, outside = browser.new_page(viewport={"width": 1200, "height": 900}), []
    page.on("request", lambda request: re.match(rf"{address}|data:|blob:", request.url) or outside.append(request.url))
    page.goto(address)
    page.get_by_role("tab", name="Digits").wait_for(timeout=60_000)
    page.get_by_role("button", name="Draw").first.click()
    page.get_by_text("Done.").first.wait_for(timeout=120_000)
    if folder := os.environ.get("DIFFUSION101_SCREENSHOTS"):
        page.wait_for_timeout(1000)
        page.screenshot(path=Path(folder) / "app.png")
    with page.expect_download() as download:
        page.get_by_role("button", name="Download PNG").first.click()
    assert "diffusion101" in Image.open(download.value.path()).text
    page.get_by_label("Draw").first.fill("x")
    page.get_by_role("button", name="Draw").first.click()
    page.get_by_text("'x' is no label of this model").wait_for(timeout=60_000)
    page.close()
    assert not [url for url in outside if "127.0.0.1" not in url], outside
