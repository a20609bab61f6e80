"""The overview: in one look, at once, and by every hand."""

from __future__ import annotations

import re

import numpy as np
import pytest
from decoding import decoded
from steps import (
    CANVAS,
    ROWS,
    SAID,
    answer,
    expect,
    requests_of,
    state,
    wait_for_draws,
)
from steps import look as looking

# Pandas warns Gradio, in the threads of the server.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:gradio")
PANELS = ("says", "matters", "dropped", "looks")
IN_THE_FOLD = ("#bar", ".answer", *(f".panel.{one}" for one in PANELS), ".strip", ".foot")
# The colour in the middle of a patch.
PIXEL = """(canvas, [row, column, side]) => {
    const at = one => Math.floor((one + .5) / side * canvas.width)
    return [...canvas.getContext("2d").getImageData(at(column), at(row), 1, 1).data]
}"""
# How many colours a picture has.
COLOURS = """canvas => new Set(new Uint32Array(canvas.getContext("2d")
    .getImageData(0, 0, canvas.width, canvas.height).data.buffer)).size"""
# Where the keys are, in words; whether that can be seen.
FOCUS = """() => {
    const one = document.activeElement, look = getComputedStyle(one)
    const outlined = look.outlineStyle !== "none" && parseFloat(look.outlineWidth) > 0
    const name = one.getAttribute("aria-label") ?? one.innerText ?? ""
    return { id: one.closest("[id]:not(input, textarea)")?.id ?? "", name: name || one.tagName,
        tag: one.tagName, seen: outlined || look.boxShadow !== "none" || one.tagName === "BODY" }
}"""


def test_nothing_lies_below_the_fold(look):
    page = look()
    for part in IN_THE_FOLD:
        box = page.locator(part).first.bounding_box()
        assert box["height"] > 10, part
        assert box["y"] >= 0, part
        assert box["y"] + box["height"] <= 800, part
        assert box["x"] + box["width"] <= 1280, part


def choose(name, value):
    return lambda page: page.get_by_label(name, exact=True).select_option(value)


def slide(name, value):
    return lambda page: page.get_by_label(name, exact=True).fill(value)


def press(*keys):
    def act(page):
        page.locator("#overview .drople-lens").focus()
        for key in keys:
            page.keyboard.press(key)

    return act


def click(selector):
    return lambda page: page.locator(selector).click()


def text(words, part="#overview"):
    return lambda page: page.locator(part).get_by_text(words, exact=True).click()


# Each control of the overview with what it moves, in an order in which each does move it.
CONTROLS = {
    "the slider of layers": (slide("Layer", "2"), {"layer": 1}),
    "the next layer": (click("[aria-label='Next layer']"), {"layer": 2}),
    "the layer before": (click("[aria-label='Layer before']"), {"layer": 1}),
    "the film strip": (click(".cell-layer >> nth=4"), {"layer": 4}),
    "brackets": (lambda page: page.keyboard.press("["), {"layer": 3}),
    "arrow keys": (press("ArrowDown"), {"class": "bird"}),
    "a class's row": (click(f"{ROWS} >> nth=2"), {"class": "dog"}),
    "the list of classes": (choose("Class", "rabbit"), {"class": "rabbit"}),
    "the signal": (choose("Signal", "s_cls"), {"signal": "s_cls"}),
    "the branch": (text("Frozen", ".field.branch"), {"branch": "frozen"}),
    "the draw": (choose("Draw", "3"), {"draw": 3}),
    "all draws": (choose("Draw", "all"), {"draw": "all"}),
    "the overlay": (slide("Overlay", "40"), {"opacity": 0.4}),
    "reading a layer": (click(".says [data-value=layer]"), {"read": "layer"}),
    "reading the last": (click(".says [data-value=last]"), {"read": "last"}),
    "what if ranked": (text("What if ranked (ours)"), {"ranked": True}),
    "how often one drops": (click(".dropped [data-value=b]"), {"shows": "b"}),
    "the difference": (click(".dropped [data-value=difference]"), {"shows": "difference"}),
    "less the mean": (text("less the mean"), {"centred": True}),
    "wipe": (click(".looks [data-value=wipe]"), {"wipe": ["iwtd", "vanilla"]}),
    "one side of wipe": (choose("Left of the line", "frozen"), {"wipe": ["frozen", "vanilla"]}),
    "the line of wipe": (slide("Line between the two maps", "20"), {}),
    "no wipe": (click(".looks [data-value=all]"), {"wipe": None}),
}


