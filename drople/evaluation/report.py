"""RESULTS.md from the finished runs: every number comes from a run's files, or is labelled."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from drople.errors import DataError
from drople.evaluation import sections
from drople.evaluation.choice import ChoiceResult, read_choices
from drople.evaluation.cost import StepCost, read_costs
from drople.evaluation.intervals import Difference, mean_difference
from drople.evaluation.protocols import Column
from drople.evaluation.runs import FROZEN, read_results
from drople.evaluation.sections import markdown
from drople.evaluation.tables import Row, Table, difference, figures, tables

QUESTIONS = (
    # what is asked, first method, second method
    ("Does DroPLe beat the frozen branch?", "drople", FROZEN),
    ("Does prompting without dropout beat the frozen branch?", "drople-none", FROZEN),
    ("Does IWTD beat no dropout?", "drople", "drople-none"),
    ("Does IWTD beat vanilla dropout?", "drople", "drople-vanilla"),
    ("Does MPL beat the frozen branch?", "mpl", FROZEN),
    ("Does DroPLe beat MPL?", "drople", "mpl"),
)


def write_report(runs: Path, out: Path) -> None:
    """Writes the report of a folder of runs.

    Raises:
        DataError: there is no finished run.
    """
    found = tables(read_results(runs))
    if not found:
        raise DataError(f"No finished run lies in {runs}; python -m drople evaluate makes them.")
    out.write_text("\n".join(compose(found, read_choices(runs), read_costs(runs))) + "\n")
    print(f"wrote {out}")


def compose(
    found: Sequence[Table],
    choices: Sequence[ChoiceResult] = (),
    costs: Sequence[Sequence[StepCost]] = (),
) -> list[str]:
    """The lines of the report."""
    tested = [table for table in found if table.one.split == "test"]
    tried = [table for table in found if table.one.split == "val"]
    halves = [table for table in tested if table.one.protocol == "base-to-novel"]
    lines = ["# Results", "", *_answer(halves), *sections.difference_of_dropouts(choices)]
    lines += ["", *_READING, ""]
    for table in tested:
        lines += [*_accuracies(table), "", *_differences(table), ""]
    lines += ["## Ablations and sensitivity", "", *_ablations(halves), ""]
    lines += ["## How far IWTD chooses", "", *sections.choices(choices), ""]
    lines += ["## What was tried, on validation data", ""]
    lines += [line for table in tried for line in (*_accuracies(table, level="###"), "")]
    if not tried:
        lines += ["No runs with `--split val`.", ""]
    lines += ["## Cost", "", *sections.costs(costs, tested), ""]
    lines += ["## Published numbers, not ours", "", *sections.published(), ""]
    return [*lines, "## What is missing", "", *sections.missing(tested)]


_READING = (
    "Accuracies are in percent, mean ± standard deviation over the seeds, of the last epoch; test",
    "data select nothing. Base and novel classes are each classified against their own names, and",
    "the harmonic mean is taken for each seed. Brackets hold 95 % bootstrap intervals of paired",
    "differences: test images are resampled (2000 times) with the trained models fixed, so seeds",
    "vary beside them, not in them. `zero-shot` is the frozen branch. In commands, DATA and ROOT",
    "stand for the folders that hold the packs and the named data sets. The answers above and all",
    "differences are worked out of those runs: python -m drople evaluate report.",
)


def _answer(halves: Sequence[Table]) -> list[str]:
    """The plain answer: each question over all data sets that can answer it."""
    if not halves:
        return ["**No base-to-novel run has finished, so the main questions are open.**"]
    lines = []
    for question, first, second in QUESTIONS:
        pairs = [pair for table in halves for pair in _pairs(table, first, second)]
        if not pairs:
            lines.append(f"- **{question}** Open: no runs of `{first}` and `{second}` to compare.")
            continue
        parts = []
        for i, title in enumerate(column.title for column in halves[0].columns):
            over = [difference(a, b, table.columns[i]) for table, a, b in pairs]
            merged = mean_difference(over)
            parts.append(f"{_verdict(merged)} on {title}, {_signed(merged)}")
        names = ", ".join(table.one.data for table, _, _ in pairs)
        fewest = min(len(a.seeds) for _, a, _ in pairs)
        seeds = "a single seed" if fewest == 1 else f"at least {fewest} seeds"
        lines.append(f"- **{question}** {'; '.join(parts)} (points; mean over {names}; {seeds}).")
    return [*lines, *(_best(table) for table in halves)]


def _best(table: Table) -> str:
    """Which rows lead a table, by the seeds that all its rows have."""
    learnt = [row for row in table.rows if row.method != FROZEN]
    shared = sorted(set.intersection(*(set(row.seeds) for row in learnt))) if learnt else []
    name, column = table.one.data, table.columns[-1]
    if not shared:
        return f"- **Which method leads on {name}?** Open: its rows share no seed."
    means = {
        row.label: float(np.mean([figures(r, [column])[column.title] for r in row.results
                                  if r.seed in shared]))
        for row in learnt
    }  # fmt: skip
    leaders = sorted(means, key=lambda label: -means[label])[:3]
    said = ", ".join(f"`{label}` {means[label]:.2f}" for label in leaders)
    if "drople" in means and "drople" not in leaders:
        said += f"; `drople` {means['drople']:.2f}"
    seeds = f"seed{'s' * (len(shared) > 1)} {', '.join(map(str, shared))}"
    return f"- **Which method leads on {name}?** By {column.title}, {seeds}: {said}."


def _accuracies(table: Table, level: str = "##") -> list[str]:
    one = table.one
    common = ", ".join(f"{name} {value}" for name, value in table.common.items())
    sizes = ", ".join(f"{name} {count}" for name, count in _sizes(table).items())
    head = [column.title for column in table.columns]
    rows = []
    for row in table.rows:
        cells = [_mean(row.figures(column)) for column in table.columns]
        seeds = "" if row.method == FROZEN else str(len(row.seeds))
        rows.append([row.label, *cells, seeds, f"`{row.command()}`"])
    return [
        f"{level} {one.protocol}, {one.data}, {one.backbone}",
        "",
        f"Images: {sizes}. "
        + (f"Every learnt row: {common}." if common else "Settings as declared in METHODS."),
        "",
        *markdown(["method", *head, "seeds", "command"], rows),
    ]


def _sizes(table: Table) -> dict[str, int]:
    """Test images of each distinct sample."""
    one = table.one
    return {sample: one.images[exam] for exam, sample in one.samples.items()}


def _differences(table: Table) -> list[str]:
    rows = []
    for _, first, second in QUESTIONS:
        for _, a, b in _pairs(table, first, second):
            rows.append([f"{first} minus {second}", *_intervals(a, b, table.columns)])
    head = ["paired difference", *(column.title for column in table.columns)]
    return markdown(head, rows) if rows else ["No pair of rows to compare yet."]


def _ablations(halves: Sequence[Table]) -> list[str]:
    lines = []
    for table in halves:
        reference = table.reference()
        if reference is None:
            continue
        rows = [
            [row.label, *_intervals(row, reference, table.columns)]
            for row in table.rows
            if row.method.startswith("drople")
            and row is not reference
            and set(row.seeds) & set(reference.seeds)
        ]
        if rows:
            head = [f"minus {reference.label}", *(column.title for column in table.columns)]
            lines += [f"{table.one.data}:", "", *markdown(head, rows), ""]
    return lines[:-1] or ["No ablation has been run."]


def _pairs(table: Table, first: str, second: str) -> list[tuple[Table, Row, Row]]:
    """The two rows of a question, at the settings of the reference; none or one pair."""
    reference = table.reference()
    a = table.partner(reference, first) if reference else _first(table, first)
    b = table.partner(a, second) if a else None
    return [(table, a, b)] if a and b else []


def _first(table: Table, method: str) -> Row | None:
    return next((row for row in table.rows if row.method == method), None)


def _intervals(a: Row, b: Row, columns: Iterable[Column]) -> list[str]:
    return [_signed(difference(a, b, column)) for column in columns]


def _signed(found: Difference) -> str:
    interval = found.interval()
    return f"{interval.estimate:+.2f} [{interval.low:+.2f}, {interval.high:+.2f}]"


def _verdict(found: Difference) -> str:
    interval = found.interval()
    if interval.low > 0:
        return "better"
    return "worse" if interval.high < 0 else "no difference shown"


def _mean(values: np.ndarray) -> str:
    if len(values) < 2:
        return f"{values[0]:.2f}"
    return f"{values.mean():.2f} ± {values.std(ddof=1):.2f}"
