"""How the report writes a table and a difference."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from drople.evaluation.bootstrap import Difference


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """The lines of a table."""
    lines = [head, ["---"] * len(head), *rows]
    return ["| " + " | ".join(line) + " |" for line in lines]


def signed(found: Difference) -> str:
    """A difference with its interval, in percent points."""
    interval = found.interval()
    cells = (interval.estimate, interval.low, interval.high)
    estimate, low, high = (f"{round(cell, 2) + 0.0:+.2f}" for cell in cells)
    return f"{estimate} [{low}, {high}]"
