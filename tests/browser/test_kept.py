"""What a visitor takes along, and what the browser keeps."""

from __future__ import annotations

import re
import zipfile

import pytest
from steps import expect, open_tab

# Pandas warns Gradio, in the threads of the server.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:gradio")


def test_a_link_brings_settings_and_example_back(visit):
    page = visit()
    page.locator("#examples").get_by_text("horses", exact=True).click()
    expect(page.locator("#classes textarea")).to_have_value(re.compile("^horse, "))
    page.locator("#dropout > button").click()
    page.locator("#seed input").fill("3")
    page.locator("#copy-link").click()
    expect(page.locator("#link textarea, #link input")).to_have_value(re.compile("seed=3"))
    link = page.locator("#link textarea, #link input").input_value()
    other = visit(query=link.partition("/?")[2] and "?" + link.partition("/?")[2])
    expect(other.locator("#answer")).to_contain_text("(seed 3)")
    expect(other.locator("#classes textarea")).to_have_value(re.compile("^horse, "))


def test_a_link_made_for_an_uploaded_picture_asks_for_it(visit):
    page = visit(query="?classes=walrus%2C+teapot", answered=False)
    expect(page.locator("#answer")).to_contain_text("not the picture they were for")
    expect(page.locator("#classes textarea")).to_have_value("walrus, teapot")


def test_the_browser_keeps_the_settings_until_they_are_reset(visit):
    page = visit()
    page.locator("#dropout > button").click()
    page.locator("#seed input").fill("4")
    page.locator("#run").click()
    expect(page.locator("#answer")).to_contain_text("(seed 4)")
    page.close()
    page = visit()
    expect(page.locator("#answer")).to_contain_text("(seed 4)")
    page.locator("#dropout > button").click()
    expect(page.locator("#seed input")).to_have_value("4")
    page.locator("#reset").click()
    expect(page.locator("#seed input")).to_have_value("0")
    page.locator("#run").click()
    expect(page.locator("#answer")).to_contain_text("(seed 0)")


def test_a_tab_is_saved_as_pictures_and_tables(look):
    page = look()
    open_tab(page, "Predictions")
    with page.expect_download() as saved:
        page.locator("#save-predictions").click()
    with zipfile.ZipFile(saved.value.path()) as packed:
        contents = {name.rpartition(".")[2]: packed.read(name) for name in packed.namelist()}
    assert contents["png"].startswith(b"\x89PNG")
    assert contents["svg"].startswith(b"<svg")
    assert contents["csv"].startswith(b"class,Frozen p")
    assert saved.value.suggested_filename.endswith(".zip")
