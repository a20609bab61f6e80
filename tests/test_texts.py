"""Texts from outside: every encoding that people save in, or one error."""

from __future__ import annotations

import codecs
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drople.errors import DataError
from drople.texts import decode_text, read_json, read_text

WORDS = "naïve café, 金魚\nzwei"


@pytest.mark.parametrize(
    ("encoding", "mark"),
    [
        ("utf-8", b""),
        ("utf-8", codecs.BOM_UTF8),
        ("utf-16-le", codecs.BOM_UTF16_LE),
        ("utf-16-be", codecs.BOM_UTF16_BE),
        ("utf-32-le", codecs.BOM_UTF32_LE),
        ("utf-32-be", codecs.BOM_UTF32_BE),
    ],
)
def test_unicode_with_its_mark_is_read_exactly(encoding, mark):
    assert decode_text(mark + WORDS.encode(encoding), "a.txt") == WORDS


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_latin_letters_in_utf_16_need_no_mark(encoding):
    assert decode_text("cat\r\ndog".encode(encoding), "a.txt") == "cat\ndog"


@pytest.mark.parametrize("ends", ["\n", "\r\n", "\r"])
def test_line_ends_of_every_system_are_one(ends):
    assert decode_text(f"a{ends}b".encode(), "a.txt") == "a\nb"


def test_what_is_no_unicode_is_latin_1_and_said_so(caplog):
    assert decode_text("café".encode("latin-1"), "a.txt") == "café"
    assert "a.txt is not UTF-8 and was read as Latin-1" in caplog.text


def test_unicode_needs_no_sentence(caplog):
    decode_text(WORDS.encode(), "a.txt")
    assert not caplog.text


@pytest.mark.parametrize("data", [b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", b"\xff\xfe\0"])
def test_what_is_no_text_is_refused(data):
    with pytest.raises(DataError, match=r"a\.txt is (not a text|damaged)"):
        decode_text(data, "a.txt")


@given(st.binary(max_size=80))
@settings(max_examples=300, deadline=None, derandomize=True)
def test_any_bytes_are_a_text_or_refused(data):
    with suppress(DataError):
        assert "\r" not in decode_text(data, "a.txt")


def test_missing_files_and_folders_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"gone\.txt cannot be read: No such file"):
        read_text(tmp_path / "gone.txt")
    with pytest.raises(DataError, match="is not a file"):
        read_text(tmp_path)


def test_json_is_read_in_any_encoding(tmp_path):
    (tmp_path / "a.json").write_bytes('{"é": 1}'.encode("utf-16"))
    assert read_json(tmp_path / "a.json") == {"é": 1}


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000])
def test_what_is_no_json_is_refused(tmp_path, text):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(DataError, match=r"a\.json is not JSON"):
        read_json(tmp_path / "a.json")
