"""Which files under folders are pictures, and what is said of the others."""

from __future__ import annotations

import os

import pytest

from drople.errors import ImageError
from drople.images import image_files, read_image


def filled(folder, *names):
    """A folder with empty files of those names."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def names_of(folder):
    return [path.relative_to(folder).as_posix() for path in image_files(folder)]


def test_hidden_files_and_litter_are_passed_over(tmp_path, caplog):
    litter = ("__MACOSX/a/._c.jpeg", "__MACOSX/f.jpg", "Thumbs.db", "a/.DS_Store", "@eaDir/g.jpg")
    hidden = (".d.jpg", "._b.png", ".ipynb_checkpoints/e.png")
    filled(tmp_path, "b.PNG", "a/c.jpeg", *hidden, *litter)
    assert names_of(tmp_path) == ["a/c.jpeg", "b.PNG"]
    assert not caplog.text


def test_other_endings_are_counted_and_said(tmp_path, caplog):
    filled(tmp_path, "a.jpg", "b.HEIC", "c.heic", "d/e.txt", "f")
    assert names_of(tmp_path) == ["a.jpg"]
    assert f"Left out under {tmp_path}: 2 .heic, 1 .txt, 1 without ending; read are .bmp" in (
        caplog.text
    )


def test_links_are_followed_and_a_circle_ends(tmp_path):
    away = filled(tmp_path / "away", "a.jpg", "b/c.jpg")
    here = filled(tmp_path / "here", "own.jpg")
    (here / "linked").symlink_to(away)
    (here / "one.jpg").symlink_to(away / "a.jpg")
    (here / "circle").symlink_to(here)
    assert names_of(here) == ["linked/a.jpg", "linked/b/c.jpg", "one.jpg", "own.jpg"]


def test_a_broken_link_and_a_pipe_are_named_when_they_are_read(tmp_path):
    (tmp_path / "gone.jpg").symlink_to(tmp_path / "nowhere.jpg")
    os.mkfifo(tmp_path / "pipe.jpg")
    assert names_of(tmp_path) == ["gone.jpg", "pipe.jpg"]
    with pytest.raises(ImageError, match=r"There is no file gone\.jpg"):
        read_image(tmp_path / "gone.jpg")
    with pytest.raises(ImageError, match=r"pipe\.jpg is not a file"):
        read_image(tmp_path / "pipe.jpg")
