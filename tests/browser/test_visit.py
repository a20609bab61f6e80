"""What a visitor sees and does, in a real browser."""

from __future__ import annotations

import re

import pytest
from steps import LABELS, MAP, analyse, come_to_rest, expect, open_tab, upload
from tiny import noise_picture

# Pandas warns Gradio, in the threads of the server.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:gradio")


@pytest.fixture
def photo(tmp_path):
    """The path of a picture that no example shows."""
    path = tmp_path / "noise.png"
    noise_picture(300, 240).save(path)
    return path


def test_the_page_opens_with_the_example_and_says_it_is_precomputed(look, site):
    asked = site.studio.asked
    page = look()
    assert site.studio.asked == asked
    expect(page.locator("#answer")).to_contain_text("Precomputed example.")
    expect(page.locator("#answer")).to_contain_text("Adapted: ")
    expect(page.locator(LABELS)).to_have_count(6)
    expect(page.locator("#provenance")).to_contain_text("mini@")


def test_a_visitor_gets_an_answer_for_their_own_picture_and_classes(stay, site, photo):
    asked = site.studio.asked
    upload(stay, photo)
    analyse(stay, "walrus, teapot")
    expect(stay.locator("#answer")).to_contain_text("Frozen: ")
    expect(stay.locator(LABELS)).to_have_count(2)
    for name in ("walrus", "teapot"):
        expect(stay.locator(LABELS).filter(has_text=name)).to_have_count(1)
    assert site.studio.asked == asked + 1


def test_moving_the_layer_changes_the_map_without_the_model(look, site):
    page = look()
    open_tab(page, "Token importance")
    before, asked = page.evaluate(MAP), site.studio.asked
    page.locator("#layer input[type=number]").fill("9")
    expect(page.locator("#importance-note")).to_contain_text("Layer 9,")
    page.wait_for_function(f"before => {MAP} !== before", arg=before)
    assert site.studio.asked == asked


def test_the_page_comes_to_rest_after_a_choice(visit):
    page = visit()
    open_tab(page, "Lab")  # its open tab is drawn with every choice, too
    expect(page.locator("#duel-sheet img")).to_be_visible()
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    page.locator("#target input").click()
    page.get_by_role("option", name="rabbit").click()
    for _ in range(3):
        page.keyboard.press("Tab")
    open_tab(page, "Token importance")
    page.locator("#layer input[type=range]").focus()
    for key in ("ArrowRight", "ArrowLeft", "ArrowRight", "ArrowRight"):
        page.keyboard.press(key)
    expect(page.locator("#importance-note")).to_contain_text("Layer 8,")
    come_to_rest(page)
    assert any("queue/join" in url for url in asked)


def test_clicking_a_tile_enlarges_its_layer(look):
    page = look()
    open_tab(page, "Token importance")
    tiles = page.locator("#strip img")
    box = tiles.bounding_box()
    tiles.click(position={"x": box["width"] * 0.62, "y": box["height"] * 0.5})  # row 2, column 3
    expect(page.locator("#layer input[type=number]")).to_have_value("7")
    expect(page.locator("#importance-note")).to_contain_text("Layer 7,")


def test_another_class_to_look_at_needs_no_model(look, site):
    page = look()
    asked = site.studio.asked
    page.locator("#target input").click()
    page.get_by_role("option", name="rabbit").click()
    expect(page.locator("#predictions-note")).to_contain_text("a photo of a rabbit.")
    assert site.studio.asked == asked


def test_dropped_tokens_follow_the_layer(look, site):
    page = look()
    asked = site.studio.asked
    open_tab(page, "Dropped tokens")
    expect(page.locator("#drop-note")).to_contain_text("After layer 2, one draw")
    page.locator("#drop-layer input[type=number]").fill("12")
    expect(page.locator("#drop-note")).to_contain_text("No dropout acts after layer 12")
    assert site.studio.asked == asked


def test_maps_of_another_layer_are_computed_on_demand(stay, site):
    asked = site.studio.asked
    open_tab(stay, "Grad-CAM")
    stay.locator("#cam-more > button").click()
    stay.locator("#cam-layer input[type=number]").fill("6")
    stay.locator("#cam-compute").click()
    expect(stay.locator("#cam-bar")).to_contain_text("block 6")
    assert site.studio.asked == asked + 1


def test_another_draw_is_another_seed(visit):
    page = visit()
    page.locator("#dropout > button").click()
    page.locator("#again").click()
    expect(page.locator("#seed input")).to_have_value("1")
    expect(page.locator("#answer")).to_contain_text("In this one draw (seed 1)")


def test_an_example_fills_the_form_and_shows_its_own_answer(stay, site):
    asked = site.studio.asked
    stay.locator("#examples").get_by_text("pizza", exact=True).click()
    expect(stay.locator("#classes textarea")).to_have_value(
        "pizza, pie, cake, sandwich, soup, salad"
    )
    expect(stay.locator(LABELS).filter(has_text="sandwich")).to_have_count(1)
    expect(stay.locator("#answer")).to_contain_text("Precomputed example.")
    assert site.studio.asked == asked
    stay.locator("#run").click()
    expect(stay.locator("#answer")).not_to_contain_text("Precomputed example.")
    assert site.studio.asked == asked + 1


def test_stop_ends_the_draws(stay, site):
    open_tab(stay, "Lab")
    stay.get_by_role("tab", name="Many draws", exact=True).click()
    for knob, value in (("most", "128"), ("width", "0.05")):
        number = stay.locator(f"#draws-{knob} input[type=number]")
        number.fill(value)
        number.press("Tab")
        expect(stay.locator(f"#draws-{knob} input[type=range]")).to_have_value(value)
    stay.locator("#draws-run").click()
    expect(stay.locator("#draws-note")).to_contain_text(re.compile("changes the answer|stays"))
    stay.locator("#draws-stop").click()
    analyse(stay, "walrus, teapot")  # waits for the turn of the draws, were they going on
    expect(stay.locator(".lens-chip").first).to_contain_text(re.compile("walrus|teapot"))
    # 128 draws take a first turn and one for each eight.
    assert 1 <= site.studio.turns < 17
