"""Class lists as people write them."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drople.classes import (
    MAX_CLASSES,
    MAX_LIST,
    MAX_NAME,
    check_template,
    class_list_of,
    clean_class_names,
    clean_name,
    parse_class_list,
)
from drople.errors import ClassListError, DataError, SettingsError


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
        ("gol\u00adden\ufeff", "golden"),
        ("golden\u00a0\u3000retriever", "golden retriever"),
        ("cafe\u0301", "caf\u00e9"),
        ("\ud800cat", "?cat"),
        ("Straße", "Straße"),
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


def test_names_given_twice_are_one_class_and_named(caplog):
    assert clean_class_names(["crane", "Cardigan", "crane", "cardigan", "tench"]) == (
        "crane", "Cardigan", "tench",
    )  # fmt: skip
    assert "Named more than once, and one class each" in caplog.text
    assert "“crane”, “cardigan”." in caplog.text


def test_names_given_once_need_no_sentence(caplog):
    assert clean_class_names(["crane", "crane bird", ""]) == ("crane", "crane bird")
    assert not caplog.text


def test_a_name_too_long_is_refused_and_not_cut():
    assert clean_class_names(["x" * MAX_NAME]) == ("x" * MAX_NAME,)
    with pytest.raises(ClassListError, match=r"“x{57}\.\.\.” has 201 characters; at most 200"):
        clean_class_names(["cat", "x" * (MAX_NAME + 1)])


def test_a_text_too_long_is_refused_before_it_is_split():
    with pytest.raises(ClassListError, match=r"has 400,001 characters; at most 400,000"):
        parse_class_list("," * (MAX_LIST + 1))


def test_one_text_in_place_of_a_list_is_refused_with_the_fix():
    with pytest.raises(ClassListError, match=r"one text, “cat, dog”; expected a list.*\[\"cat\""):
        clean_class_names("cat, dog")


@pytest.mark.parametrize("wrong", [None, 3, b"cat", ["cat"]])
def test_a_name_that_is_no_text_is_refused(wrong):
    with pytest.raises(ClassListError, match="A class name is a text; got “"):
        clean_class_names(["cat", wrong])


@pytest.mark.parametrize("text", ["['cat', 'man-eater, shark']", '\n["cat", "man-eater, shark"] '])
def test_a_list_as_python_and_json_write_it_is_that_list(text):
    assert parse_class_list(text) == ("cat", "man-eater, shark")


@pytest.mark.parametrize("text", ["[cat], dog", "[cat, dog", "[" * 5000, "[1, 2]"])
def test_what_only_starts_like_a_list_is_a_text(text):
    if text.startswith("[["):
        with pytest.raises(ClassListError):
            parse_class_list(text)
    else:
        assert len(parse_class_list(text)) == 2


# --- from the command line --------------------------------------------------------------------


def listed(tmp_path, text, name="classes.txt", encoding="utf-8"):
    """What is read of a file with that text."""
    (tmp_path / name).write_bytes(text.encode(encoding))
    return class_list_of(str(tmp_path / name))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32"])
def test_a_file_of_names_is_read_in_any_unicode(tmp_path, encoding):
    assert listed(tmp_path, "cat\r\ndog\r\n\r\n", encoding=encoding) == ("cat", "dog")


def test_names_that_are_no_unicode_are_latin_1_and_said_so(tmp_path, caplog):
    assert listed(tmp_path, "café\nthé\n", encoding="latin-1") == ("café", "thé")
    assert "classes.txt is not UTF-8 and was read as Latin-1" in caplog.text


@pytest.mark.parametrize("text", ["cat, dog", "cat,\ndog\n", "cat, \ndog,\n", "cat;\ndog"])
def test_a_file_may_hold_one_list_over_several_lines(tmp_path, text):
    assert listed(tmp_path, text) == ("cat", "dog")


def test_synonyms_of_a_line_are_one_class(tmp_path, caplog):
    text = "tench, Tinca tinca\ngreat white shark, white shark, man-eater\ngoldfish\n"
    assert listed(tmp_path, text) == ("tench", "great white shark", "goldfish")
    assert "2 of 3 lines hold several names" in caplog.text
    assert "“tench, Tinca tinca”" in caplog.text


@pytest.mark.parametrize(
    "text",
    ["n01440764 tench\nn01443537 goldfish", "0,tench\n1,goldfish", "1: tench\n2: goldfish",
     "0 n01440764 tench\n1 n01443537 goldfish"],
)  # fmt: skip
def test_ids_and_running_numbers_are_no_part_of_a_name(tmp_path, text):
    assert listed(tmp_path, text) == ("tench", "goldfish")


def test_a_number_that_belongs_to_a_name_stays(tmp_path):
    assert listed(tmp_path, "707-320\n2 seater") == ("707-320", "2 seater")


@pytest.mark.parametrize("text", ['["cat", "dog"]', '{"0": "cat", "1": "dog"}'])
def test_a_json_file_holds_a_list_or_an_object(tmp_path, text):
    assert listed(tmp_path, text, "names.json", "utf-16") == ("cat", "dog")


@pytest.mark.parametrize("text", ["3", '{"0": ["n01440764", "tench"]}', "[1]"])
def test_another_json_file_is_refused(tmp_path, text):
    with pytest.raises(ClassListError, match=r"names\.json is no list of names; expected"):
        listed(tmp_path, text, "names.json")


def test_a_json_file_that_is_none_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"names\.json is not JSON"):
        listed(tmp_path, "{", "names.json")


@pytest.mark.parametrize(
    "given", ["classes.txt", "a/classes", "./x", "~/x", "C:\\names", "cat, x.txt", "x.json"]
)
def test_a_file_that_is_not_there_is_no_class(given):
    with pytest.raises(ClassListError, match=r"There is no file “.*Give the path of a text file"):
        class_list_of(given)


def test_names_are_no_file():
    names = [f"thing number {i}" for i in range(40)]
    assert class_list_of(", ".join(names)) == tuple(names)
    assert class_list_of("cat/dog, bird") == ("cat/dog", "bird")
    assert class_list_of("cat\0") == ("cat",)
