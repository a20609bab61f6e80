"""The app running here over `mini` with fresh prompts, and a browser that notes what goes wrong."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace

import pytest
from furnished import FurnishedStudio, save_fresh_prompts

from app.demo import build_demo, launch
from drople.models.backbone import load_backbone

CHROMIUM = Path("/usr/bin/chromium")
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
PATIENCE = 120_000  # milliseconds, for a machine with other work


@pytest.fixture(scope="session")
def site(tmp_path_factory):
    """The running app: its url and its studio."""
    folder = tmp_path_factory.mktemp("site")
    path = save_fresh_prompts(folder / "fresh.safetensors", load_backbone("mini"))
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("GRADIO_TEMP_DIR", str(folder / "gradio"))
        environment.setenv("NO_PROXY", "127.0.0.1,localhost")
        studio = FurnishedStudio(path)
        demo = build_demo(studio)
        _, url, _ = launch(demo, prevent_thread_lock=True, quiet=True)
        yield SimpleNamespace(url=url, studio=studio)
        demo.close()


@pytest.fixture(scope="session")
def chromium():
    """One browser for all visits."""
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    if not CHROMIUM.exists():
        pytest.skip(f"needs {CHROMIUM}")
    playwright.expect.set_options(timeout=PATIENCE)
    with playwright.sync_playwright() as running:
        browser = running.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


class Visitors:
    """Visitors who open the page, and all that goes wrong while they are there."""

    def __init__(self, chromium, url):
        self.chromium, self.url = chromium, url
        self.problems = []
        self.elsewhere = re.compile(rf"^(?!{re.escape(url)}|data:|blob:)")
        self.contexts = []

    def arrive(self, width=1280, scheme="light"):
        """Opens the page as a new visitor and waits for the example to be analysed."""
        context = self.chromium.new_context(
            viewport={"width": width, "height": 800}, reduced_motion="reduce", color_scheme=scheme
        )
        self.contexts.append(context)
        context.set_default_timeout(PATIENCE)
        context.route(self.elsewhere, self.refuse)
        page = context.new_page()
        page.on("console", self.note)
        page.on("pageerror", lambda error: self.problems.append(f"page: {error}"))
        page.goto(self.url)
        page.locator("#predictions-plot .scatterlayer .point").first.wait_for()
        return page

    def refuse(self, route):
        self.problems.append(f"asked for {route.request.url}")
        route.abort()

    def note(self, message):
        if message.type == "error":
            self.problems.append(f"console: {message.text}")

    def leave(self):
        for context in self.contexts:
            context.close()


@pytest.fixture
def visit(chromium, site):
    """Opens the page for new visitors: no error on it, no request from it to another host."""
    visitors = Visitors(chromium, site.url)
    yield visitors.arrive
    visitors.leave()
    assert visitors.problems == []


@pytest.fixture(scope="session")
def onlookers(chromium, site):
    """Visitors who only look around in the example; one for each kind of screen."""
    visitors, pages = Visitors(chromium, site.url), {}

    def look(**screen):
        key = tuple(screen.items())
        if key not in pages:
            pages[key] = visitors.arrive(**screen)
        return pages[key]

    yield look, visitors.problems
    visitors.leave()


@pytest.fixture
def look(onlookers):
    """The example on a kind of screen, as the last test left it: to look, not to compute."""
    look, problems = onlookers
    yield look
    assert problems == []
