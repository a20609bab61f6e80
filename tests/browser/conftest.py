"""The app running here over `mini` with fresh prompts, and a browser that notes what goes wrong."""

from __future__ import annotations

import re
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from steps import SHOWN, come_to_rest, start_over

from app.demo import build_demo, launch
from app.studio import Studio

CHROMIUM = Path("/usr/bin/chromium")
# No other host can be found. (Playwright's own way to refuse requests turns the cache off.)
ALONE = "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", ALONE]
PATIENCE = 60_000  # milliseconds, for a machine with other work
# Notes what the overview is given (`given`) and where its parts lie then (`places`).
WITNESS = """
window.given = []
window.places = []
let real
Object.defineProperty(window, "DropleLens", { get: () => real, set(value) {
    real = { ...value, mount(root, options) {
        const lens = value.mount(root, options), { update } = lens
        const note = () => places.push([...document.querySelectorAll(
            "#bar, .answer, .controls, .panel, .strip, .foot, .map")].map(one => {
                const { x, y, width, height } = one.getBoundingClientRect()
                return [x, y, width, height]
            }))
        note()
        lens.update = payload => {
            update(payload)
            given.push({ payload, id: payload.id, draws: payload.draws?.count ?? 0 })
            note()
        }
        return lens
    } }
} })
"""
GUIDE_SEEN = "localStorage.setItem('drople-lens-guide', 'seen')"


class CountingStudio(Studio):
    """The studio of the page as it ships: it counts what it is asked, and can be held up."""

    def __init__(self):
        super().__init__("cpu")
        self.asked = 0  # analyses wanted so far, remembered ones too
        self.turns = 0  # pieces of long work so far
        self.pace = 0.0  # seconds that each piece takes beside its work
        self.free = threading.Event()  # while not set, nothing is computed
        self.free.set()

    def analyse(self, *question):
        self.asked += 1
        self.free.wait()
        return super().analyse(*question)

    def in_turn(self, work):
        self.turns += 1
        time.sleep(self.pace)
        self.free.wait()
        return super().in_turn(work)


@pytest.fixture(scope="session")
def site(tmp_path_factory):
    """The running app: its url and its studio."""
    folder = tmp_path_factory.mktemp("site")
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("GRADIO_TEMP_DIR", str(folder / "gradio"))
        environment.setenv("NO_PROXY", "127.0.0.1,localhost")
        studio = CountingStudio()
        demo = build_demo(studio)
        _, url, _ = launch(demo, prevent_thread_lock=True, quiet=True)
        yield SimpleNamespace(url=url, studio=studio)
        demo.close()


@pytest.fixture
def held(site):
    """Lets nothing be computed until the end, or until `set`."""
    site.studio.free.clear()
    yield site.studio.free
    site.studio.free.set()


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
        self.contexts = {}

    def arrive(self, width=1280, scheme="light", query="", answered=True, guide=False):
        """Opens the page as a visitor, new where `guide`, and waits for an answer to come."""
        key = width, scheme, guide
        if key not in self.contexts:
            # One for each kind of screen, so that scripts are fetched and compiled once.
            context = self.chromium.new_context(
                viewport={"width": width, "height": 800},
                reduced_motion="reduce",
                color_scheme=scheme,
            )
            context.set_default_timeout(PATIENCE)
            context.on("request", self.see)
            context.add_init_script(WITNESS)
            if not guide:
                context.add_init_script(GUIDE_SEEN)
            self.contexts[key] = context
        page = self.contexts[key].new_page()
        page.on("console", self.note)
        page.on("pageerror", lambda error: self.problems.append(f"page: {error}"))
        page.goto(self.url + query)
        if answered:
            page.locator(SHOWN).wait_for()
        return page

    def see(self, request):
        if self.elsewhere.match(request.url):
            self.problems.append(f"asked for {request.url}")

    def note(self, message):
        # Gradio (6.31) cancels what it has just sent before it knows its name, and is refused.
        unnamed = message.location["url"].endswith(("/cancel", "/reset"))
        if message.type == "error" and not unnamed:
            self.problems.append(f"console: {message.text}")

    def leave(self):
        """Closes all pages and forgets what the browser kept."""
        for context in self.contexts.values():
            for page in context.pages:
                page.evaluate("localStorage.clear()")
                page.close()

    def close(self):
        for context in self.contexts.values():
            context.close()


@pytest.fixture(scope="session")
def visitors(chromium, site):
    """All who come to work."""
    visitors = Visitors(chromium, site.url)
    yield visitors
    visitors.close()


@pytest.fixture
def visit(visitors):
    """Opens the page for a new visitor: no error on it, no request from it to another host."""
    visitors.problems.clear()
    yield visitors.arrive
    problems = list(visitors.problems)  # before leaving, which cuts off what is still asked for
    visitors.leave()
    assert problems == []


@pytest.fixture(scope="session")
def regular(chromium, site):
    """A visitor who leaves the settings alone, and all that went wrong."""
    visitors = Visitors(chromium, site.url)
    yield visitors.arrive(), visitors.problems
    visitors.close()


@pytest.fixture
def stay(regular):
    """The page of a visitor who stays, back at the first example."""
    page, problems = regular
    start_over(page)
    yield page
    assert problems == []


@pytest.fixture(scope="session")
def onlookers(chromium, site):
    """Visitors who only look around in the example; one for each kind of screen."""
    visitors, pages = Visitors(chromium, site.url), {}

    def look(**screen):
        key = tuple(screen.items())
        if key not in pages:
            pages[key] = visitors.arrive(**screen)
            come_to_rest(pages[key])
        return pages[key]

    yield look, visitors.problems
    visitors.close()


@pytest.fixture
def look(onlookers):
    """The example on a kind of screen, as the last test left it: to look, not to compute."""
    look, problems = onlookers
    yield look
    assert problems == []