def test_no_control_of_the_overview_asks_the_server(look):
    page = look()
    asked = requests_of(page)
    for name, (act, moved) in CONTROLS.items():
        before = state(page)
        act(page)
        after = state(page)
        changed = {key: value for key, value in after.items() if value != before[key]}
        assert changed == moved, name
    page.locator(CANVAS.format("matters")).hover()
    expect(page.locator(".drople-lens .card")).to_contain_text("Times an even share")
    page.locator(CANVAS.format("matters")).click()
    expect(page.locator(".drople-lens .drawer h2")).to_contain_text("over all layers")
    page.keyboard.press("Escape")
    expect(page.locator(".drople-lens .drawer")).to_be_hidden()
    page.wait_for_timeout(500)  # for what might be asked a little later
    assert asked == []


def test_nothing_moves_when_a_result_or_its_draws_arrive(stay):
    stay.evaluate("places.splice(0, places.length - 1)")
    answer(stay, "walrus, teapot, cat")
    wait_for_draws(stay)
    places = np.array(stay.evaluate("places"))
    assert len(places) >= 4  # before, the result, draws
    assert np.abs(places - places[0]).max() <= 2


def test_colours_are_those_of_the_numbers(look):
    page = look()
    looking(page, layer=4, signal="blend", branch="adapted", opacity=1, ranked=False, draw="all")
    payload = page.evaluate("given.at(-1).payload")
    side, count = payload["grid"][0], payload["grid"][0] ** 2
    shares = decoded(payload["importance"]["adapted"]["blend"])[4]
    times = shares * np.isfinite(shares).sum()
    top = float(page.locator(".matters .ends span").last.inner_text()[:-1].strip("≥ "))
    outlined = np.argsort(-np.nan_to_num(times))[:10]
    plain = [i for i in np.argsort(times[:count]) if i not in outlined]
    for patch in (plain[0], plain[count // 2], plain[-1]):
        place = [int(patch) // side, int(patch) % side, side]
        seen = page.locator(CANVAS.format("matters")).evaluate(PIXEL, place)
        assert np.abs(np.array(seen[:3]) - cividis(times[patch] / top)).max() <= 6, patch


def cividis(share):
    """The colour (RGB, 0-255) of a share of the scale, between 17 of matplotlib's."""
    from matplotlib import colormaps

    return np.array(colormaps["cividis"](min(float(share), 1.0))[:3]) * 255


def test_signed_maps_turn_at_zero(look):
    page = look()
    looking(page, layer=4, opacity=1, ranked=False, draw="all")
    payload = page.evaluate("given.at(-1).payload")
    side = payload["grid"][0]
    values = decoded(payload["draws"]["summary"]["difference"])[4][: side**2]
    for patch, warm in ((np.nanargmin(values), False), (np.nanargmax(values), True)):
        place = [int(patch) // side, int(patch) % side, side]
        red, _, blue, _ = page.locator(CANVAS.format("dropped")).first.evaluate(PIXEL, place)
        assert (red > blue) == warm


def test_the_card_of_a_token_that_is_gone_says_so(look):
    page = look()
    looking(page, layer=5, draw=1, ranked=False, signal="blend", branch="adapted")
    canvas = page.locator(CANVAS.format("dropped")).first
    gone = page.evaluate("""() => {
        const { draws, pair } = given.at(-1).payload
        return { draws, pair }
    }""")
    batch = gone["draws"]["batches"][0]
    may = decoded(batch["eligible"][gone["pair"][0]])[0, 5]
    side = page.evaluate("given.at(-1).payload.grid[0]")
    patch = int(np.flatnonzero(~may[: side**2].astype(bool))[0])
    box = canvas.bounding_box()
    at = [(patch % side + 0.5) / side * box["width"], (patch // side + 0.5) / side * box["height"]]
    canvas.hover(position={"x": at[0], "y": at[1]})
    expect(page.locator(".drople-lens .card")).to_contain_text("dropped earlier")
    page.locator(".drople-lens .matters .prompts .cell").first.hover()
    expect(page.locator(".drople-lens .card")).to_contain_text("Times an even share")
    looking(page, draw="all")


def test_keys_alone_lead_to_the_decisions_that_differ(visit):
    page = visit()

    def tab_to(wanted, limit=70):
        for _ in range(limit):
            page.keyboard.press("Tab")
            at = page.evaluate(FOCUS)
            assert at["seen"], at
            if wanted(at):
                return at
        raise AssertionError(f"not reached; the keys are at {at}")

    tab_to(lambda at: at["id"] == "photo-button")
    page.keyboard.press("Enter")
    tab_to(lambda at: at["name"].startswith("dog"))
    page.keyboard.press("Enter")
    page.wait_for_function("given.at(-1).payload.classes[0] === 'dog'")
    tab_to(lambda at: at["name"] == "Layer")
    page.keyboard.press("Home")
    for _ in range(4):
        page.keyboard.press("ArrowRight")
    assert state(page)["layer"] == 4
    tab_to(lambda at: at["name"].startswith("Share of draws in which exactly one"))
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowRight")
    expect(page.locator(".drople-lens .card")).to_contain_text("row 1, column 2, layer 5")
    expect(page.locator(".drople-lens .live")).to_contain_text("Exactly one drops it")


def test_a_result_is_pinned_beside_the_next(stay):
    asked, said = requests_of(stay), stay.locator(SAID).inner_text()
    pin = stay.get_by_role("button", name="Pin this result")
    pin.press("Enter")
    pinned = stay.locator(".drople-lens.pinned")
    expect(stay.get_by_role("button", name="Pinned below")).to_be_visible()
    expect(pinned.locator(".said")).to_have_text(said)
    expect(pinned.locator(".panel")).to_have_count(4)
    looking(stay, layer=2, draw="all", **{"class": "dog"})
    pinned.get_by_role("radio", name=re.compile("^rabbit")).click()
    assert state(stay)["class"] == "rabbit"
    for part in (".panel.matters header .soft", ".panel.looks .note"):
        expect(pinned.locator(part)).to_have_text(stay.locator(part).first.inner_text())
    stay.keyboard.press("]")  # once, though both hear it
    assert state(stay)["layer"] == 3
    assert [url for url in asked if "queue/join" in url] == []
    answer(stay, "walrus, rabbit, teapot")
    expect(pinned.locator(".said")).to_have_text(said)
    pinned.get_by_role("radio", name=re.compile("^horse")).click()
    expect(pinned.locator("[aria-checked=true].class-row")).to_contain_text("horse")
    assert state(stay)["class"] == "rabbit"  # the new classes have no horse
    stay.keyboard.press("Shift+Tab")
    pinned.get_by_role("button", name="Unpin").press("Enter")
    expect(pinned).to_have_count(0)
    expect(pin).to_be_focused()


def test_layers_and_classes_are_announced(look):
    page = look()
    looking(page, layer=2, **{"class": "bird"})
    press("ArrowRight")(page)
    live = page.locator(".drople-lens .live")
    expect(live).to_have_text(
        re.compile(
            "^Class looked at: bird. After layer 4, by All signals .* Adapted, most important: "
            ".* decisions differ.$"
        )
    )
    page.locator(".field.branch").get_by_text("Frozen", exact=True).click()
    expect(live).to_have_text(re.compile("by All signals .* Frozen, most important: "))


def test_the_guide_leads_a_newcomer_through_five_steps(visit):
    page = visit(guide=True)
    guide = page.locator(".drople-lens .guide")
    expect(guide).to_be_hidden()
    layer = page.locator(".drople-lens .field.layer input")
    before = layer.input_value()
    page.get_by_role("button", name="New here? Take the five-step guide").click()
    for step in ("Says", "Matters", "Dropped", "Where they differ", "Looks at"):
        expect(guide.locator("h2")).to_have_text(step)
        assert page.locator(".drople-lens .pointed").count() == 1
        guide.get_by_role("button", name=re.compile("Next|Done")).click()
    expect(guide).to_be_hidden()
    assert layer.input_value() == before
    page.locator(".drople-lens .help").click()
    expect(guide).to_be_visible()
    page.keyboard.press("Escape")
    expect(guide).to_be_hidden()
    assert page.evaluate("localStorage.getItem('drople-lens-guide')") == "seen"


def test_without_prompts_dropouts_are_compared_on_the_frozen_branch(visit):
    page = visit(query="?example=dog&prompts=none")
    wait_for_draws(page)
    expect(page.locator(".drople-lens .chips")).to_contain_text("no prompts loaded: our choice")
    expect(page.locator(SAID)).to_contain_text("IWTD decides like vanilla dropout")
    expect(page.locator(".drople-lens .map-over:not([hidden])")).to_have_count(0)
    for panel in ("dropped", "looks"):
        for canvas in page.locator(CANVAS.format(panel)).filter(visible=True).all():
            assert canvas.evaluate(COLOURS) > 10, panel
    expect(page.locator(".panel.dropped .sentence")).to_contain_text("decisions differ")
