"""Results gathered into tables: one a data set and protocol, one row a method with its settings."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from shlex import quote
from typing import Any

import numpy as np

from drople.errors import DataError
from drople.evaluation.bootstrap import Resampled, figure_of, resample
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
        extras = ", ".join(f"{name} {shown(value)}" for name, value in self.extras.items())
        return f"{self.method} ({extras})" if extras else self.method

    @property
    def seeds(self) -> tuple[int, ...]:
        return tuple(result.seed for result in self.results)

    def figures(self, column: Column) -> np.ndarray:
        """One figure a seed, in percent."""
        return np.array([figure(result, column) for result in self.results])

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
        """The DroPLe row that ablations and rivals are set against: most rows are set like it."""
        own = [row for row in self.rows if row.method == "drople"]
        return max(own, key=lambda row: (len(self.like(row)), len(row.seeds)), default=None)

    def like(self, row: Row) -> list[Row]:
        """The learnt rows with the same settings, the row itself among them."""
        return [r for r in self.rows if r.method != FROZEN and r.extras == row.extras]

    def partner(self, row: Row, method: str) -> Row | None:
        """The row of another method with the same settings."""
        alike = (r for r in self.rows if r.method == method and _comparable(r, row))
        return next(alike, None)

    def pair(self, first: str, second: str) -> tuple[Row, Row] | None:
        """Two methods at the settings of the reference, where both were run so."""
        reference = self.reference() or next((r for r in self.rows if r.method == first), None)
        a = self.partner(reference, first) if reference else None
        b = self.partner(a, second) if a else None
        return (a, b) if a and b else None


def tabulate(results: Sequence[Result]) -> list[Table]:
    """Groups results, in the order of protocol, data and split.

    Raises:
        DataError: two results are of the same run.
    """
    groups = defaultdict(list)
    for r in results:
        what = (r.protocol, r.data_option, r.targets_option)
        groups[*what, r.backbone, r.weights, r.split, r.exams].append(r)
    return [_table(groups[key]) for key in sorted(groups)]


def figure(result: Result, column: Column) -> float:
    """A column of one run, in percent."""
    return float(figure_of(np.array([result.accuracy[name] for name in column.every]), column))


def shared_seeds(first: Row, second: Row) -> tuple[int, ...]:
    """The seeds over which two rows are compared; the frozen branch has none of its own."""
    if FROZEN in (first.method, second.method):
        return first.seeds if second.method == FROZEN else second.seeds
    return tuple(sorted({*first.seeds} & {*second.seeds}))


def resampled(first: Row, second: Row) -> tuple[Resampled, Resampled]:
    """Two rows on the images and seeds they share.

    Raises:
        ValueError: both learn, and they have no seed in common.
    """
    seeds = shared_seeds(first, second)
    if not seeds:
        raise ValueError(f"{first.label} and {second.label} share no seed")
    return of_seeds(first, seeds), of_seeds(second, seeds)


def of_seeds(row: Row, seeds: Sequence[int]) -> Resampled:
    """A row's hits of some seeds, resampled; the frozen branch is the same for all."""
    own = [r for r in row.results if row.method == FROZEN or r.seed in seeds]
    hits = {test_set: np.stack([r.hits[test_set] for r in own]) for test_set in own[0].hits}
    return resample(hits, own[0].samples, own[0].data)


def _table(results: Sequence[Result]) -> Table:
    learnt = [result.settings for result in results if result.method != FROZEN]
    shared = (learnt[0] if learnt else {}).items()
    common = {k: v for k, v in shared if all(k in s and s[k] == v for s in learnt)}
    rows: dict[tuple[str, str], dict[int, Result]] = defaultdict(dict)
    for result in results:
        mine = rows[result.method, repr(sorted(_extras(result, common).items()))]
        if result.seed in mine:
            raise DataError(
                f"Two runs claim to be {result.protocol} on {result.data} with {result.method}, "
                f"seed {result.seed} and the same settings; delete the one that is out of date."
            )
        mine[result.seed] = result
    ordered = [tuple(by_seed[seed] for seed in sorted(by_seed)) for by_seed in rows.values()]
    built = [Row(own, _extras(own[0], common)) for own in ordered]
    built.sort(key=lambda row: (row.method != FROZEN, row.method, row.label))
    wanted = columns(results[0].protocol, list(results[0].accuracy))
    return Table(common, tuple(built), tuple(wanted))


def _extras(result: Result, common: Mapping[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in result.settings.items() if k not in common or common[k] != v}


def _comparable(first: Row, second: Row) -> bool:
    if FROZEN in (first.method, second.method):
        a, b = first.results[0].settings, second.results[0].settings
        return all(a.get(name) == b.get(name) for name in _OF_THE_FROZEN)
    return first.extras == second.extras and bool({*first.seeds} & {*second.seeds})


def command(
    what: str, one: Made, seeds: Sequence[int], *, targets: str = "", methods: Sequence[str] = ()
) -> str:
    """The words that make it again; DATA and ROOT stand for the reader's folders.

    Args:
        methods: all that were made together, where there are several.
    """
    words = ["python -m drople evaluate", what, "--data", one.data_option]
    if not one.data_option.startswith("DATA/"):
        words += ["--root ROOT"]
    if targets:
        words += ["--targets", targets]
    if one.backbone != "mini":
        words += ["--backbone", one.backbone]
    words += ["--methods", ",".join(methods or [one.method])]
    if one.method != FROZEN:
        words += ["--seeds", ",".join(map(str, seeds))]
    if one.split != "test":
        words += ["--split", one.split]
    words += ["--precision", one.config["precision"]]  # else the machine decides
    settings = {name: value for name, value in one.settings.items() if name != "precision"}
    if settings:
        words += ["--set", *(quote(f"{k}={shown(v)}") for k, v in settings.items())]
    return " ".join(words)


def shown(value: Any) -> str:
    """A setting as `--set` reads it."""
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))
