"""What a visitor does: pictures and classes of their own, waiting, stopping, comparing."""

from __future__ import annotations

import pytest
from steps import (
    CLASSES,
    ROWS,
    SAID,
    analyse,
    answer,
    come_to_rest,
    expect,
    open_tab,
    press_tab,
    requests_of,
    results,
    state,
    take_example,
    upload,
    wait_for_draws,
)
from steps import look as looking
from tiny import noise_picture

# Pandas warns Gradio, in the threads of the server.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:gradio")
OLD = "The form has changed since: press Analyse."
LAB = {
    "Choice and sinks": "#meter-plot .scatterlayer .point",
    "Many draws": "#draws-run",
    "Rate curve": "#rates-run",
    "Modes": "#modes-compute",
    "Faithfulness": "#faithful-run",
    "Explained": "#direct-run",
    "Attention": "#attention-run",
    "Robustness": "#robust-run",
    "Residual entropy": "#residual-run",
    "Prompts": "#prompts-plot .bars .point",
}


def test_the_page_opens_with_an_example_and_its_draws_without_the_model(visit, site):
    asked, turns = site.studio.asked, site.studio.turns
    page = visit()
    expect(page.locator("#overview .chips")).to_contain_text("precomputed example")
    expect(page.locator(SAID)).to_contain_text("Over 32 draws")
    take_example(page, "pizza")
    expect(page.locator(CLASSES)).to_have_value("pizza, pie, cake, sandwich, soup, salad")
    expect(page.locator(SAID)).to_contain_text("Over 32 draws")
    expect(page.locator(".strip .cell-layer")).to_have_count(12)
    assert (site.studio.asked, site.studio.turns) == (asked, turns)


def test_a_visitor_gets_an_answer_for_their_own_picture_and_classes(stay, site, tmp_path):
    path = tmp_path / "noise.png"
    noise_picture(300, 240).save(path)
    asked, photo = site.studio.asked, stay.evaluate("given.at(-1).payload.photo")
    upload(stay, path)
    answer(stay, "walrus, teapot")
    expect(stay.locator(ROWS)).to_have_count(2)
    for name in ("walrus", "teapot"):
        expect(stay.locator(ROWS).filter(has_text=name)).to_have_count(1)
    assert stay.evaluate("given.at(-1).payload.photo") != photo
    assert site.studio.asked == asked + 1


def test_what_is_looked_at_stays_for_the_next_classes(stay):
    looking(stay, layer=7, signal="s_self", branch="frozen", **{"class": "rabbit"})
    answer(stay, "walrus, rabbit, teapot")
    after = stay.evaluate("lens.state()")
    assert (after["layer"], after["signal"], after["branch"]) == (7, "s_self", "frozen")
    assert after["class"] == "rabbit"


def test_a_class_without_maps_gets_them_when_it_is_chosen(stay, site):
    answer(stay, "cat, dog, bird, fish, horse, car, bus, boat, cake, soup, bread, beach")
    asked = site.studio.asked
    chosen = stay.locator("#overview .field.class select")
    label = chosen.locator("option").filter(has_text="asks for its maps").first.inner_text()
    name = label.removesuffix(" (asks for its maps)")
    chosen.select_option(label=label)
    stay.wait_for_function("name => lens.state().class === name", arg=name)
    assert site.studio.asked == asked + 1


def test_stop_ends_an_analysis(stay, held):
    said = stay.locator(SAID).inner_text()
    analyse(stay, "walrus, cat")
    stay.locator("#stop").click()
    held.set()
    expect(stay.locator("#stop")).to_be_hidden()
    assert stay.locator(SAID).inner_text() == said
    expect(stay.locator("#progress p")).to_have_text(f"Stopped. {OLD}")
    expect(stay.locator("#progress .error")).to_be_hidden()
    answer(stay, "teapot, cat")
    expect(stay.locator("#progress p")).to_have_text("")


def test_stop_ends_the_draws(stay, site, monkeypatch):
    monkeypatch.setattr(site.studio, "pace", 2.0)  # else all draws are there before the click
    answer(stay, "walrus, teapot, rabbit")
    wait_for_draws(stay, 2)  # the first is the analysis's own
    stay.locator("#stop").click()
    expect(stay.locator("#stop")).to_be_hidden()
    stay.wait_for_timeout(5000)  # what was under way arrives
    before, turns = results(stay), site.studio.turns
    stay.wait_for_timeout(3000)
    assert (results(stay), site.studio.turns) == (before, turns)
    assert stay.evaluate("given.at(-1).draws") < 32
    expect(stay.locator("#progress p")).to_have_text("Stopped.")
    monkeypatch.undo()
    answer(stay, "walrus, cat")
    wait_for_draws(stay, 2)


def test_two_visitors_get_their_own_answers_and_draws(visit):
    first, second = visit(), visit()
    analyse(first, "walrus, teapot")
    analyse(second, "cat, anchor, dog")
    for page, count in ((first, 2), (second, 3)):
        expect(page.locator(ROWS)).to_have_count(count)
        wait_for_draws(page)
        assert len(page.evaluate("given.at(-1).payload.classes")) == count


