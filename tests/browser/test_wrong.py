"""What is wrong is said, and nothing is lost."""

from __future__ import annotations

import pytest
from steps import LABELS, TABS, analyse, expect, open_tab

# Pandas warns Gradio, in the threads of the server.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:gradio")


def test_a_file_that_is_no_picture_says_so_and_the_result_stays(stay, site, tmp_path):
    path = tmp_path / "broken.png"
    path.write_text("I am no picture")
    answer, asked = stay.locator(".lens-answer").inner_text(), site.studio.asked
    stay.locator("#image input[type=file]").set_input_files(path)
    stay.locator("#run").click()
    expect(stay.locator(".toast-body")).to_contain_text("not a picture that can be read here")
    assert stay.locator(".lens-answer").inner_text() == answer
    assert site.studio.asked == asked


def test_a_result_of_an_older_form_says_so(stay):
    stale = stay.locator("#answer.lens-stale")
    expect(stale).to_have_count(0)
    stay.locator("#classes textarea").fill("walrus, teapot")
    expect(stale).to_have_count(1)
    stay.locator("#run").click()
    expect(stay.locator(LABELS)).to_have_count(2)
    expect(stale).to_have_count(0)


def test_an_empty_class_list_says_so_and_the_result_stays(stay):
    answer = stay.locator(".lens-answer").inner_text()
    analyse(stay, " , ")
    expect(stay.locator(".toast-body")).to_contain_text("The class list is empty.")
    assert stay.locator(".lens-answer").inner_text() == answer
    expect(stay.locator(LABELS)).to_have_count(6)


def test_a_class_name_is_never_run_as_markup(stay):
    bad = "<img src=x onerror=window.ran=1>"
    analyse(stay, f"{bad}, $\\frac{{1}}$, **cat**")
    expect(stay.locator(LABELS)).to_have_count(3)
    expect(stay.locator(LABELS).filter(has_text="<img src=x onerror=wind…")).to_have_count(1)
    for name in TABS:
        open_tab(stay, name)
    stay.locator("#target input").click()
    expect(stay.get_by_role("option", name=bad)).to_be_visible()
    assert stay.evaluate("window.ran") is None


def test_two_visitors_do_not_see_each_other(visit):
    first, second = visit(), visit()
    analyse(first, "walrus, teapot")
    expect(first.locator(LABELS)).to_have_count(2)
    open_tab(second, "Token importance")
    second.locator("#layer input[type=number]").fill("2")
    expect(second.locator("#importance-note")).to_contain_text("Layer 2,")
    open_tab(second, "Predictions")
    expect(second.locator(LABELS)).to_have_count(6)
