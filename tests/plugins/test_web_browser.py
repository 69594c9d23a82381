"""The page in a real browser: from a sentence to a head that is watched, by mouse and keyboard, on desk and phone."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
from web_server import Server, make_world, serving

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: `make test` installs it")
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
PHONE, DESK = {"width": 390, "height": 844}, {"width": 1280, "height": 900}
PATIENCE = 400_000  # milliseconds; a goal loads a language model, and machines are busy


def find_chromium() -> str:
    """An installed Chromium, else Debian's, installed here; skips where there is neither it nor root."""
    found = next((path for name in NAMES if (path := shutil.which(name))), None)
    if found is None and os.geteuid() == 0 and shutil.which("apt-get"):
        subprocess.run(["apt-get", "update", "-q"], capture_output=True, timeout=300)
        install = ["apt-get", "install", "-y", "-q", "--no-install-recommends", "chromium"]
        subprocess.run(install, capture_output=True, timeout=900)
        found = shutil.which("chromium")
    if found is None:
        pytest.skip("no Chromium here, and no root to install Debian's: `apt-get install chromium`")
    return found


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    path = find_chromium()
    with sync_api.sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield running
        running.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    root = tmp_path_factory.mktemp("browser")
    make_world(root, steps=300)
    with serving(root) as running:
        running.root = root  # type: ignore[attr-defined]
        yield running


@pytest.fixture
def open_page(browser: Any, server: Server) -> Iterator[Any]:
    """Opens the printed address; what a page complains of fails the test."""
    problems: list[str] = []
    opened = []

    def open_at(path: str = "", viewport: dict[str, int] = DESK) -> Any:
        page = browser.new_page(viewport=viewport, reduced_motion="reduce")
        page.set_default_timeout(180_000)
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("console", lambda said: problems.append(said.text) if "Content Security Policy" in said.text else None)
        page.goto(server.address + path)
        opened.append(page)
        return page

    yield open_at
    for page in opened:
        page.close()
    assert not problems


def test_from_a_sentence_to_a_head_that_is_watched(open_page: Any, server: Server) -> None:
    page = open_page()
    assert "token" not in page.url
    page.get_by_role("link", name="carts").click()
    page.get_by_role("heading", name="carts", level=1).wait_for()
    page.get_by_role("article", name="upright").get_by_text("Keep the pole upright.").wait_for()
    page.get_by_role("group", name="Return of training episodes").wait_for()

    sentence = page.get_by_label("The goal, in one English sentence")
    sentence.fill("Keep the cart on the left")
    sentence.press("Enter")
    goal = page.locator("#goal")
    goal.get_by_role("heading", name="What it will be paid for").wait_for(timeout=PATIENCE)
    words = goal.locator(".words")
    assert "cart position at most" in words.inner_text()
    assert not list(server.root.glob("*/goals/*"))  # type: ignore[attr-defined]

    curve = goal.get_by_role("group", name="Reward along recorded episodes").locator("path").first
    before = curve.get_attribute("d")
    slider = goal.get_by_role("slider", name="cart position at most").first
    slider.focus()
    for _ in range(12):
        slider.press("ArrowRight")
    moved = float(slider.input_value())
    wanted = f"cart position at most {moved:.4g} m"
    page.wait_for_function("text => document.querySelector('#goal .words').innerText.includes(text)", arg=wanted)
    page.wait_for_function("old => document.querySelector('#goal .chart path').getAttribute('d') !== old", arg=before)

    goal.locator("input[value=imagined]").check()
    goal.get_by_label("updates", exact=True).fill("6")
    goal.get_by_role("button", name="Train a head for it").click()
    goal.get_by_role("progressbar", name="Training keep_the_cart_on_the_left").wait_for()
    goal.get_by_role("heading", name="Watch keep_the_cart_on_the_left").wait_for(timeout=PATIENCE)
    film = goal.get_by_label("keep_the_cart_on_the_left: real episode next to imagination")
    page.wait_for_function("film => film.readyState >= 1 && film.videoWidth > 0", arg=film.element_handle())

    world = server.root / "carts"  # type: ignore[attr-defined]
    task = (world / "goals" / "keep_the_cart_on_the_left.yaml").read_text()
    assert f"{moved:g}" in task
    journal = [
        json.loads(line) for line in (world / "goals" / "keep_the_cart_on_the_left.jsonl").read_text().splitlines()
    ]
    assert journal[-1]["step"] == "a person"
    assert (world / "heads" / "keep_the_cart_on_the_left" / "weights.000002.safetensors").exists()
    card = page.get_by_role("article", name="keep_the_cart_on_the_left")
    card.get_by_text("mean return of 10 episodes").wait_for()
    assert {one["task"] for one in json.loads((world / "evaluations.json").read_text())} == {
        "keep_the_cart_on_the_left"
    }


