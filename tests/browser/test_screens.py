"""Every screen, every hand, everyone (axe-core)."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image
from steps import CANVAS, TABS, expect, open_tab

# Pandas warns Gradio, in the threads of the server.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:gradio")
# Gradio's own, which cannot be mended from outside: an empty output's name, and the upload
# button's, which is not the text it shows. The overview is ours and has no exception.
KNOWN = {"aria-prohibited-attr", "label-content-name-mismatch"}
AXE = """async () => {
    const { violations } = await axe.run(document, { resultTypes: ["violations"] })
    return violations.flatMap(({ id, nodes }) => nodes.map(({ target, html }) => {
        const ours = document.querySelector(target[0])?.closest(".drople-lens")
        return [id, Boolean(ours), html.slice(0, 160)]
    }))
}"""


def test_a_phone_shows_everything_without_scrolling_sideways(look):
    page = look(width=360)
    for name in TABS:
        open_tab(page, name)
        assert page.evaluate("document.documentElement.scrollWidth") <= 360, name
    open_tab(page, "Overview")


def test_on_a_phone_maps_are_as_wide_as_the_screen(look):
    page = look(width=360)
    for panel in ("matters", "dropped", "looks"):
        for canvas in page.locator(CANVAS.format(panel)).filter(visible=True).all():
            assert canvas.bounding_box()["width"] >= 328, panel


def test_on_a_phone_the_controls_stay_at_the_bottom(look):
    page = look(width=360)
    page.evaluate("scrollTo(0, 900)")
    box = page.locator(".drople-lens .controls").bounding_box()
    assert box["y"] > 600
    assert box["y"] + box["height"] <= 800
    page.get_by_label("Next layer").click()
    page.locator(".drople-lens .more").click()
    expect(page.get_by_label("Overlay", exact=True)).to_be_visible()
    page.locator(".drople-lens .more").click()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_tab_has_its_contrast(look, scheme, tmp_path):
    page = look(scheme=scheme)
    for name in TABS:
        open_tab(page, name)
        shot = tmp_path / f"{scheme}-{name.replace(' ', '-')}.png"
        page.screenshot(path=shot)
        darkest, lightest = Image.open(shot).convert("L").getextrema()
        assert lightest - darkest > 200, name
    open_tab(page, "Overview")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_barrier(look, scheme):
    package = pytest.importorskip("axe_playwright_python", reason="needs axe-playwright-python")
    page = look(scheme=scheme)
    page.evaluate((Path(package.__file__).parent / "axe.min.js").read_text())

    def click(selector):
        return lambda: page.locator(selector).first.click()

    def escape():
        return page.keyboard.press("Escape")

    states = {
        **{name: (lambda name=name: open_tab(page, name), lambda: None) for name in TABS},
        "overview": (lambda: open_tab(page, "Overview"), lambda: None),
        "wipe": (click("[data-value=wipe]"), click(".looks [data-value=all]")),
        "drawer": (click(CANVAS.format("matters")), escape),
        "guide": (click(".drople-lens .help"), escape),
        "pinned": (click("text=Pin this result"), click("text=Unpin")),
        "photo": (click("#photo-button"), escape),
        "settings": (click("#settings-button"), escape),
    }
    barriers = []
    for name, (begin, end) in states.items():
        begin()
        page.wait_for_timeout(250)  # colours fade in
        found = page.evaluate(AXE)
        barriers += [(name, *one) for one in found if one[1] or one[0] not in KNOWN]
        end()
    assert not barriers, "\n".join(map(str, barriers))
