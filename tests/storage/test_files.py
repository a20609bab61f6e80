"""Files on disk: whole or as before, sealed, locked, and refused before the work."""

from __future__ import annotations

import csv
import io
import logging
import os

import pytest

from drople.errors import DataError, SettingsError, printable
from drople.storage.cells import csv_text, defused
from drople.storage.files import (
    check_folder,
    check_readable,
    check_writable,
    locked,
    read_sealed,
    set_aside,
    write_bytes,
    write_text,
)


def test_a_write_makes_its_folders_and_leaves_nothing_beside(tmp_path):
    write_text(tmp_path / "a" / "b" / "c.txt", "now")
    assert [path.name for path in (tmp_path / "a" / "b").iterdir()] == ["c.txt"]


def test_a_write_that_fails_leaves_what_was_there(tmp_path):
    (tmp_path / "file").write_text("before")
    with pytest.raises(DataError, match="cannot be written"):
        write_text(tmp_path / "file" / "below.txt", "now")
    (tmp_path / "folder").mkdir()
    with pytest.raises(DataError, match="cannot be written"):
        write_text(tmp_path / "folder", "now")
    assert {path.name for path in tmp_path.iterdir()} == {"file", "folder"}
    assert (tmp_path / "file").read_text() == "before"


def test_a_seal_tells_every_change_of_what_it_seals(tmp_path):
    file = tmp_path / "sealed"
    write_bytes(file, b"content", sealed=True)
    assert read_sealed(file) == b"content"
    file.write_bytes(b"kontent" + file.read_bytes()[7:])
    with pytest.raises(DataError, match="damaged"):
        read_sealed(file)


def test_what_an_earlier_version_wrote_without_a_seal_is_read(tmp_path):
    (tmp_path / "plain").write_bytes(b"content")
    assert read_sealed(tmp_path / "plain") == b"content"


def test_setting_aside_keeps_the_file_and_says_so(tmp_path, caplog):
    (tmp_path / "x.npy").write_text("x")
    with caplog.at_level(logging.WARNING):
        set_aside(tmp_path / "x.npy", "It is damaged.")
    assert (tmp_path / "x.npy.damaged").read_text() == "x"
    assert "set aside as x.npy.damaged" in caplog.text


def test_a_lock_refuses_the_second_and_leaves_no_file(tmp_path):
    with (
        locked(tmp_path / "lock", wait=False),
        pytest.raises(DataError, match="Another process"),
        locked(tmp_path / "lock", wait=False),
    ):
        pass
    with locked(tmp_path / "lock", wait=False):
        pass
    assert not [*tmp_path.iterdir()]


def test_an_output_that_is_a_folder_pipe_or_below_a_file_is_refused(tmp_path):
    (tmp_path / "file").write_text("x")
    os.mkfifo(tmp_path / "pipe")
    for file in (tmp_path, tmp_path / "pipe", tmp_path / "file" / "x", tmp_path / "a\0b"):
        with pytest.raises(SettingsError, match="--out"):
            check_writable(file)
    with pytest.raises(SettingsError, match="Choose another --runs"):
        check_folder(tmp_path / "file", "--runs")


def test_an_input_that_is_no_file_is_refused_by_what_it_is(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for file, what in ((tmp_path / "pipe", "a pipe"), (tmp_path, "a folder"), ("no", "no file")):
        with pytest.raises(DataError, match=what):
            check_readable(tmp_path / file)


@pytest.mark.parametrize("cell", ["=1+1", "+1+1", "-cat", "@x", "\tx", "\rx", "'=1", "\uff1d1"])
def test_a_cell_that_would_run_starts_with_an_apostrophe(cell):
    assert defused(cell) == f"'{cell}"


@pytest.mark.parametrize("cell", ["-1", "+2.5", "-1e-05", "-3 %", "1,000", "cat", "", "it's"])
def test_numbers_and_words_stay_as_they_are(cell):
    assert defused(cell) == cell


def test_csv_has_an_empty_cell_for_none_and_no_formula():
    (row,) = csv.reader(io.StringIO(csv_text([["=a,b", None, -0.5]])))
    assert row == ["'=a,b", "", "-0.5"]


def test_what_a_terminal_obeys_is_printed_as_an_escape():
    assert printable("a\x1b[31m\ud8ff\u202eé\n") == r"a\x1b[31m\ud8ff\u202eé\n"
