"""How the report writes tables and puts its parts below one another."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """The lines of a table."""
    lines = [head, ["---"] * len(head), *rows]
    return ["| " + " | ".join(line) + " |" for line in lines]


def table_of(rows: Sequence[Mapping[str, str]]) -> list[str]:
    """The lines of a table whose rows hold a cell by column, all the same columns; none of none."""
    return table([*rows[0]], [[*row.values()] for row in rows]) if rows else []


def blocks(*parts: str | Sequence[str]) -> list[str]:
    """Lines of a page: its parts, an empty line between each two; parts without lines are left out.

    A part may be a single line.
    """
    lines: list[str] = []
    for part in filter(None, parts):
        lines += [*([""] if lines else []), *([part] if isinstance(part, str) else part)]
    return lines
