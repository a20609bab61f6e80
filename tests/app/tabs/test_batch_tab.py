"""Batch: the table of `python -m drople explain`, made on the page."""

from __future__ import annotations

import base64
import csv
import io
import json
import zipfile
from dataclasses import replace

import gradio as gr
import pytest
from furnished import FORM
from tiny import noise_picture

from app.form import Form, dropout_values
from app.host import Host
from app.tabs.batch import explained, saved, shown
from drople.__main__ import main
from drople.errors import ClassListError, SettingsError
from drople.storage.tables import HEADER


@pytest.fixture
def pictures(tmp_path):
    """A folder of five pictures and one that is none, and all of them in a ZIP."""
    folder = tmp_path / "pictures"
    (folder / "b").mkdir(parents=True)
    for i, name in enumerate(("a.png", "b/b.png", "b/c.png", "d.png", "e.png")):
        noise_picture(seed=i).save(folder / name)
    (folder / "broken.jpg").write_bytes(b"no picture")
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as packed:
        for path in sorted(folder.rglob("*.*")):
            packed.write(path, path.relative_to(folder))
    return folder


@pytest.fixture
def ask(furnished, pictures):
    """What the tab shows, step by step, of the ZIP or of other files."""
    studio, backbone, prompts = furnished

    def asked(*files, draws=2, host=None, said=None, **changes):
        form = Form(**{**FORM, "backbone": backbone, "prompts": prompts, "classes": "cat, dog",
                       **changes})  # fmt: skip
        files = files or [pictures.parent / "set.zip"]
        told = said.append if said is not None else lambda done: None
        return explained(
            studio,
            host or Host(),
            files,
            draws=draws,
            form=form,
            progress=lambda done, unit: told(done),
        )

    return asked


def unpacked(packed):
    with zipfile.ZipFile(io.BytesIO(base64.b64decode(packed["data"]))) as files:
        return {name: files.read(name).decode() for name in files.namelist()}


def test_the_table_is_that_of_the_command_line(ask, pictures, furnished, tmp_path):
    studio, backbone, prompts = furnished
    *_, batch = ask(**dropout_values(studio.trained_dropout(backbone, prompts)))
    files = unpacked(saved(batch))
    main([
        "explain", str(pictures), "--classes", "cat, dog", "--backbone", backbone, "--prompts",
        prompts, "--draws", "2", "--batch", "4", "--out", str(tmp_path / "out"),
    ])  # fmt: skip
    here, there = ([*csv.reader(io.StringIO(text))] for text in (
        files["rows.csv"], (tmp_path / "out" / "rows.csv").read_text()))  # fmt: skip
    assert files["columns.txt"] == (tmp_path / "out" / "columns.txt").read_text()
    assert here[0] == there[0] == [*HEADER]
    assert here[1:] == sorted(there[1:])
    about = json.loads((tmp_path / "out" / "about.json").read_text())
    made = json.loads(files["about.json"])
    for settings in (made, about):  # the form's dropout is its own
        assert settings.pop("settings")["dropout"]["strategy"] == "iwtd"
    assert {name: made[name] for name in about} == about


def test_what_is_saved_says_how_far_the_batch_came_and_of_what(ask, tmp_path):
    (tmp_path / "notes.txt").write_text("no picture")
    first, whole = ask(tmp_path / "set.zip", tmp_path / "notes.txt")
    assert saved(first)["name"] == "drople-batch-4-of-6.zip"
    stopped, done = (json.loads(unpacked(saved(one))["about.json"]) for one in (first, whole))
    assert (stopped["complete"], done["complete"]) == (False, True)
    assert (stopped["pictures_given"], done["pictures_given"]) == (6, 6)
    assert (stopped["pictures_explained"], done["pictures_explained"]) == (3, 5)
    assert (done["unread"], done["left_out"]) == (["broken.jpg"], ["notes.txt"])


