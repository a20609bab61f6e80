"""Writes tests/app/requests.txt, what a visit asks the app for: `python tests/browser/record.py`.

A visit is the page with all its tabs and files, a program that calls it, and what a Space asks.
"""

from __future__ import annotations

import re
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

from playwright.sync_api import Page, expect, sync_playwright

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent), str(HERE.parents[1])]

from conftest import CHROMIUM, FLAGS, GUIDE_SEEN, WITNESS  # noqa: E402
from gradio_client import Client, handle_file  # noqa: E402
from serving import visitor  # noqa: E402
from starlette.middleware import Middleware  # noqa: E402
from steps import TABS, answer, open_tab, take_example, upload, wait_for_draws  # noqa: E402
from test_visit import LAB  # noqa: E402
from tiny import noise_picture  # noqa: E402

from app.demo import build_demo, launch  # noqa: E402
from app.hardening import App, Message, Receive, Scope, Send, middleware  # noqa: E402
from app.studio import Studio  # noqa: E402

PATIENCE = 400_000  # milliseconds, for a machine with other work
WHERE = HERE.parent / "app" / "requests.txt"
# Of Hugging Face: whether the app is up, what it can do for agents; of what browsers and crawlers
# ask any site for.
SPACE = (
    "GET /", "HEAD /", "GET /config", "GET /gradio_api/info", "GET /manifest.json",
    "GET /robots.txt", "GET /favicon.ico",
)  # fmt: skip
# What differs from visit to visit, by what stands for it.
CHANGING = (
    (r"(/gradio_api/file=).*/", r"\1/FOLDER/0/"),
    (r"(/gradio_api/heartbeat/).*", r"\1session"),
    (r"(/gradio_api/call/(v2/)?\w+/)[0-9a-f]{32}", r"\1event"),
    (r"^(\w+ /(?:assets|static|svelte)/).*(\.\w+)$", r"\1name\2"),
)


class Recorder:
    """ASGI middleware that notes method and path of each request that was not refused."""

    def __init__(self, app: App, seen: set[str]):
        self.app, self.seen = app, seen

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def answered(message: Message) -> None:
            # The panel on the API asks for what there is only where its owner watches or has MCP.
            if message["type"] == "http.response.start" and message["status"] < 400:
                self.seen.add(f"{scope['method']} {scope['path']}")
            await send(message)

        await self.app(scope, receive, answered)


def visit(page: Page, url: str, folder: Path) -> None:
    """Looks at everything, computes what can be computed in a moment, and saves all of it."""
    page.goto(url)
    page.locator("#overview .drople-lens.filled").wait_for()
    take_example(page, "pizza")
    noise_picture(300, 240).save(folder / "own picture.png")
    upload(page, folder / "own picture.png")
    answer(page, "walrus, teapot")
    wait_for_draws(page, 2)
    page.locator("#stop").click()
    for name in TABS:
        open_tab(page, name)
        if name == "Batch":
            page.locator("#batch-files input[type=file]").set_input_files(
                folder / "own picture.png"
            )
            expect(page.locator("#batch-files")).to_contain_text("own picture")
            page.locator("#batch-run").click()
            expect(page.locator("#batch-note")).to_contain_text("1 of 1 pictures.")
        if name == "Lab":
            for one in LAB:
                open_tab(page, one)
                page.wait_for_timeout(1500)
        for button in (
            page.locator("#save-text, #batch-save, #take-away").filter(visible=True).all()
        ):
            with page.expect_download():
                button.click()
    open_tab(page, "Overview")
    page.get_by_role("button", name="Use via API").click()
    page.wait_for_timeout(3000)
    page.goto(f"{url}?view=api&__theme=dark")
    page.wait_for_timeout(3000)


def call(url: str, folder: Path) -> None:
    """Calls the app as a program would."""
    client = Client(url, verbose=False)
    client.view_api(print_info=False)
    client.predict(
        image=handle_file(folder / "own picture.png"), classes="walrus, teapot", backbone="mini",
        prompts="none", seed=0, api_name="/analyse",
    )  # fmt: skip
    client.submit(api_name="/options").cancel()
    with visitor(url) as http:  # as the panel on the API tells users of curl
        for name, given in (("options", {"data": []}), ("v2/options", {})):
            asked = http.post(f"gradio_api/call/{name}", json=given).json()
            http.get(f"gradio_api/call/{name}/{asked['event_id']}").raise_for_status()


def plain(requests: Iterable[str]) -> list[str]:
    """Requests without what differs from visit to visit, sorted, each once."""
    found = set()
    for one in requests:
        for pattern, stand_in in CHANGING:
            one = re.sub(pattern, stand_in, one)
        found.add(one)
    return sorted(found)


def main() -> None:
    """Makes the visit and writes it down."""
    seen: set[str] = set(SPACE)
    expect.set_options(timeout=PATIENCE)
    demo = build_demo(Studio("cpu", own_files=False))
    front = [Middleware(Recorder, seen), *middleware()]
    _, url, _ = launch(demo, prevent_thread_lock=True, quiet=True, app_kwargs={"middleware": front})
    with tempfile.TemporaryDirectory() as name, sync_playwright() as running:
        browser = running.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        page.set_default_timeout(PATIENCE)
        page.add_init_script(WITNESS)
        page.add_init_script(GUIDE_SEEN)
        page.on("response", lambda one: one.status >= 400 and print(one.status, one.url))
        visit(page, url, Path(name))
        browser.close()
        call(url, Path(name))
    demo.close()
    WHERE.write_text("\n".join(plain(seen)) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
