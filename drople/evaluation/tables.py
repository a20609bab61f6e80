"""Results gathered into tables: one a data set and protocol, one row a method with its settings."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from shlex import quote
from typing import Any

import numpy as np

from drople.evaluation.intervals import Difference, paired_difference, score
from drople.evaluation.protocols import Column, columns
from drople.evaluation.runs import FROZEN, Made, Result

_OF_THE_FROZEN = ("template", "precision")  # settings that the frozen branch depends on


@dataclass(frozen=True)
class Row:
    """A method with its settings, over its seeds."""

    results: tuple[Result, ...]  # by seed
    extras: dict[str, Any]  # settings that are not common to the table

    @property
    def method(self) -> str:
        return self.results[0].method

    @property
    def label(self) -> str:
        extras = ", ".join(f"{name} {_shown(value)}" for name, value in self.extras.items())
        return f"{self.method} ({extras})" if extras else self.method

    @property
    def seeds(self) -> tuple[int, ...]:
        return tuple(result.seed for result in self.results)

    def figures(self, column: Column) -> np.ndarray:
        """One figure a seed, in percent."""
        return np.array([figures(result, [column])[column.title] for result in self.results])

    def command(self) -> str:
        """What makes this row; DATA and ROOT stand for the reader's folders."""
        one = self.results[0]
        return command(one.protocol, one, self.seeds, targets=one.targets_option)


@dataclass(frozen=True)
class Table:
    """All rows that can be compared: same protocol, data, test images and backbone."""

    common: dict[str, Any]  # settings of every learnt row
    rows: tuple[Row, ...]
    columns: tuple[Column, ...]

    @property
    def one(self) -> Result:
        """Any of the results: they agree on protocol, data, backbone and split."""
        return self.rows[0].results[0]

    def reference(self) -> Row | None:
        """The DroPLe row that ablations and rivals are set against."""
        found = [row for row in self.rows if row.method == "drople"]
        return min(found, key=lambda row: (len(row.extras), -len(row.seeds)), default=None)

    def partner(self, row: Row, method: str) -> Row | None:
        """The row of another method with the same settings."""
        for other in self.rows:
            if other.method == method and _comparable(other, row):
                return other
        return None


def tables(results: Sequence[Result]) -> list[Table]:
    """Groups results, in the order of protocol, data and split."""
    groups = defaultdict(list)
    for r in results:
        key = (r.protocol, r.data_option, r.targets_option, r.backbone, r.split, r.exams)
        groups[key].append(r)
    return [_table(groups[key]) for key in sorted(groups)]


def figures(result: Result, wanted: Sequence[Column]) -> dict[str, float]:
    """The columns of one run, in percent."""
    return {
        column.title: float(
            score(np.array([result.accuracy[name] for name in column.exams]), column.harmonic)
        )
        for column in wanted
    }


def difference(first: Row, second: Row, column: Column) -> Difference:
    """First minus second, paired over test images and, where both learn, over seeds.

    Raises:
        ValueError: both learn, and they have no seed in common.
    """
    shared = set(first.seeds) & set(second.seeds)
    if FROZEN in (first.method, second.method):
        shared = {*first.seeds, *second.seeds}
    if not shared:
        raise ValueError(f"{first.label} and {second.label} share no seed")
    hits = [
        {
            exam: np.stack([r.hits[exam] for r in row.results if r.seed in shared])
            for exam in column.exams
        }
        for row in (first, second)
    ]
    return paired_difference(hits[0], hits[1], column, first.results[0].samples)


def _table(results: Sequence[Result]) -> Table:
    learnt = [result.settings for result in results if result.method != FROZEN]
    common = {
        name: value
        for name, value in (learnt[0] if learnt else {}).items()
        if all(settings.get(name) == value for settings in learnt)
    }
    rows: dict[tuple[str, str], dict[int, Result]] = defaultdict(dict)
    for result in results:
        extras = {k: v for k, v in result.settings.items() if common.get(k) != v}
        rows[result.method, repr(sorted(extras.items()))][result.seed] = result
    built = []
    for by_seed in rows.values():
        ordered = tuple(by_seed[seed] for seed in sorted(by_seed))
        settings = ordered[0].settings
        built.append(Row(ordered, {k: v for k, v in settings.items() if common.get(k) != v}))
    built.sort(key=lambda row: (row.method != FROZEN, row.method, row.label))
    wanted = columns(results[0].protocol, list(results[0].accuracy))
    return Table(common, tuple(built), tuple(wanted))


def _comparable(first: Row, second: Row) -> bool:
    if FROZEN in (first.method, second.method):
        a, b = first.results[0].settings, second.results[0].settings
        return all(a.get(name) == b.get(name) for name in _OF_THE_FROZEN)
    shared = set(first.seeds) & set(second.seeds)
    return first.extras == second.extras and bool(shared)


def command(what: str, one: Made, seeds: Sequence[int], *, targets: str = "") -> str:
    """The words that make it again; DATA and ROOT stand for the reader's folders."""
    words = ["python -m drople evaluate", what, "--data", one.data_option]
    if not one.data_option.startswith("DATA/"):
        words += ["--root ROOT"]
    if targets:
        words += ["--targets", targets]
    if one.backbone != "mini":
        words += ["--backbone", one.backbone]
    words += ["--methods", one.method]
    if one.method != FROZEN:
        words += ["--seeds", ",".join(map(str, seeds))]
    if one.split != "test":
        words += ["--split", one.split]
    if one.settings:
        words += ["--set", *(quote(f"{k}={_shown(v)}") for k, v in one.settings.items())]
    return " ".join(words)


def _shown(value: Any) -> str:
    """As `--set` reads it."""
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))