def test_rows_come_a_few_at_a_time_with_their_progress(ask):
    told = []
    steps = [*ask(said=told)]
    assert [len(one.rows) for one in steps] == [4, 6]
    assert told == [(0, 6), (4, 6), (6, 6)]
    assert steps[0].sentence.startswith("4 of 6 pictures.")


def test_each_few_take_their_own_turn(ask, furnished, monkeypatch):
    studio, turns = furnished[0], []
    plain = studio.in_turn
    monkeypatch.setattr(studio, "in_turn", lambda work: turns.append(1) or plain(work))
    [*ask()]
    assert len(turns) == 2


def test_what_cannot_be_read_is_named_and_not_fatal(ask, pictures, tmp_path):
    (tmp_path / "notes.txt").write_text("no picture")
    *_, batch = ask(pictures / "a.png", pictures / "broken.jpg", tmp_path / "notes.txt")
    assert [bool(row.error) for row in batch.rows] == [False, True]
    assert "Cannot be read: broken.jpg; the table says why." in batch.sentence
    assert "Left out, being no pictures: notes.txt." in batch.sentence
    assert shown(batch)["data"][1][:2] == ["broken.jpg", batch.rows[1].error]


def test_a_damaged_entry_is_a_row(ask, pictures, tmp_path):
    content = bytearray((tmp_path / "set.zip").read_bytes())
    at = content.find(b"\x89PNG")
    content[at + 40 : at + 60] = b"\0" * 20
    (tmp_path / "hurt.zip").write_bytes(content)
    *_, batch = ask(tmp_path / "hurt.zip")
    assert "cannot be taken out of the ZIP" in batch.rows[0].error
    assert len(batch.rows) == 6
    assert batch.rows[1].frozen


def test_the_forms_settings_are_those_of_the_draws(ask):
    *_, batch = ask(draws=3, compared="cls", seed=7, p_max=0.9)
    assert (batch.about["strategy"], batch.about["draws"]) == ("cls", 3)
    assert batch.about["settings"]["seed"] == 7
    assert batch.about["settings"]["dropout"]["p_max"] == 0.9
    assert batch.rows[0].draws == 3
    assert "Dropout drawn: s_cls alone, 3 times a picture." in batch.sentence


def test_a_rate_is_not_said_to_be_matched_nor_text_to_be_dropped(ask):
    first = next(ask(compared="vanilla", matched=True, drop_text=True))
    settings = first.about["settings"]
    assert (settings["matched"], settings["drop_text"]) == (False, False)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"draws": 0}, "Nothing is drawn: the columns of flips are empty."),
        ({"prompts": "none"}, "Without prompts there is no adapted branch and no dropout."),
    ],
)
def test_why_the_columns_of_flips_are_empty_is_said(ask, changes, said):
    first = next(ask(**changes))
    assert said in first.sentence
    assert (first.rows[0].draws, first.rows[0].flip_rate) == (0, None)


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"host": Host(pictures=5)}, SettingsError, "These are 6 pictures; at most 5"),
        ({"classes": ""}, ClassListError, "empty"),
    ],
)
def test_too_many_pictures_or_no_class_are_refused_at_once(ask, changes, error, words):
    with pytest.raises(error, match=words):
        next(ask(**changes))


def test_without_a_picture_the_tab_says_what_to_do(ask, tmp_path):
    (tmp_path / "notes.txt").write_text("no picture")
    with pytest.raises(SettingsError, match="There is no picture yet"):
        next(ask(tmp_path / "notes.txt"))


def test_before_a_table_there_is_nothing_to_save():
    with pytest.raises(gr.Error, match="Press Explain first"):
        saved(None)


def test_of_many_names_the_first_are_said(ask):
    *_, batch = ask(draws=0)
    many = replace(batch, left_out=tuple(f"{i}.txt" for i in range(9)))
    assert many.sentence.endswith("4.txt and 4 more.")
