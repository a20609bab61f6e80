"""What is wrong is said, and nothing is lost."""

from __future__ import annotations

import errno
import re

import pytest
from steps import (
    CLASSES,
    ROWS,
    SAID,
    TABS,
    analyse,
    answer,
    expect,
    open_tab,
    results,
    upload,
    wait_for_draws,
    wait_for_result,
)
from tiny import noise_picture

# Pandas warns Gradio, in the threads of the server.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:gradio")
OLD = "The form has changed since: press Analyse."
# What each tab shows of a result.
PARTS = {
    "Overview": [f"#overview {one}" for one in (".said", ".panels", ".strip", ".foot")],
    "Text": ["#texts-strips .html-container", "#texts-bar .html-container"],
    "Trained with": ["#trained-note"],
    "Lab": ["#meter-plot .js-plotly-plot", "#meter-note"],
}


def refused(page, site, words):
    """Presses Analyse, which must be refused in these words, and change nothing that is shown."""
    said, before, asked = page.locator(SAID).inner_text(), results(page), site.studio.asked
    page.locator("#run").click()
    expect(page.locator(".toast-body")).to_contain_text(words)
    expect(page.locator("#stop")).to_be_hidden()
    assert page.locator(SAID).inner_text() == said
    assert (results(page), site.studio.asked) == (before, asked)


def test_a_file_that_is_no_picture_is_refused(stay, site, tmp_path):
    path = tmp_path / "broken.png"
    path.write_text("I am no picture")
    stay.locator("#image input[type=file]").set_input_files(path)
    refused(stay, site, "not a picture that can be read here")


def test_no_picture_is_refused(stay, site):
    stay.locator("#photo-button").click()
    stay.locator("#image").get_by_label(re.compile("Clear|Remove")).first.click()
    stay.keyboard.press("Escape")
    refused(stay, site, "There is no picture yet.")


def test_an_empty_class_list_is_refused(stay, site):
    stay.locator(CLASSES).fill(" , ")
    refused(stay, site, "The class list is empty.")
    expect(stay.locator(ROWS)).to_have_count(6)


def test_a_former_result_is_old_at_once_until_the_next(stay):
    note = stay.locator("#progress [role=status]")

    def old():
        found = {}
        for tab, parts in PARTS.items():
            open_tab(stay, tab)
            for part in parts:
                look = stay.locator(part).first.evaluate("one => getComputedStyle(one).filter")
                found[part] = "opacity(0.5)" in look
        return found

    assert not any(old().values())
    expect(note).to_have_text("")
    stay.locator(CLASSES).fill("walrus, teapot")
    expect(note).to_have_text(OLD)
    expect(note).to_be_visible()
    assert all(old().values()), old()
    answer(stay, "walrus, teapot")
    expect(note).to_have_text("")
    assert not any(old().values())


def test_a_form_that_is_as_before_makes_nothing_old(stay):
    note, before = stay.locator("#progress [role=status]"), stay.locator(CLASSES).input_value()
    stay.locator(CLASSES).fill("walrus, teapot")
    expect(note).to_have_text(OLD)
    stay.locator(CLASSES).fill(before)
    expect(note).to_have_text("")
    stay.locator("#settings-button").click()
    stay.locator("#dropout-preset input").click()
    stay.keyboard.press("Escape")
    stay.wait_for_timeout(1000)
    expect(note).to_have_text("")


def test_a_form_changed_while_it_is_analysed_is_old_when_the_answer_comes(stay, held):
    before = results(stay)
    analyse(stay, "walrus, teapot")
    stay.locator(CLASSES).fill("walrus, cat")
    held.set()
    wait_for_result(stay, before)
    expect(stay.locator("#progress [role=status]")).to_have_text(OLD)


def test_a_refused_form_lets_the_draws_of_the_result_come(stay, site, monkeypatch):
    monkeypatch.setattr(site.studio, "pace", 0.5)
    answer(stay, "walrus, teapot, cat")
    wait_for_draws(stay, 1)
    stay.locator(CLASSES).fill("")
    stay.locator("#run").click()
    expect(stay.locator(".toast-body")).to_contain_text("The class list is empty.")
    wait_for_draws(stay)


def test_a_class_name_is_never_markup(stay):
    bad = "<img src=x onerror=window.ran=1>"
    analyse(stay, f"{bad}, $\\frac{{1}}$, **cat**")
    expect(stay.locator(ROWS)).to_have_count(3)
    expect(stay.locator(ROWS).filter(has_text="<img src=x on")).to_have_count(1)
    stay.evaluate("name => lens.set({ class: name })", bad)
    stay.locator(ROWS).first.hover()
    expect(stay.locator(".drople-lens .card b")).to_have_text(bad)
    for name in TABS:
        open_tab(stay, name)
    assert stay.locator("img[src=x]").count() == 0
    assert stay.evaluate("window.ran") is None


def test_a_full_disk_is_said_and_forgotten_when_there_is_room(stay, regular, monkeypatch, tmp_path):
    path = tmp_path / "noise.png"
    noise_picture(64, 64).save(path)

    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    stay.locator("#photo-button").click()
    with monkeypatch.context() as patched:
        patched.setattr("gradio.route_utils.NamedTemporaryFile", full)
        stay.locator("#image input[type=file]").set_input_files(path)
        expect(stay.locator(".toast-body")).to_contain_text("The disk of this machine is full")
    problems = regular[1]
    assert ["507" in one for one in problems] == [True]
    problems.clear()  # the browser's own note
    stay.keyboard.press("Escape")
    upload(stay, path)
    answer(stay, "walrus, teapot")
