"""Files and ZIPs of strangers: pictures are found, and nothing in a ZIP is trusted."""

from __future__ import annotations

import struct
import zipfile
from zlib import crc32

import pytest

from app import uploads
from app.uploads import find_uploads
from drople.errors import DataError, ImageError


@pytest.fixture
def pack(tmp_path):
    """Writes a ZIP of names and contents."""

    def packed(files, name="set.zip", method=zipfile.ZIP_DEFLATED):
        with zipfile.ZipFile(tmp_path / name, "w", method) as archive:
            for one, content in files.items():
                archive.writestr(one, content)
        return tmp_path / name

    return packed


def names(found):
    return [one.name for one in found]


def test_pictures_of_files_and_zips_are_found_and_the_rest_is_named(pack, tmp_path):
    (tmp_path / "z.JPG").write_bytes(b"z")
    (tmp_path / "notes.txt").write_bytes(b"n")
    archive = pack({"b/two.png": b"2", "one.webp": b"1", "b/": b"", "read.me": b"", "in.zip": b""})
    found, others = find_uploads([tmp_path / "z.JPG", archive, tmp_path / "notes.txt"])
    assert [(one.name, one.content()) for one in found] == [
        ("b/two.png", b"2"), ("one.webp", b"1"), ("z.JPG", b"z"),
    ]  # fmt: skip
    assert others == ["in.zip", "notes.txt", "read.me"]


def test_what_programs_leave_behind_is_passed_over(pack):
    litter = ("__MACOSX/a.jpg", ".hidden/a.jpg", "b/._a.jpg", "b/Thumbs.db", ".DS_Store")
    found, others = find_uploads([pack({**dict.fromkeys(litter, b"x"), "./a.jpg": b"a"})])
    assert (names(found), others) == (["./a.jpg"], [])


def test_a_name_never_leads_out_of_the_zip(pack, tmp_path):
    archive = pack({"../../evil.jpg": b"evil", "/etc/evil.jpg": b"evil", "a.jpg": b"a"})
    before = {*tmp_path.rglob("*")}
    found, _ = find_uploads([archive])
    assert [one.content() for one in found if "evil" in one.name] == [b"evil"] * (len(found) - 1)
    assert {*tmp_path.rglob("*")} == before


def test_two_entries_of_one_name_are_two_pictures(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("a.jpg", b"1")
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr("a.jpg", b"2")
    found, _ = find_uploads([tmp_path / "a.zip"])
    assert [one.content() for one in found] == [b"1", b"2"]


def test_a_picture_that_unpacks_to_too_much_is_refused(pack, monkeypatch):
    monkeypatch.setattr(uploads, "MAX_BYTES", 1000)
    (one,), _ = find_uploads([pack({"bomb.png": b"0" * 100_000})])
    with pytest.raises(ImageError, match="MB"):
        one.content()


def test_a_picture_that_unpacks_to_more_than_it_says_is_damaged(pack):
    archive = pack({"a.png": b"0" * 1000})
    content = archive.read_bytes()
    lie = struct.pack("<I", 10)
    archive.write_bytes(content.replace(struct.pack("<I", 1000), lie))
    (one,), _ = find_uploads([archive])
    with pytest.raises(ImageError, match="damaged"):
        one.content()


def test_a_damaged_picture_is_said_to_be(pack):
    archive = pack({"a.png": bytes(range(256)) * 9})
    content = bytearray(archive.read_bytes())
    assert crc32(bytes(range(256)) * 9).to_bytes(4, "little") in content
    content[60:70] = b"\xff" * 10
    archive.write_bytes(content)
    (one,), _ = find_uploads([archive])
    with pytest.raises(ImageError, match="damaged"):
        one.content()


def test_other_ways_of_packing_are_not_read(pack):
    (one,), _ = find_uploads([pack({"a.png": b"0" * 1000}, method=zipfile.ZIP_LZMA)])
    with pytest.raises(ImageError, match="not read here"):
        one.content()


@pytest.mark.parametrize("content", [b"", b"no zip", b"PK\5\6" + b"\0" * 9])
def test_what_is_no_zip_is_refused_by_name(tmp_path, content):
    (tmp_path / "bad.zip").write_bytes(content)
    with pytest.raises(DataError, match=r"bad\.zip is no ZIP file"):
        find_uploads([tmp_path / "bad.zip"])


def test_a_zip_that_lists_too_much_is_refused_unread(pack, monkeypatch):
    archive = pack({f"{i}.jpg": b"" for i in range(50)})
    monkeypatch.setattr(uploads, "MAX_DIRECTORY", 1000)
    monkeypatch.setattr(zipfile, "ZipFile", None)  # would be called to read it
    with pytest.raises(DataError, match="too many files"):
        find_uploads([archive])