def test_a_form_is_checked_and_the_place_told_while_another_computes(visit, held):
    first, second = visit(), visit()
    analyse(first, "walrus, teapot")
    first.wait_for_timeout(1000)
    analyse(second, " , ")
    expect(second.locator(".toast-body")).to_contain_text("The class list is empty.")
    analyse(second, "anchor, dog")
    expect(second.locator("#progress")).to_contain_text("In the queue: place 1 of 1")
    held.set()
    for page in (first, second):
        expect(page.locator(ROWS)).to_have_count(2)
    expect(second.locator("#progress")).not_to_contain_text("In the queue")


def test_draws_of_a_former_result_never_cover_the_new_one(visit):
    page = visit(query="?seed=5")
    wait_for_draws(page, 1)
    answer(page, "walrus, teapot")
    wait_for_draws(page)
    assert page.evaluate("lens.state().class") in ("walrus", "teapot")
    expect(page.locator(ROWS)).to_have_count(2)


def test_draws_end_when_an_example_is_chosen(stay, site, monkeypatch):
    monkeypatch.setattr(site.studio, "pace", 1.0)
    answer(stay, "walrus, teapot")
    wait_for_draws(stay, 2)
    take_example(stay, "pizza")
    turns = site.studio.turns
    stay.wait_for_timeout(4000)
    assert stay.evaluate("given.at(-1).payload.classes[0]") == "pizza"
    assert site.studio.turns <= turns + 1  # the one that was under way
    expect(stay.locator("#stop")).to_be_hidden()


def test_stop_ends_draws_that_began_while_others_were_cancelled(stay, site, monkeypatch):
    monkeypatch.setattr(site.studio, "pace", 1.0)
    answer(stay, "walrus, teapot")
    wait_for_draws(stay, 2)
    answer(stay, "walrus, anchor")
    wait_for_draws(stay, 2)
    stay.locator("#stop").click()
    stay.wait_for_timeout(3000)  # what was under way arrives
    before, turns = results(stay), site.studio.turns
    stay.wait_for_timeout(3000)
    assert (results(stay), site.studio.turns) == (before, turns)
    assert stay.evaluate("given.at(-1).draws") < 32


def test_every_tab_of_the_lab_opens_on_the_class_looked_at(stay):
    looking(stay, **{"class": "rabbit"})
    open_tab(stay, "Lab")
    expect(stay.locator("#target input")).to_have_value("rabbit")
    for name, first in LAB.items():
        open_tab(stay, name)
        expect(stay.locator(first).filter(visible=True).first).to_be_visible()
    open_tab(stay, "Choice and sinks")
    expect(stay.locator("#meter-note")).not_to_be_empty()


def test_the_lab_and_the_overview_look_at_one_layer(stay):
    layer = stay.locator("#layer input[type=number]")
    come_to_rest(stay)
    asked = requests_of(stay)
    looking(stay, layer=4, **{"class": "rabbit"})
    stay.wait_for_timeout(500)  # for what might be asked a little later
    assert asked == []
    open_tab(stay, "Lab")
    expect(layer).to_have_value("5")
    open_tab(stay, "Attention")
    expect(layer).to_have_value("5")
    layer.fill("3")
    layer.press("Enter")
    stay.wait_for_function("lens.state().layer === 2")
    expect(stay.locator("#target input")).to_have_value("rabbit")
    open_tab(stay, "Overview")
    expect(stay.get_by_label("Layer", exact=True)).to_have_value("3")
    looking(stay, layer=8)
    press_tab(stay, "Lab")
    expect(layer).to_have_value("9")
    come_to_rest(stay)
    assert state(stay)["layer"] == 8


def test_a_class_and_a_layer_chosen_in_the_lab_stay(stay):
    open_tab(stay, "Lab")
    stay.locator("#target input").click()
    stay.get_by_role("option", name="dog").click()
    stay.wait_for_function("lens.state().class === 'dog'")
    layer = stay.locator("#layer input[type=number]")
    layer.fill("7")
    layer.press("Enter")
    stay.wait_for_function("lens.state().layer === 6")
    expect(stay.locator("#target input")).to_have_value("dog")
    come_to_rest(stay)
    expect(stay.locator("#sinks-note")).to_contain_text("Press Find sinks")


def test_the_page_comes_to_rest_after_a_choice_in_the_lab(stay):
    open_tab(stay, "Lab")
    stay.locator("#target input").click()
    stay.get_by_role("option", name="dog").click()
    come_to_rest(stay)


def test_a_box_of_the_method_opens_its_view(stay):
    for box, shown in (
        ("Drop", "#modes-compute"),
        ("Entropy of the residuals, maximised", "#residual-run"),
        ("Frozen image", ROWS),
    ):
        open_tab(stay, "Method")
        stay.get_by_role("link", name=f"{box}: open").filter(visible=True).click()
        expect(stay.locator(shown).filter(visible=True).first).to_be_visible()