def test_training_on_is_followed_and_stopped(open_page: Any, server: Server) -> None:
    copied = server.root / "stopped"  # type: ignore[attr-defined]
    shutil.copytree(server.root / "carts", copied)  # type: ignore[attr-defined]
    page = open_page("#/world/stopped")
    page.get_by_label("More environment steps").fill("100000")
    page.locator("#learning").get_by_role("button", name="Train on").click()
    dock = page.get_by_label("Commands at work")
    dock.get_by_text("of 100,300 steps").wait_for(timeout=PATIENCE)
    curve = page.get_by_role("group", name="Return of training episodes").locator("path")
    drawn = curve.first.get_attribute("d")
    page.wait_for_function(
        "old => document.querySelector('#learning .chart path').getAttribute('d') !== old", arg=drawn, timeout=PATIENCE
    )
    page.get_by_text("learning now").first.wait_for()
    dock.get_by_role("button", name="Stop").click()
    dock.get_by_text("what was learned is saved").wait_for(timeout=PATIENCE)
    shutil.rmtree(copied)
    page.get_by_text("There is no world 'stopped'").first.wait_for()
    assert page.get_by_role("heading", name="stopped", level=1).is_visible()


def test_a_broken_sentence_is_answered_where_it_was_asked(open_page: Any) -> None:
    page = open_page("#/world/carts")
    page.get_by_label("The goal, in one English sentence").fill("Bake a cake")
    page.get_by_role("button", name="Read it back").click()
    page.locator("#goal").get_by_text("ended with an error").wait_for(timeout=PATIENCE)
    page.locator("#goal .notice.bad", has_text="cart").last.wait_for(timeout=PATIENCE)


@pytest.mark.parametrize("viewport", [PHONE, DESK], ids=["phone", "desk"])
def test_nothing_is_wider_than_the_screen(open_page: Any, viewport: dict[str, int]) -> None:
    page = open_page(viewport=viewport)
    page.get_by_role("link", name="carts").wait_for()
    too_wide = "document.documentElement.scrollWidth - window.innerWidth"
    assert page.evaluate(too_wide) <= 0
    page.get_by_role("link", name="carts").click()
    page.get_by_text("What was measured in gymnasium/CartPole-v1").wait_for()
    page.get_by_text("It observes 4 numbers").wait_for(timeout=PATIENCE)
    assert page.evaluate(too_wide) <= 0
    heights = page.evaluate("[...document.querySelectorAll('main button:not(.plain)')].map(one => one.offsetHeight)")
    assert min(height for height in heights if height) >= 34


def test_the_keyboard_reaches_everything(open_page: Any) -> None:
    page = open_page()
    page.get_by_role("link", name="carts").wait_for()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the page"
    page.get_by_role("link", name="carts").focus()
    page.keyboard.press("Enter")
    page.get_by_label("The goal, in one English sentence").wait_for()
    page.get_by_text("What was measured in gymnasium/CartPole-v1").wait_for()
    reached = set()
    for _ in range(60):
        page.keyboard.press("Tab")
        reached.add(
            page.evaluate("(a => a.ariaLabel || a.textContent || a.tagName)(document.activeElement).slice(0, 40)")
        )
    assert {"Read it back", "▶ Watch", "updates", "Train on", "Read again", "Newest episodes"} <= reached
    chart = page.get_by_role("group", name="Signals of the episode")
    chart.focus()
    page.keyboard.press("ArrowRight")
    assert "step of the episode" in chart.locator(".tip").inner_text()


def test_a_stranger_sees_nothing(browser: Any, server: Server) -> None:
    page = browser.new_page()
    page.goto(f"http://127.0.0.1:{server.port}/")
    assert "needs the token" in page.inner_text("body")
    page.goto(f"http://127.0.0.1:{server.port}/?token=wrong")
    assert "not that of this page" in page.inner_text("body")
    page.close()
