"""Class lists as people write them."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drople.classes import (
    MAX_CLASSES,
    MAX_NAME,
    check_template,
    clean_class_names,
    clean_name,
    parse_class_list,
)
from drople.errors import ClassListError, SettingsError


@pytest.mark.parametrize("separator", [",", ";", "\n", "\r\n", " , ", ",,", "\u2028"])
def test_names_are_split_at_commas_semicolons_and_lines(separator):
    assert parse_class_list(separator.join(["cat", "golden retriever", "dog"])) == (
        "cat", "golden retriever", "dog",
    )  # fmt: skip


def test_the_first_of_two_spellings_stays():
    assert clean_class_names(["Cat", "dog", "CAT", "cat "]) == ("Cat", "dog")


def test_the_order_of_names_stays():
    assert clean_class_names(["b", "a", "c"]) == ("b", "a", "c")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("  golden \t  retriever ", "golden retriever"),
        ("cat\x00\x07", "cat"),
        ("zero\u200bwidth", "zero width"),
        ("\ud800cat", "?cat"),
        ("Straße", "Straße"),
        ("x" * 500, "x" * MAX_NAME),
    ],
)
def test_a_name_loses_what_cannot_be_seen(name, expected):
    assert clean_name(name) == expected


@given(st.text(st.sampled_from("aZß,; \t\n\x00\u200b\u2028\ud800{}"), max_size=60))
@settings(max_examples=100, deadline=None, derandomize=True)
def test_a_clean_name_is_clean_already(name):
    once = clean_name(name)
    assert clean_name(once) == once
    once.encode("utf-8")


@pytest.mark.parametrize("text", ["", " ,; \n", "\x00,\u200b"])
def test_an_empty_list_is_refused(text):
    with pytest.raises(ClassListError, match=r"The class list is empty.*e\.g\. cat, dog"):
        parse_class_list(text)


def test_a_list_too_long_is_refused():
    with pytest.raises(ClassListError, match=r"has 2,001 names; at most 2,000 are read"):
        clean_class_names(f"class {i}" for i in range(MAX_CLASSES + 1))


def test_the_longest_list_is_read():
    assert len(clean_class_names(f"class {i}" for i in range(MAX_CLASSES))) == MAX_CLASSES


def test_a_template_keeps_its_place_for_the_name():
    assert check_template("  a photo of a {}. ") == "a photo of a {}."


@pytest.mark.parametrize("template", ["", "a photo", "{} and {}", "{name}"])
def test_a_template_without_one_place_is_refused(template):
    with pytest.raises(SettingsError, match=r"must hold \{\} once, where the class name goes"):
        check_template(template)
