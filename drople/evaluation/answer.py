"""The opening of the report: the plain answer, over all tasks that can give it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from drople.errors import DataError
from drople.evaluation import markdown
from drople.evaluation.bootstrap import Difference, difference, mean_difference, over_tasks
from drople.evaluation.protocols import Column
from drople.evaluation.runs import FROZEN
from drople.evaluation.sections import CORE
from drople.evaluation.tables import Row, Table, of_seeds, resampled, shared_seeds

QUESTIONS = (
    # what is asked, first method, second method
    ("Does DroPLe beat the frozen branch?", "drople", FROZEN),
    (
        "Does DroPLe's objective without token dropout beat the frozen branch?",
        "drople-none",
        FROZEN,
    ),
    ("Does IWTD beat no dropout?", "drople", "drople-none"),
    ("Does IWTD beat vanilla dropout?", "drople", "drople-vanilla"),
    ("Does MPL beat the frozen branch?", "mpl", FROZEN),
    ("Does DroPLe beat MPL?", "drople", "mpl"),
    ("Does DroPLe beat PromptSRC?", "drople", "promptsrc"),
)


HEADLINE = QUESTIONS[3]


def answer(found: Sequence[Table]) -> list[str]:
    """The headline's verdict, each question with its intervals, which methods lead each task.

    Args:
        found: base-to-novel tables of one backbone.

    Raises:
        DataError: a task is there twice.
    """
    tasks = [table.one.data for table in found]
    if len(set(tasks)) < len(tasks):
        raise DataError(
            f"Runs on {', '.join(tasks)}: the same task was tested on different images, or once "
            "as a folder and once by name; keep one of them."
        )
    columns = found[0].columns
    rows, headline = [], "open, no runs to compare"
    for question, first, second in QUESTIONS:
        rivals = [(table, *pair) for table in found if (pair := table.pair(first, second))]
        if not rivals:
            nothing = f"open: no runs of `{first}` and `{second}` to compare"
            rows.append([question, *[nothing] * len(columns), ""])
            continue
        both = {table.one.data: resampled(a, b) for table, a, b in rivals}
        cells, words = [], []
        for column in columns:
            merged = mean_difference(list(both.values()), column)
            each = {name: difference(*pair, column) for name, pair in both.items()}
            words.append(_verdict(merged, each))
            cells.append(f"{words[-1]}, {markdown.signed(merged)}{_of_each(each)}")
        fewest = min(len(shared_seeds(a, b)) for _, a, b in rivals)
        over = "all tasks" if len(both) == len(tasks) else ", ".join(both)
        rows.append([question, *cells, f"{over}; {fewest} seed{'s' * (fewest > 1)}"])
        if (question, first, second) == HEADLINE:
            headline = _plainly(dict(zip((c.title for c in columns), words, strict=True)))
    head = ["", *(column.title for column in columns), "over"]
    said = [
        "**Does importance-weighted token dropout (IWTD) learn better prompts than vanilla dropout",
        f"at the same mean rate?** In this comparison: {headline}. In percent points, with 95 %",
        f"intervals, over {', '.join(tasks)}:",
    ]
    return [*said, "", *markdown.table(head, rows), "", *map(_leaders, found)]


def _plainly(words: Mapping[str, str]) -> str:
    """Verdicts by column, or the one that they share."""
    if len(set(words.values())) == 1:
        return f"{next(iter(words.values()))} in {', '.join(words)}"
    return ", ".join(f"{title} {word}" for title, word in words.items())


def _of_each(each: Mapping[str, Difference]) -> str:
    """What the tasks show by themselves, where there are several and they show anything."""
    words = {name: _word(one) for name, one in each.items()}
    shown = [f"{name} {word}" for name, word in words.items() if word != _NOTHING]
    if len(each) == 1 or not shown:
        return ""
    alike = len(shown) == len(each) and len(set(words.values())) == 1
    return " (on each task)" if alike else f" ({', '.join(shown)})"


def _leaders(table: Table) -> str:
    """Which methods lead a table, of those set like DroPLe and run with all its seeds."""
    reference, column = table.reference(), table.columns[-1]
    name = table.one.data
    if reference is None:
        return f"- **Which method leads on {name}?** Open: no run of `drople`."
    alike = [row for row in table.like(reference) if set(row.seeds) >= set(reference.seeds)]
    means = {row.method: _over(row, reference.seeds, column) for row in alike}
    leaders = sorted(means, key=lambda method: -means[method])[:4]
    said = ", ".join(f"`{method}` {means[method]:.2f}" for method in leaders)
    if "drople" not in leaders:
        said += f"; `drople` {means['drople']:.2f}"
    seeds = f"seed{'s' * (len(reference.seeds) > 1)} {', '.join(map(str, reference.seeds))}"
    left = len(table.like(reference)) - len(alike)
    others = f"; {left} with fewer seeds left out" if left else ""
    return (
        f"- **Which method leads on {name}?** The first of {len(alike)} methods with the same "
        f"settings, by {column.title} ({seeds}{others}): {said}."
    )


def _over(row: Row, seeds: Sequence[int], column: Column) -> float:
    values = dict(zip(row.seeds, row.figures(column), strict=True))
    return float(np.mean([values[seed] for seed in seeds]))


def averages(found: Sequence[Table]) -> list[str]:
    """The main methods over the tasks that have all of them."""
    columns, methods = found[0].columns, (FROZEN, *CORE)
    complete: dict[str, list[Row]] = {}  # task -> a row a method
    for table in found:
        reference = table.reference()
        own = [table.partner(reference, method) for method in methods] if reference else []
        rows = [row for row in own if row]
        if len(rows) == len(methods):
            complete[table.one.data] = rows
    if len(complete) < 2:
        return ["No two tasks have all of the main methods yet."]
    lines = []
    learnt = [row for rows in complete.values() for row in rows if row.method != FROZEN]
    seeds = sorted(set.intersection(*(set(row.seeds) for row in learnt)))
    if not seeds:
        return ["The main methods share no seed over the tasks."]
    for method, *rows in zip(methods, *complete.values(), strict=True):
        tasks = [of_seeds(row, seeds) for row in rows]
        lines.append([method, *(f"{over_tasks(tasks, column)[0]:.2f}" for column in columns)])
    title = f"## Over {', '.join(complete)}, {found[0].one.on}"
    shown = markdown.table(["method", *(column.title for column in columns)], lines)
    return [title, "", f"Seeds {', '.join(map(str, seeds))}.", "", *shown]


_NOTHING = "no difference shown"


def _word(found: Difference) -> str:
    interval = found.interval()
    if round(interval.low, 2) > 0:
        return "better"
    return "worse" if round(interval.high, 2) < 0 else _NOTHING


def _verdict(merged: Difference, each: Mapping[str, Difference]) -> str:
    return "mixed" if {"better", "worse"} <= {*map(_word, each.values())} else _word(merged)
