"""Cells of a CSV file that a spreadsheet shows and never runs."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Sequence

# How a formula starts, the full-width forms included; apostrophes before it were put there.
_FORMULA = re.compile("'*[=+\\-@\\t\\r\\n\uff1d\uff0b\uff0d\uff20]")
_NUMBER = re.compile(r"[+-]?([0-9][0-9.,]*|\.[0-9]+|inf|nan)(e[+-]?[0-9]+)?( ?%)?", re.IGNORECASE)


def defused(value: str) -> str:
    """A cell with an apostrophe before what would be a formula; plain numbers stay numbers.

    No two values become the same cell.
    """
    return f"'{value}" if _FORMULA.match(value) and not _NUMBER.fullmatch(value) else value


def csv_text(rows: Iterable[Sequence[object]]) -> str:
    """Rows as CSV, every cell defused; None is an empty cell."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerows(["" if v is None else defused(str(v)) for v in row] for row in rows)
    return buffer.getvalue()
