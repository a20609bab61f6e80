"""Tables as the page and the files take them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

Table = dict[str, list[Any]]  # "headers", and "data": rows of texts


def table_of(rows: Sequence[dict[str, str]] = ()) -> Table:
    """A table of rows that each hold, in one order, a text by the header it stands under.

    Without rows it is hidden.
    """
    headers = [*rows[0]] if rows else [""]
    return {"headers": headers, "data": [[*row.values()] for row in rows]}


def table_under(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    """A table whose headers repeat, or whose rows are made otherwise."""
    return {"headers": [*headers], "data": [[*row] for row in rows]}
