"""Every screen, every hand, everyone (axe-core)."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image
from steps import TABS, expect, open_tab

# Pandas warns Gradio, in the threads of the server.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:gradio")
# The contrast (WCAG 2.2) of an element's text with the nearest ground that is not clear.
CONTRAST = """element => {
    const parts = colour => colour.match(/[\\d.]+/g).map(Number)
    const light = colour => parts(colour).slice(0, 3).map(c => c / 255)
        .map(c => c <= .04045 ? c / 12.92 : ((c + .055) / 1.055) ** 2.4)
        .reduce((sum, c, i) => sum + c * [.2126, .7152, .0722][i], 0)
    let ground = element
    const clear = one => (parts(getComputedStyle(one).backgroundColor)[3] ?? 1) === 0
    while (ground.parentElement && clear(ground)) ground = ground.parentElement
    const ends = [getComputedStyle(element).color, getComputedStyle(ground).backgroundColor]
    const [dark, bright] = ends.map(light).sort((a, b) => a - b)
    return (bright + .05) / (dark + .05)
}"""
# Both are Gradio's own and cannot be mended from outside: an empty output's name, and the upload
# button's, which is not the text it shows.
KNOWN = {"aria-prohibited-attr", "label-content-name-mismatch"}


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_tab_shows_its_pictures(look, scheme, tmp_path):
    page = look(scheme=scheme)
    for name, pictures in TABS.items():
        open_tab(page, name)
        for picture in pictures:
            expect(page.locator(picture).first).to_be_visible()
        shot = tmp_path / f"{scheme}-{name.replace(' ', '-')}.png"
        page.screenshot(path=shot, full_page=True)
        darkest, lightest = Image.open(shot).convert("L").getextrema()
        assert lightest - darkest > 200, name


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_on_a_phone_nothing_is_wider_than_the_screen(look, scheme):
    page = look(width=360, scheme=scheme)
    for name in TABS:
        open_tab(page, name)
        assert page.evaluate("document.documentElement.scrollWidth") <= 360, name


def test_on_a_phone_the_inputs_are_folded_until_asked_for(look):
    page = look(width=360, scheme="light")
    fold = page.get_by_role("button", name="Photograph, classes, settings")
    expect(page.locator("#run")).to_be_hidden()
    fold.click()
    expect(page.locator("#run")).to_be_visible()
    fold.click()
    expect(page.locator("#run")).to_be_hidden()


def test_on_a_desk_the_inputs_are_open(look):
    expect(look().locator("#run")).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_its_ground(look, scheme):
    page = look(scheme=scheme)
    open_tab(page, "Token importance")
    for text in ("[role=tab]", ".lens-chip", ".lens-draw", ".lens-note p", ".lens-foot", "#run"):
        for one in page.locator(text).filter(visible=True).all():
            assert one.evaluate(CONTRAST) >= 4.5, (text, one.inner_text())


def test_everything_can_be_reached_with_the_tab_key(look):
    page = look()
    open_tab(page, "Token importance")
    page.locator("h1").click()  # Tab goes on from there
    wanted = ["image", "classes", "prompts", "run", "target", "tabs", "signal", "branch", "layer"]
    found = []
    for _ in range(60):
        page.keyboard.press("Tab")
        found.append(page.evaluate("document.activeElement.closest('[id]:not(input)')?.id"))
    assert [one for one in dict.fromkeys(found) if one in wanted] == wanted


def test_arrow_keys_move_the_layer(look):
    page = look()
    open_tab(page, "Token importance")
    page.locator("#layer input[type=number]").fill("4")
    expect(page.locator("#importance-note")).to_contain_text("Layer 4,")
    page.locator("#layer input[type=range]").focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator("#importance-note")).to_contain_text("Layer 5,")
    page.keyboard.press("ArrowLeft")
    expect(page.locator("#importance-note")).to_contain_text("Layer 4,")


def test_pictures_are_sent_without_loss_and_with_words(look):
    page = look()
    open_tab(page, "Grad-CAM")
    for name in ("Frozen", "Adapted", "IWTD"):
        picture = page.locator(f"#cam-{name.lower()} img")
        assert picture.get_attribute("src").endswith(".png")
        assert picture.get_attribute("alt").startswith(f"{name}: ")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_barrier(look, scheme):
    package = pytest.importorskip("axe_playwright_python", reason="needs axe-playwright-python")
    page = look(scheme=scheme)
    page.evaluate((Path(package.__file__).parent / "axe.min.js").read_text())
    barriers = []
    for name in TABS:
        open_tab(page, name)
        found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")["violations"]
        barriers += [
            (name, one["id"], node["target"], node["html"][:120])
            for one in found
            if one["id"] not in KNOWN
            for node in one["nodes"]
        ]
    assert barriers == []
