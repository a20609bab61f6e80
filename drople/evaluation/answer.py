"""What base-to-novel runs of one backbone answer: which of two methods is better."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from drople.errors import DataError
from drople.evaluation import bootstrap, markdown
from drople.evaluation.bootstrap import Interval, Resampled
from drople.evaluation.forest import ForestRow
from drople.evaluation.protocols import Column
from drople.evaluation.runs import FROZEN
from drople.evaluation.sections import CORE
from drople.evaluation.tables import Row, Table, of_seeds, resampled, shared_seeds
from drople.training.config import METHODS

QUESTIONS = (
    # what is asked, first method, second method; the first is the headline
    ("Does IWTD beat vanilla dropout?", "drople", "drople-vanilla"),
    ("Does IWTD beat no dropout?", "drople", "drople-none"),
    ("Does DroPLe beat the frozen branch?", "drople", FROZEN),
    (
        "Does DroPLe's objective without token dropout beat the frozen branch?",
        "drople-none", FROZEN,
    ),
    ("Does MPL beat the frozen branch?", "mpl", FROZEN),
    ("Does DroPLe beat MPL?", "drople", "mpl"),
    ("Does DroPLe beat PromptSRC?", "drople", "promptsrc"),
)  # fmt: skip


@dataclass(frozen=True)
class Comparison:
    """Two methods at equal settings, on every task that has both."""

    pairs: Mapping[str, tuple[Resampled, Resampled]]  # by task
    seeds: int  # of the task with the fewest in common

    def over_all(self, column: Column, *, comparisons: int = 1) -> Interval:
        """First minus second over the tasks."""
        return bootstrap.mean_difference([*self.pairs.values()], column, comparisons=comparisons)

    @property
    def seeds_in_words(self) -> str:
        return f"{self.seeds} seed{'s' * (self.seeds > 1)}"

    def on_each(self, column: Column, *, comparisons: int = 1) -> dict[str, Interval]:
        """First minus second by task."""
        return {
            task: bootstrap.difference(*pair, column, comparisons=comparisons)
            for task, pair in self.pairs.items()
        }


def compare(tables: Sequence[Table], first: str, second: str) -> Comparison:
    """Compares two methods at the settings of each table's reference."""
    rivals = {table.one.data: pair for table in tables if (pair := table.pair(first, second))}
    return Comparison(
        {task: resampled(*pair) for task, pair in rivals.items()},
        min((len(shared_seeds(*pair)) for pair in rivals.values()), default=0),
    )


def headline(tables: Sequence[Table]) -> list[str]:
    """The question and the verdict.

    Args:
        tables: base-to-novel tables of one backbone.

    Raises:
        DataError: a task is there twice.
    """
    tasks = [table.one.data for table in tables]
    if len(set(tasks)) < len(tasks):
        raise DataError(
            f"Runs on {', '.join(tasks)}: the same task was tested on different images, or once "
            "as a folder and once by name; keep one of them."
        )
    one = compare(tables, *QUESTIONS[0][1:])
    columns = tables[0].columns
    words = {column.title: _verdict(one, column) for column in columns} if one.pairs else {}
    verdict = _plainly(words) if words else "open, no runs to compare"
    lines = [
        "**Does importance-weighted token dropout (IWTD) learn better prompts than vanilla dropout",
        f"at the same mean rate?** In this comparison: {verdict}.",
    ]
    if words:
        over = f"{', '.join(one.pairs)} and {one.seeds_in_words}"
        differences = [f"{column.title} {one.over_all(column)}" for column in columns]
        lines += [
            f"IWTD minus vanilla dropout, over {over}, in percent",
            f"points with 95 % intervals: {', '.join(differences)}.",
        ]
    return lines


def questions(tables: Sequence[Table]) -> list[str]:
    """Each question with its intervals in every column, and which methods lead each task."""
    columns = tables[0].columns
    rows = []
    for question, first, second in QUESTIONS:
        one = compare(tables, first, second)
        if not one.pairs:
            nothing = f"open: no runs of `{first}` and `{second}` to compare"
            rows.append([question, *[nothing] * len(columns), ""])
            continue
        cells = [
            f"{_verdict(one, column)}, {one.over_all(column)}{_of_each(one.on_each(column))}"
            for column in columns
        ]
        over = "all tasks" if len(one.pairs) == len(tables) else ", ".join(one.pairs)
        rows.append([question, *cells, f"{over}; {one.seeds_in_words}"])
    head = ["", *(column.title for column in columns), "over"]
    return [*markdown.table(head, rows), "", *map(_leaders, tables)]


