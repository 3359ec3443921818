"""Every notebook in a real JupyterLab: run it from top to bottom, move each slider, press buttons, see pictures change.

Needs playwright and Chromium. DIFFUSION101_SCREENSHOTS names a folder for pictures of what the browser saw.
"""

import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tools.normalise import code_cells, read, tags, write
from tools.repository import ROOT, notebooks

pytestmark = [pytest.mark.browser, pytest.mark.slow]

BROWSERS = "chromium chromium-browser google-chrome google-chrome-stable chrome msedge"
FLAGS = """--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking
    --disable-component-update --disable-sync"""
ALARM = '[data-mime-type$="jupyter.stderr"], [data-mime-type$="jupyter.error"]'
RUN_S, REDRAW_S = 600, 30  # patience for a whole notebook and for one picture
SETTINGS = {
    "notebook-extension/tracker": {"windowingMode": "none"},  # else cells out of sight have no sliders
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
}


class Server(NamedTuple):
    url: str
    token: str

    def api(self, path: str, method: str = "GET") -> Any:
        request = urllib.request.Request(f"{self.url}/api/{path}", method=method)
        request.add_header("Authorization", f"token {self.token}")
        with urllib.request.urlopen(request, timeout=10) as reply:
            return json.loads(reply.read() or "null")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """JupyterLab with the smoke budget on a copy of the notebooks without outputs, so that all it shows is fresh."""
    home = tmp_path_factory.mktemp("lab")
    (home / "notebooks").mkdir()
    if (ROOT / "assets").exists():
        (home / "assets").symlink_to(ROOT / "assets")  # the pictures in the prose
    for path in notebooks():
        nb = read(path)
        for cell in code_cells(nb):
            cell.outputs, cell.execution_count = [], None
        write(home / "notebooks" / path.name, nb)
    for name, values in SETTINGS.items():
        file = home / "settings" / "@jupyterlab" / f"{name}.jupyterlab-settings"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(values))
    environment = os.environ | {
        "DIFFUSION101_BUDGET": "smoke",
        "JUPYTER_CONFIG_DIR": str(home / "config"),
        "JUPYTERLAB_SETTINGS_DIR": str(home / "settings"),
        "JUPYTERLAB_WORKSPACES_DIR": str(home / "workspaces"),
    }
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    lab = Server(f"http://127.0.0.1:{port}", secrets.token_hex())
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--ip=127.0.0.1", f"--port={port}"]
    command += ["--ServerApp.port_retries=0", f"--IdentityProvider.token={lab.token}"]
    with open(home / "log", "w") as log:
        process = subprocess.Popen(command, cwd=home, env=environment, stdout=log, stderr=log)
    try:
        for _ in range(120):
            try:
                lab.api("status")
                break
            except OSError:
                assert process.poll() is None, (home / "log").read_text()
                time.sleep(0.5)
        yield lab
    finally:
        process.terminate()
        process.wait(timeout=30)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason='no playwright: pip install -e ".[browser]"')
    with playwright.sync_playwright() as driver:
        candidates = [*map(shutil.which, BROWSERS.split()), driver.chromium.executable_path]
        chromium = next((found for found in candidates if found and Path(found).exists()), None)
        if not chromium:
            pytest.skip("no Chromium: install one, or run `playwright install chromium`")
        chromium = driver.chromium.launch(executable_path=chromium, args=FLAGS.split())
        yield chromium
        chromium.close()


@pytest.mark.parametrize("path", notebooks(), ids=lambda path: path.stem)
def test_every_slider_moves_its_picture(path: Path, browser: Any, server: Server) -> None:
    page = browser.new_page(viewport={"width": 1200, "height": 1000})
    try:
        run_all(page, server, path)
        screenshot(page, path.stem)
        for number, cell in enumerate(page.locator(".jp-CodeCell").all(), start=1):
            for slider in range(cell.locator(".noUi-handle").count()):
                move(page, cell, slider, f"[{number}] slider {slider}")
            for button in cell.locator(".widget-toggle-button:not(.mod-active)").all()[:2]:
                press(page, cell, button, f"[{number}] button {button.inner_text()}")
            if cell.locator(".noUi-handle").count():
                screenshot(cell, f"{path.stem}-cell{number}")
        assert not alarms(page, path)
    finally:
        page.close()
        for session in server.api("sessions"):
            server.api(f"sessions/{session['id']}", method="DELETE")


