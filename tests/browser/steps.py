"""What a visitor does on the page, and where its parts are."""

from __future__ import annotations

import re

import pytest

expect = pytest.importorskip("playwright.sync_api", reason="needs playwright").expect

SHOWN = "#overview .drople-lens.filled"  # the overview, once it has a result
SAID = "#overview .said"
CLASSES = "#classes textarea"
ROWS = "#overview .class-row"  # of Says
CANVAS = "#overview .{} canvas:not(.ramp)"  # of a panel
# What a tab shows first of all, once it is drawn.
TABS = {
    "Overview": SHOWN,
    "Text": "#texts-strips .lens-cell",
    "Trained with": "#trained-run",
    "Lab": "#meter-plot .scatterlayer .point",
    "Method": ".lens-method h2",
    "Batch": "#batch-run",
    "Save": "#take-away",
}


def open_tab(page, name):
    """Opens a tab of the page or of the lab, and waits for what it shows first."""
    press_tab(page, name)
    if name in TABS:
        expect(page.locator(TABS[name]).filter(visible=True).first).to_be_visible()


def press_tab(page, name):
    """Opens a tab; on a narrow screen it may wait behind a menu."""
    tab = page.get_by_role("tab", name=name, exact=True)
    if tab.is_visible():
        tab.click()
    else:
        page.get_by_label("More tabs").filter(visible=True).last.click()
        page.locator(".overflow-dropdown").get_by_text(name, exact=True).click()
    expect(tab).to_have_attribute("aria-selected", "true")


def start_over(page):
    """Back to the overview of the page's first example and the lab's first view, nothing said."""
    for close in page.locator(".toast-close").all():
        close.click()
    for tab in ("Lab", "Choice and sinks", "Overview"):
        press_tab(page, tab)
    take_example(page, "cat-and-canary")
    expect(page.locator(CLASSES)).to_have_value(re.compile("^cat, bird, "))


def take_example(page, name):
    """Picks an example by its file's name, and waits for its stored answer."""
    before = results(page)
    page.locator("#photo-button").click()
    page.locator(f"#examples button[data-name={name}]").click()
    wait_for_result(page, before)
    expect(page.locator("#overview .chips")).to_contain_text("precomputed example")


def results(page):
    """How many payloads the overview was given so far."""
    return page.evaluate("given.length")


def wait_for_result(page, before):
    """Waits for one more payload than there were before."""
    page.wait_for_function("before => given.length > before", arg=before)


def wait_for_draws(page, count=32):
    """Waits until the result that is shown has so many draws."""
    page.wait_for_function("count => given.at(-1).draws >= count", arg=count)


def analyse(page, classes):
    """Writes a class list and presses Analyse."""
    page.locator(CLASSES).fill(classes)
    page.locator("#run").click()


def answer(page, classes):
    """Analyses, and waits until the classes are those of the overview."""
    analyse(page, classes)
    names = [name.strip() for name in classes.split(",")]
    page.wait_for_function(
        "names => given.at(-1).payload.classes.join() === names.join()", arg=names
    )


def upload(page, path):
    """Gives a picture of one's own."""
    page.locator("#photo-button").click()
    page.locator("#image input[type=file]").set_input_files(path)
    expect(page.locator("#image img")).to_be_visible()
    page.keyboard.press("Escape")


def look(page, **change):
    """Moves the overview to a layer, class, draw... as its controls do."""
    page.evaluate("change => lens.set(change)", change)


def state(page):
    """Where the overview looks."""
    return page.evaluate("lens.state()")


def requests_of(page):
    """A list that grows with what the page asks a server for from now on."""
    asked = []
    page.on("request", lambda one: asked.append(one.url) if one.url.startswith("http") else None)
    return asked


def come_to_rest(page):
    """Waits until the page asks for nothing more."""
    asked = requests_of(page)
    for _ in range(20):
        before = len(asked)
        page.wait_for_timeout(3000)
        if len(asked) == before:
            return
    raise AssertionError(f"The page goes on asking: {asked[-3:]}")
