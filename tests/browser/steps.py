"""What a visitor does on the page, and where its parts are."""

from __future__ import annotations

import re

import pytest

expect = pytest.importorskip("playwright.sync_api", reason="needs playwright").expect

# What a tab shows first of all, once it is drawn.
TABS = {
    "Predictions": ["#predictions-plot .scatterlayer .point"],
    "Token importance": [
        "#importance-plot .heatmaplayer image",
        "#strip img",
        "#importance-prompts .lens-cell",
        "#importance-words .lens-cell",
    ],
    "Dropped tokens": ["#drop-vanilla img", "#drop-iwtd img"],
    "Grad-CAM": ["#cam-frozen img", "#cam-adapted img", "#cam-vanilla img", "#cam-iwtd img"],
    "Lab": ["#lab button"],
    "Method": [".lens-method h2"],
}
LABELS = "#predictions-plot .yaxislayer-above text"
MAP = "document.querySelector('#importance-plot .js-plotly-plot')?._fullData?.[0]?.z?.toString()"


def open_tab(page, name):
    """Opens a tab; on a narrow screen it may wait behind a menu."""
    tab = page.get_by_role("tab", name=name, exact=True)
    if tab.is_visible():
        tab.click()
    else:
        page.get_by_label("More tabs").click()
        page.locator(".overflow-dropdown").get_by_text(name, exact=True).click()
    expect(tab).to_have_attribute("aria-selected", "true")
    expect(page.locator(TABS[name][0]).first).to_be_visible()


def start_over(page):
    """Back to the page's first tab and example, with what was said put away."""
    for close in page.locator(".toast-close").all():
        close.click()
    open_tab(page, "Predictions")
    page.locator("#examples").get_by_text("cat and canary", exact=True).click()
    expect(page.locator("#answer")).to_contain_text("Precomputed example.")
    expect(page.locator(LABELS)).to_have_count(6)
    expect(page.locator("#classes textarea")).to_have_value(re.compile("^cat, bird, "))


def come_to_rest(page):
    """Waits until the page asks the server for nothing more, for a minute at most."""
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    for _ in range(30):
        before = len(asked)
        page.wait_for_timeout(2000)
        if len(asked) == before:
            return
    raise AssertionError(f"The page goes on asking: {asked[-3:]}")


def analyse(page, classes):
    """Writes a class list and presses Analyse."""
    page.locator("#classes textarea").fill(classes)
    page.locator("#run").click()


def upload(page, path):
    page.locator("#image input[type=file]").set_input_files(path)
    expect(page.locator("#image img")).to_be_visible()
