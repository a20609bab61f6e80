"""What a visitor takes along, and what the browser keeps."""

from __future__ import annotations

import io
import re
import zipfile

import pytest
from PIL import Image
from steps import (
    CLASSES,
    SAID,
    expect,
    open_tab,
    state,
    take_example,
    wait_for_draws,
)
from steps import look as looking

# Pandas warns Gradio, in the threads of the server.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:gradio")
# Every control of the form with its value.
FORM = """() => [...document.querySelectorAll(
    "#classes textarea, #prompts input, #settings-panel :is(textarea, input:not([type=range]))")]
    .map(one => {
        const name = one.getAttribute("aria-label") ?? one.closest("label")?.textContent
        const choice = ["radio", "checkbox"].includes(one.type)
        return `${choice ? name.slice(0, 20) : name}: ${choice ? one.checked : one.value}`
    })"""
SLIDERS = {
    "p_min, of the most important token": "0.2",
    "p_max, of the least important token": "0.6",
    "Vanilla's own p": "0.4",
    "weight of s_self": "2",
    "weight of s_cls": "0.5",
    "weight of s_cross": "1.5",
}
LOOKED = {"layer": 2, "signal": "s_cls", "class": "dog", "draw": 3, "opacity": 0.4,
          "branch": "frozen", "read": "layer"}  # fmt: skip
PIXELS = """() => [...document.querySelectorAll(".panel canvas:not(.ramp)")]
    .filter(one => one.clientWidth).map(one => one.toDataURL())"""


def pick(page, elem_id, option):
    """Chooses an option of a dropdown of the form."""
    page.locator(f"#{elem_id} input").click()
    # The list of the control before may still be closing.
    page.get_by_role("option", name=option, exact=True).last.click()


def test_a_link_brings_every_control_back(visit):
    page = visit()
    take_example(page, "dog")
    first = page.evaluate(FORM)
    page.locator("#settings-button").click()
    expect(page.locator("#settings-panel")).to_be_visible()
    pick(page, "compare-b", "s_cls alone")
    pick(page, "compare-a", "Vanilla dropout")
    wait_for_draws(page, LOOKED["draw"])
    looking(page, **LOOKED)
    pick(page, "prompts", "imagenette-drople")
    page.locator(CLASSES).fill("dog, cat, truck")
    page.locator("#settings-button").click()
    for name, value in SLIDERS.items():
        page.get_by_label(f"number input for {name}").fill(value)
        page.keyboard.press("Tab")
    for name in ("zero_scaled", "post", "Grad-CAM++"):
        page.get_by_label(name, exact=True).check()
    page.get_by_label("Both at one mean rate").uncheck()
    page.get_by_label("Drop text prompts too").check()
    page.get_by_label("Maps at the input of block").fill("11")
    page.locator("#seed input").fill("3")
    page.locator("#template textarea").fill("a picture of a {}.")
    page.keyboard.press("Escape")
    open_tab(page, "Save")
    page.locator("#copy-link").click()
    link = page.locator("#link textarea, #link input")
    expect(link).to_have_value(re.compile("template=a"))
    wanted = page.evaluate(FORM)
    alone = [one for one in wanted if one in first]
    assert all(": false" in one or "Backbone" in one for one in alone), alone  # all else was moved

    other = visit(query="?" + link.input_value().partition("/?")[2])
    expect(other.locator("#seed input")).to_have_value("3")
    assert other.evaluate(FORM) == wanted
    wait_for_draws(other, LOOKED["draw"])
    kept = state(other)
    assert {name: kept[name] for name in LOOKED} == LOOKED


@pytest.mark.parametrize("path", [["Text"], ["Trained with"], ["Lab", "Rate curve"]])
def test_a_link_leads_to_the_tab_it_was_made_for(visit, path):
    page = visit()
    for name in path:
        open_tab(page, name)
    open_tab(page, "Save")
    page.locator("#copy-link").click()
    link = page.locator("#link textarea, #link input")
    expect(link).to_have_value(re.compile("look-tab="))
    other = visit(query="?" + link.input_value().partition("/?")[2], answered=False)
    for name in path:
        tab = other.get_by_role("tab", name=name, exact=True)
        expect(tab).to_have_attribute("aria-selected", "true")
    shown = {"Text": "#texts-strips .lens-cell", "Trained with": "#trained-note",
             "Lab": "#rates-note"}[path[0]]  # fmt: skip
    expect(other.locator(shown).first).to_be_visible()
    expect(other.locator(shown).first).not_to_be_empty()
    page.locator(CLASSES).fill("walrus, teapot")  # the link is of former settings now
    expect(page.locator("#link")).to_be_hidden()


