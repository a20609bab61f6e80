"""Many pictures at once: files and ZIPs that a visitor gave, none of which is trusted.

No name in a ZIP becomes a path here, and no entry is unpacked before it is wanted.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from drople.errors import DataError, ImageError
from drople.images import SUFFIXES, visible

MAX_BYTES = 20 * 2**20  # of one picture, unpacked
MAX_DIRECTORY = 2**20  # bytes of the list of what is in a ZIP, read into memory as a whole
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # others may take gigabytes to unpack
# RuntimeError: what is locked, or packed otherwise.
_DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError)


@dataclass(frozen=True)
class Upload:
    """A picture by the name its visitor knows: a file, or an entry of a ZIP."""

    name: str  # in a ZIP its path there
    file: Path
    entry: int | None = None  # its place in the ZIP's list

    @property
    def suffix(self) -> str:
        return PurePosixPath(self.name).suffix.lower()

    def content(self) -> bytes:
        """The picture's bytes.

        Raises:
            ImageError: it is too large, or cannot be taken out of the ZIP.
        """
        if self.entry is None:
            return self.file.read_bytes()
        try:
            with zipfile.ZipFile(self.file) as packed:
                info = packed.infolist()[self.entry]
                if info.compress_type not in METHODS or info.flag_bits & 1:
                    raise ImageError("It is encrypted or packed in a way that is not read here.")
                with packed.open(info) as file:
                    content = file.read(MAX_BYTES + 1)
        except _DAMAGED:
            raise ImageError("It is damaged: it cannot be taken out of the ZIP.") from None
        if len(content) > MAX_BYTES:
            raise ImageError(f"It has more than {MAX_BYTES >> 20} MB. Shrink it first.")
        return content


def find_uploads(files: Sequence[str | Path]) -> tuple[list[Upload], list[str]]:
    """The pictures among files and in ZIPs, sorted by name, and the names of what else is there.

    Folders, hidden files and what programs leave behind are passed over. A ZIP in a ZIP is not
    opened.

    Raises:
        DataError: a ZIP is damaged, or lists too much.
    """
    found: list[Upload] = []
    for file in map(Path, files):
        found += _entries(file) if file.suffix.lower() == ".zip" else [Upload(file.name, file)]
    found.sort(key=lambda one: one.name)
    return (
        [one for one in found if one.suffix in SUFFIXES],
        [one.name for one in found if one.suffix not in SUFFIXES],
    )


def _entries(file: Path) -> list[Upload]:
    try:
        _check_directory(file)
        with zipfile.ZipFile(file) as packed:
            return [
                Upload(one.filename, file, i)
                for i, one in enumerate(packed.infolist())
                if not one.is_dir()
                and all(visible(Path(part)) for part in PurePosixPath(one.filename).parts)
            ]
    except _DAMAGED:
        raise DataError(f"{file.name} is no ZIP file that can be read. Pack it again.") from None


def _check_directory(file: Path) -> None:
    """Refuses a ZIP whose list would fill the memory; only the file's end is read."""
    with file.open("rb") as opened:
        opened.seek(max(0, file.stat().st_size - 2**16 - 22))
        end = opened.read()
    at = end.rfind(b"PK\5\6")
    size = int.from_bytes(end[at + 12 : at + 16], "little")
    if at >= 0 and (size > MAX_DIRECTORY or b"PK\6\7" in end):  # the latter lists beyond 4 GB
        raise DataError(f"{file.name} lists too many files. Pack fewer at a time.")