def run_all(page: Any, server: Server, path: Path) -> None:
    page.goto(f"{server.url}/lab/tree/notebooks/{path.name}?token={server.token}&reset")
    page.locator(".jp-MarkdownCell h1").first.wait_for(timeout=60_000)
    page.locator("#jp-main-statusbar").get_by_text("| Idle").wait_for(timeout=60_000)  # the icon turns idle too early
    page.locator(".lm-MenuBar-item", has_text="Run").first.click()
    page.locator('.lm-Menu-item[data-command="runmenu:run-all"]').click()
    total = len(code_cells(read(path)))
    for _ in range(2 * RUN_S):
        prompts = page.locator(".jp-CodeCell .jp-InputPrompt").all_inner_texts()
        done = [prompt.strip("[]: \n").isdigit() for prompt in prompts]
        if alarms(page, path) or (len(done) == total and all(done)):
            break
        page.wait_for_timeout(500)
    assert not alarms(page, path)
    assert len(done) == total and all(done), f"after {RUN_S} s the cells show {prompts}"
    for number, (cell, shown) in enumerate(zip(code_cells(read(path)), page.locator(".jp-CodeCell").all()), start=1):
        if "widgets.explore" in cell.source:  # by its name it shows something to move
            assert shown.locator(".jupyter-widgets").count(), f"[{number}] shows no widget"


def alarms(page: Any, path: Path) -> list[str]:
    """What cells show as an error or on stderr (JupyterLab draws both alike), but for errors that are meant."""
    found = []
    for number, cell in enumerate(code_cells(read(path))):
        if "raises-exception" not in tags(cell):
            found += page.locator(".jp-CodeCell").nth(number).locator(ALARM).all_inner_texts()
    return found


def move(page: Any, cell: Any, slider: int, name: str) -> None:
    """Send a slider to its ends and one step back. Whenever its value moves, a picture of its cell must change."""
    handle, moves = cell.locator(".noUi-handle").nth(slider), 0
    handle.scroll_into_view_if_needed()
    for key in ("End", "ArrowLeft", "Home"):
        value, pictures = handle.get_attribute("aria-valuenow"), sources(cell)
        assert pictures, f"{name} has no picture"
        handle.focus()
        handle.press(key)
        page.wait_for_timeout(100)
        if handle.get_attribute("aria-valuenow") == value:
            continue  # it stood there already
        moves += 1
        redrawn(page, cell, pictures, f"{name}: {key}")
    assert moves, f"{name} does not move"


def press(page: Any, cell: Any, button: Any, name: str) -> None:
    """Press a button by the keyboard: a picture of its cell must change."""
    pictures = sources(cell)
    assert pictures, f"{name} has no picture"
    button.focus()
    button.press("Enter")
    redrawn(page, cell, pictures, name)


def redrawn(page: Any, cell: Any, pictures: list[str], name: str) -> None:
    for _ in range(10 * REDRAW_S):
        if sources(cell) != pictures:
            break
        page.wait_for_timeout(100)
    assert sources(cell) != pictures, f"{name} left every picture as it was"
    page.wait_for_timeout(300)  # a late redraw must not pass for the answer to the next key


def sources(cell: Any) -> list[str]:
    return cell.locator("img.widget-image").evaluate_all("pictures => pictures.map(picture => picture.src)")


def screenshot(target: Any, name: str) -> None:
    if folder := os.environ.get("DIFFUSION101_SCREENSHOTS"):
        if hasattr(target, "set_viewport_size"):  # a page: make the window as tall as the notebook
            height = target.evaluate("document.querySelector('.jp-WindowedPanel-outer').scrollHeight")
            target.set_viewport_size({"width": 1200, "height": min(height + 200, 16_000)})
            target.evaluate("document.querySelector('.jp-WindowedPanel-outer').scrollTop = 0")
            target.wait_for_timeout(1000)
        target.screenshot(path=Path(folder) / f"{name}.png")