def forest_rows(tables: Sequence[Table]) -> list[ForestRow]:
    """Every question that has runs: its difference in the last column over all tasks, then each.

    The corrected intervals allow for all rows together.
    """
    asked = {f"{a} minus {b}": compare(tables, a, b) for _, a, b in QUESTIONS}
    asked = {name: one for name, one in asked.items() if one.pairs}
    count = sum(1 + len(one.pairs) for one in asked.values())
    rows = []
    for name, one in asked.items():
        column = tables[0].columns[-1]
        rows.append(
            ForestRow(
                f"{name}, {tables[0].one.on}", one.over_all(column),
                one.over_all(column, comparisons=count), whole=True,
            )
        )  # fmt: skip
        corrected = one.on_each(column, comparisons=count)
        rows += [
            ForestRow(task, each, corrected[task]) for task, each in one.on_each(column).items()
        ]
    return rows


def _plainly(words: Mapping[str, str]) -> str:
    """Verdicts by column, or the one that they share."""
    if len(set(words.values())) == 1:
        return f"{next(iter(words.values()))} in {', '.join(words)}"
    return ", ".join(f"{title} {word}" for title, word in words.items())


def _of_each(each: Mapping[str, Interval]) -> str:
    """What the tasks show by themselves, where there are several and they show anything."""
    words = {name: one.word for name, one in each.items()}
    shown = [f"{name} {word}" for name, word in words.items() if word != bootstrap.NO_DIFFERENCE]
    if len(each) == 1 or not shown:
        return ""
    alike = len(shown) == len(each) and len({*words.values()}) == 1
    return " (on each task)" if alike else f" ({', '.join(shown)})"


def _verdict(one: Comparison, column: Column) -> str:
    words = {each.word for each in one.on_each(column).values()}
    return "mixed" if {"better", "worse"} <= words else one.over_all(column).word


def _leaders(table: Table) -> str:
    """Which methods lead a table, of those set like DroPLe and run with all its seeds."""
    reference, column = table.reference(), table.columns[-1]
    name = table.one.data
    if reference is None:
        return f"- **Which method leads on {name}?** Open: no run of `drople`."
    alike = [row for row in table.like(reference) if set(row.seeds) >= set(reference.seeds)]
    means = {
        row.method: row.figures(column)[np.isin(row.seeds, reference.seeds)].mean() for row in alike
    }
    leaders = sorted(means, key=lambda method: -means[method])[:4]
    shown = ", ".join(f"`{method}` {means[method]:.2f}" for method in leaders)
    if "drople" not in leaders:
        shown += f"; `drople` {means['drople']:.2f}"
    seeds = f"seed{'s' * (len(reference.seeds) > 1)} {', '.join(map(str, reference.seeds))}"
    left = len(table.like(reference)) - len(alike)
    others = f"; {left} with fewer seeds left out" if left else ""
    return (
        f"- **Which method leads on {name}?** The first of {len(alike)} methods with the same "
        f"settings, by {column.title} ({seeds}{others}): {shown}."
    )


def by_task(tables: Sequence[Table]) -> list[str]:
    """Every method at the reference's settings: a column a task, means over the row's seeds."""
    cells: dict[str, dict[str, str]] = {}  # method -> task -> its figures
    for table in tables:
        reference = table.reference()
        own = table.like(reference) if reference else [r for r in table.rows if not r.extras]
        frozen = table.partner(reference, FROZEN) if reference else None
        for row in [*own, *([frozen] if frozen else [])]:
            means = [f"{row.figures(column).mean():.2f}" for column in table.columns]
            cells.setdefault(row.method, {})[table.one.data] = " / ".join(means)
    tasks = [table.one.data for table in tables]
    shown = [method for method in METHODS if method in cells]
    rows = [[method, *(cells[method].get(task, "") for task in tasks)] for method in shown]
    return markdown.table(["method", *tasks], rows)


def averages(tables: Sequence[Table]) -> list[str]:
    """The main methods over the tasks that have all of them."""
    columns, methods = tables[0].columns, (FROZEN, *CORE)
    complete: dict[str, list[Row]] = {}  # task -> a row a method
    for table in tables:
        reference = table.reference()
        own = [table.partner(reference, method) for method in methods] if reference else []
        rows = [row for row in own if row]
        if len(rows) == len(methods):
            complete[table.one.data] = rows
    if len(complete) < 2:
        return ["No two tasks have all of the main methods yet."]
    learnt = [row for rows in complete.values() for row in rows if row.method != FROZEN]
    seeds = sorted(set.intersection(*(set(row.seeds) for row in learnt)))
    if not seeds:
        return ["The main methods share no seed over the tasks."]
    lines = []
    for method, *rows in zip(methods, *complete.values(), strict=True):
        tasks = [of_seeds(row, seeds) for row in rows]
        means = [f"{bootstrap.over_tasks(tasks, column)[0]:.2f}" for column in columns]
        lines.append([method, *means])
    return markdown.blocks(
        f"## Over {', '.join(complete)}, {tables[0].one.on}",
        f"Seeds {', '.join(map(str, seeds))}.",
        markdown.table(["method", *(column.title for column in columns)], lines),
    )
