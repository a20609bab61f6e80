"""Folders and tables as they may lie on a disk are read, or refused in a sentence."""

from __future__ import annotations

import json
import logging
import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_fuzz import FEW, FUZZ, JSON, damaged, outcome
from tiny import noise_picture

from drople.errors import DropleError
from drople.storage.tables import HEADER, Row, Table
from drople.training.data import load_task

# --- folders ---

PLACES = st.sampled_from([
    "cat", "Cat", "dog", "golf_ball", "golf ball", "train", "val", "test", "valid", "Training",
    ".hidden", "__MACOSX", "_", " ", "\x1b[31m", "caf\udce9", "\u202e", "\uff43at", "c" * 60,
    "train/cat", "train/dog", "val/cat", "test/dog", "test/bird", "a/b/c",
])  # fmt: skip
FILES = st.sampled_from([
    "1.png", "2.png", "3.PNG", "._1.png", "Thumbs.db", "a.txt", "noise.jpg", "empty.png",
    "pipe.png", "link.png", "loop.png", "dead.png", "1.png/inside.png",
])  # fmt: skip


def put(folder, name):
    """Puts a file into a folder, as its name says; nothing where that cannot be."""
    path = folder / name
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if name == "pipe.png":
            os.mkfifo(path)
        elif name == "link.png":
            path.symlink_to(folder, target_is_directory=True)
        elif name in ("loop.png", "dead.png"):
            path.symlink_to(name if name == "loop.png" else "nowhere")
        elif name.lower()[0] in "123":
            noise_picture(18, 16, seed=int(name[0])).save(path, "PNG")
        else:
            path.write_bytes(b"\0noise" * (name != "empty.png"))
    except (FileExistsError, NotADirectoryError, IsADirectoryError):
        pass


SOUND = [(part + name, f"{i}.png") for part in ("train/", "test/") for name in ("cat", "dog")
         for i in (1, 2, 3)]  # fmt: skip


@settings(FUZZ, max_examples=80)
@pytest.fixture(autouse=True, scope="module")
def silent():
    """No log lines: names that are no text cannot be sent from a worker of xdist."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@given(
    st.sampled_from([[], SOUND, [(place.partition("/")[2], name) for place, name in SOUND]]),
    st.lists(st.tuples(PLACES, FILES), max_size=8),
)
def test_a_folder_of_anything_is_a_task_or_refused(sound, laid):
    with tempfile.TemporaryDirectory() as made:
        for place, name in [*sound, *laid]:
            put(Path(made) / "data" / place, name)

        def read(root):
            task = load_task(root)
            for part in (task.train, task.val, task.test):
                for i in range(len(part)):
                    outcome(DropleError, part.read, i)
            return task

        task, words = outcome(DropleError, read, Path(made) / "data")
    if task is None:
        assert len(words) > 20
        return
    assert len({name.casefold() for name in task.classes}) == len(task.classes)
    assert {*task.train.labels.tolist()} == {*range(len(task.classes))}


# --- tables ---

ABOUT = {"classes": ["cat"]}
NAMES = ("a.png", "=b.png", 'c,"\n.png')


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """The bytes of the files of a table of three pictures, and the pictures."""
    folder = tmp_path_factory.mktemp("table")
    pictures = {}
    for number, name in enumerate(NAMES):
        pictures[name.replace("\n", "\\n")] = folder / f"{number}.png"
        noise_picture(18, 16, seed=number).save(folder / f"{number}.png")
    made = Table.open(folder / "out", ABOUT)
    made.add([Row(name, frozen="cat", draws=2) for name in pictures], pictures)
    return {path.name: path.read_bytes() for path in (folder / "out").iterdir()}, pictures


@FEW
@given(data=st.data())
def test_a_damaged_table_is_gone_on_with_or_refused(table, data):
    files, pictures = table
    hurt = data.draw(st.sampled_from(sorted(files)))
    bad = data.draw(damaged(files[hurt]) | st.binary(max_size=60) | JSON.map(json.dumps))
    with tempfile.TemporaryDirectory() as made:
        for name, whole in files.items():
            (Path(made) / name).write_bytes(whole)
        (Path(made) / hurt).write_bytes(bad if isinstance(bad, bytes) else bad.encode())

        def go_on(folder):
            table = Table.open(folder, ABOUT)
            left = table.left(pictures)
            table.add([Row(name) for name in left], pictures)
            return table.left(pictures), table.rows.read_bytes()

        found, words = outcome(DropleError, go_on, Path(made))
    if found is None:
        assert words.endswith("delete it.")
        return
    left, rows = found
    assert not left
    assert rows.startswith(",".join(HEADER).encode())
    assert rows.count(b"\n") >= 1 + len(pictures)
