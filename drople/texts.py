"""Reading texts from outside: UTF-8, UTF-16 or UTF-32, and Latin-1 where nothing else fits."""

from __future__ import annotations

import codecs
import json
import logging
import os
from pathlib import Path
from typing import Any

from drople.errors import DataError

log = logging.getLogger(__name__)
# What a file may start with; UTF-32's mark starts with UTF-16's, so it is asked for first.
MARKS = {
    "utf-32": (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE),
    "utf-16": (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE),
}


def read_text(path: str | Path) -> str:
    """The text of a file, without byte order mark, with plain line ends.

    What is in none of the Unicode encodings is read as Latin-1, and the log says so.

    Raises:
        DataError: there is no such file, or it cannot be read, or it is no text.
    """
    path = Path(path)
    if os.path.exists(path) and not os.path.isfile(path):
        raise DataError(f"{path} is not a file. Give a text file.")
    try:
        data = path.read_bytes()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise DataError(f"{path} cannot be read: {reason}.") from error
    return decode_text(data, path.name)


def decode_text(data: bytes, name: str) -> str:
    """The text of a file's bytes, see `read_text`; `name` is what messages call it.

    Raises:
        DataError: it is no text.
    """
    kind = next((one for one, marks in MARKS.items() if data.startswith(marks)), _unmarked(data))
    try:
        text = data.decode(kind)
    except UnicodeDecodeError as error:
        if kind != "utf-8-sig":
            raise DataError(f"{name} is damaged: {error.reason} in {kind.upper()}.") from error
        if b"\0" in data:
            raise DataError(f"{name} is not a text. Save it as UTF-8 text.") from error
        log.warning("%s is not UTF-8 and was read as Latin-1; check names with accents.", name)
        text = data.decode("latin-1")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _unmarked(data: bytes) -> str:
    """The encoding of bytes without a mark: half of a UTF-16 text in Latin letters is zeros."""
    some = data[:1000]
    for first, kind in ((0, "utf-16-be"), (1, "utf-16-le")):
        zeros, others = some[first::2], some[1 - first :: 2]
        if zeros and not any(zeros) and all(others):
            return kind
    return "utf-8-sig"


def read_json(path: str | Path) -> Any:
    """The value of a JSON file in any encoding that `read_text` reads.

    Raises:
        DataError: it cannot be read, or is not JSON.
    """
    try:
        return json.loads(read_text(path))
    except (ValueError, RecursionError) as error:
        raise DataError(f"{Path(path).name} is not JSON: {error}.") from error