def test_a_link_made_for_an_uploaded_picture_asks_for_it(visit):
    page = visit(query="?classes=walrus%2C+teapot", answered=False)
    expect(page.locator(SAID)).to_contain_text("but not the picture they were for")
    expect(page.locator(CLASSES)).to_have_value("walrus, teapot")


def test_the_browser_keeps_the_settings_until_they_are_reset(visit):
    page = visit()
    page.locator("#settings-button").click()
    page.locator("#seed input").fill("4")
    page.locator("#run").click()
    expect(page.locator("#overview .foot")).to_contain_text(re.compile("seeds? 4"))
    page.close()
    page = visit()
    expect(page.locator("#overview .foot")).to_contain_text(re.compile("seeds? 4"))
    expect(page.locator("#seed input")).to_have_value("4")
    open_tab(page, "Save")
    page.locator("#reset").click()
    expect(page.locator("#seed input")).to_have_value("0")


def test_a_tab_is_saved_as_pictures_and_tables(look):
    page = look()
    open_tab(page, "Lab")
    with page.expect_download() as saved:
        page.locator("#save-choice-and-sinks").click()
    open_tab(page, "Overview")
    with zipfile.ZipFile(saved.value.path()) as packed:
        contents = {name.rpartition(".")[2]: packed.read(name) for name in packed.namelist()}
    assert contents["png"].startswith(b"\x89PNG")
    assert contents["svg"].startswith(b"<svg")
    assert contents["csv"].startswith(b"normalisation,")


@pytest.mark.parametrize("panel", ["says", "matters", "dropped", "looks"])
def test_a_panel_is_saved_as_it_is_seen(look, panel):
    page = look()
    node = page.locator(f".panel.{panel}")
    node.hover()
    for kind in ("SVG", "PNG"):
        with page.expect_download() as saved:
            node.get_by_role("button", name=kind).click()
        content = saved.value.path().read_bytes()
        assert content.startswith(b"<svg" if kind == "SVG" else b"\x89PNG")
        assert kind == "PNG" or b"mini@" in content


def test_the_saved_page_shows_the_same_without_network(look, chromium, tmp_path):
    page = look()
    looking(page, layer=3, draw="all", wipe=None, centred=False, ranked=False, opacity=0.75,
            signal="blend", branch="adapted", read="last", **{"class": "cat"})  # fmt: skip
    answer, pixels = page.locator(SAID).inner_text(), page.evaluate(PIXELS)
    open_tab(page, "Save")
    with page.expect_download() as saved:
        page.locator("#take-away").click()
    open_tab(page, "Overview")
    with zipfile.ZipFile(saved.value.path()) as packed:
        name = next(name for name in packed.namelist() if name.endswith(".html"))
        packed.extract(name, tmp_path)
        panels = {one.rpartition("-")[2]: packed.read(one) for one in packed.namelist()}
    for panel in ("says", "matters", "dropped", "looks"):
        assert b"layer 4 " in panels[f"{panel}.svg"], panel  # what is in it, and where it looks
        assert Image.open(io.BytesIO(panels[f"{panel}.png"])).width > 300, panel
    assert panels["matters.svg"].count(b"<image") >= 2  # a map and its colours
    assert b"Over 32 draws, after layer 4" in panels["dropped.svg"]
    context = chromium.new_context(viewport={"width": 1280, "height": 800}, offline=True)
    alone, asked = context.new_page(), []
    alone.on("request", lambda one: asked.append(one.url))
    alone.goto(f"file://{tmp_path / name}")
    alone.locator(".drople-lens.filled").wait_for()
    expect(alone.locator(".said")).to_have_text(answer)
    alone.wait_for_function(f"wanted => ({PIXELS})().join() === wanted.join()", arg=pixels)
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []
    context.close()
