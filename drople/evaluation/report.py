"""RESULTS.md from the finished runs: every number comes from a run's files, or is labelled."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

import numpy as np

from drople.errors import DataError
from drople.evaluation import sections
from drople.evaluation.choice import ChoiceResult, read_choices
from drople.evaluation.cost import StepCost, read_costs
from drople.evaluation.intervals import (
    RESAMPLES,
    Difference,
    difference,
    mean_difference,
    over_tasks,
)
from drople.evaluation.protocols import Column
from drople.evaluation.runs import FROZEN, read_results
from drople.evaluation.sections import CORE, markdown
from drople.evaluation.tables import (
    Row,
    Table,
    of_seeds,
    resampled,
    shared_seeds,
    tables,
)
from drople.training.config import TrainConfig

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
)


def write_report(
    runs: Path, out: Path, notes: Path | None = None, packed: Path | None = None
) -> None:
    """Writes the report of a folder of runs, or of a ZIP of one.

    Args:
        notes: Markdown that is put after the answer.
        packed: a ZIP to write, with what the report is made from and no more.

    Raises:
        DataError: there is no finished run, or one is there twice.
    """
    with TemporaryDirectory() as unpacked:
        if runs.suffix == ".zip":
            ZipFile(runs).extractall(unpacked)
        folder = Path(unpacked) if runs.suffix == ".zip" else runs
        found, choices, costs = (
            tables(read_results(folder)),
            read_choices(folder),
            read_costs(folder),
        )
    if not found:
        raise DataError(f"No finished run lies in {runs}; python -m drople evaluate makes them.")
    if packed:
        _pack(runs, packed)
    said = notes.read_text().strip().splitlines() if notes else []
    out.write_text("\n".join(compose(found, choices, costs, said)) + "\n")
    print(f"wrote {out}")


def _pack(runs: Path, out: Path) -> None:
    files = [file for part in _REPORTED for file in sorted((runs / part).rglob("*"))]
    with ZipFile(out, "w", ZIP_DEFLATED) as packed:
        for file in (file for file in files if file.suffix in (".json", ".npz")):
            undated = ZipInfo(file.relative_to(runs).as_posix())  # the same runs, the same ZIP
            packed.writestr(undated, file.read_bytes(), ZIP_DEFLATED)


_REPORTED = ("results", "choices", "costs")


def compose(
    found: Sequence[Table],
    choices: Sequence[ChoiceResult] = (),
    costs: Sequence[Sequence[StepCost]] = (),
    notes: Sequence[str] = (),
) -> list[str]:
    """The lines of the report."""
    tested = [table for table in found if table.one.split == "test"]
    tried = [table for table in found if table.one.split == "val"]
    halves = [table for table in tested if table.one.protocol == "base-to-novel"]
    lines = ["# Results", ""]
    backbones = _by_backbone(halves)
    for alike in backbones:
        lines += ["", f"With {alike[0].backbone}:", ""] if len(backbones) > 1 else []
        lines += _answer(alike)
    if not halves:
        lines += ["**No base-to-novel run has finished, so the main questions are open.**"]
    lines += [*sections.difference_of_dropouts(choices), "", *_READING, ""]
    lines += [*notes, ""] if notes else []
    for alike in backbones:
        lines += [*_averages(alike), ""]
    for table in tested:
        lines += [*_accuracies(table), "", *_differences(table), ""]
    lines += ["## Ablations and sensitivity", "", *_ablations(halves), ""]
    lines += ["## How far IWTD chooses", "", *sections.choices(choices), ""]
    lines += ["## What was tried, on validation data", ""]
    lines += [line for table in tried for line in (*_accuracies(table, level="###"), "")]
    if not tried:
        lines += ["No runs with `--split val`.", ""]
    lines += ["## Methods as run", "", *sections.methods_as_run(found), ""]
    lines += ["## Cost", "", *sections.costs(costs, tested), ""]
    lines += ["## Published numbers, not ours", "", *sections.published(), ""]
    return [*lines, "## What is missing", "", *sections.missing(tested)]


_READING = (
    "Accuracies are in percent, mean ± standard deviation over the seeds, of the last epoch; test",
    "data select nothing. Base and novel classes are each classified against their own names; the",
    "harmonic mean is taken for each seed, and over tasks from the averaged accuracies, as the",
    "papers do. A seed decides the few-shot images, the first values, the order and the dropout.",
    f"Brackets hold 95 % bootstrap intervals of paired differences ({RESAMPLES} resamples of the",
    "test images and, where there are several, of the seeds, of which three are few); they are",
    "not corrected for how many there are. “better” and “worse” stand where an interval excludes",
    "0, “mixed” where tasks contradict one another; “no difference shown” does not prove that",
    "there is none. `zero-shot` is the frozen branch. In commands, DATA and ROOT stand for the",
    "folders that hold the packs and the named data sets.",
)


def _by_backbone(found: Sequence[Table]) -> list[list[Table]]:
    weights = dict.fromkeys(table.one.weights for table in found)
    return [[table for table in found if table.one.weights == one] for one in weights]


def _answer(halves: Sequence[Table]) -> list[str]:
    """The plain answer: each question over all data sets that can answer it."""
    lines = []
    for question, first, second in QUESTIONS:
        pairs = [(table, *pair) for table in halves for pair in _pairs(table, first, second)]
        if not pairs:
            lines.append(f"- **{question}** Open: no runs of `{first}` and `{second}` to compare.")
            continue
        both = {table.one.data: resampled(a, b) for table, a, b in pairs}
        parts = []
        for column in halves[0].columns:
            merged = mean_difference(list(both.values()), column)
            each = {name: difference(*pair, column) for name, pair in both.items()}
            parts.append(f"{_verdict(merged, each)} on {column.title}, {_signed(merged)}")
            parts[-1] += _of_each(each)
        fewest = min(len(shared_seeds(a, b)) for _, a, b in pairs)
        seeds = "a single seed" if fewest == 1 else f"at least {fewest} seeds"
        where = f"mean over {', '.join(both)}; {seeds}"
        lines.append(f"- **{question}** {'; '.join(parts)} (points; {where}).")
    return [*lines, *(_leaders(table) for table in halves)]


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
        f"- **Which method leads on {name}?** By {column.title} of {len(alike)} methods set alike "
        f"({seeds}{others}): {said}."
    )


def _over(row: Row, seeds: Sequence[int], column: Column) -> float:
    values = dict(zip(row.seeds, row.figures(column), strict=True))
    return float(np.mean([values[seed] for seed in seeds]))


def _averages(halves: Sequence[Table]) -> list[str]:
    """The main methods over the tasks that have all of them."""
    columns = halves[0].columns
    rows: dict[str, list[str]] = {}
    names: list[str] = []
    found = {method: [] for method in (FROZEN, *CORE)}  # type: dict[str, list[tuple[Table, Row]]]
    for table in halves:
        own = {method: _like_reference(table, method) for method in found}
        if all(own.values()):
            names.append(table.one.data)
            for method, row in own.items():
                found[method] += [(table, row)] if row else []
    if len(names) < 2:
        return ["No two tasks have all of the main methods yet."]
    for method, ofs in found.items():
        tasks = [of_seeds(row, row.seeds) for _, row in ofs]
        rows[method] = [f"{over_tasks(tasks, column)[0]:.2f}" for column in columns]
    head = ["method", *(column.title for column in columns)]
    return [
        f"## Over {', '.join(names)}, {halves[0].backbone}",
        "",
        *markdown(head, [[method, *cells] for method, cells in rows.items()]),
    ]


def _like_reference(table: Table, method: str) -> Row | None:
    reference = table.reference()
    return table.partner(reference, method) if reference else None


def _accuracies(table: Table, level: str = "##") -> list[str]:
    one = table.one
    head = [column.title for column in table.columns]
    rows = []
    for row in table.rows:
        cells = [_mean(row.figures(column)) for column in table.columns]
        seeds = "" if row.method == FROZEN else ", ".join(map(str, row.seeds))
        rows.append([row.label, *cells, seeds, f"`{row.command()}`"])
    sizes = ", ".join(f"{name} {count}" for name, count in _sizes(table).items())
    return [
        f"{level} {one.protocol}, {one.data}, {table.backbone}",
        "",
        f"Test images: {sizes}. {_learnt(table)}",
        "",
        *markdown(["method", *head, "seeds", "command"], rows),
    ]


def _learnt(table: Table) -> str:
    """How the rows of a table were learnt, as far as they have it in common."""
    budget = {name: table.common.get(name, getattr(TrainConfig(), name)) for name in _BUDGET}
    if table.one.protocol in ("few-shot", "long-tail"):
        del budget["shots"]
    others = {name: value for name, value in table.common.items() if name not in _BUDGET}
    said = ", ".join(f"{name} {value}" for name, value in (budget | others).items())
    return f"Every learnt row, unless it says otherwise: {said}."


_BUDGET = ("shots", "epochs", "batch", "lr")


def _sizes(table: Table) -> dict[str, int]:
    """Test images of each distinct sample."""
    one = table.one
    return {sample: one.images[exam] for exam, sample in one.samples.items()}


def _differences(table: Table) -> list[str]:
    pairs = [
        (f"{first} minus {second}", a, b)
        for _, first, second in QUESTIONS
        for a, b in _pairs(table, first, second)
    ]
    if not pairs:
        return ["No pair of rows to compare yet."]
    return _compared("paired difference", pairs, table.columns)


def _ablations(halves: Sequence[Table]) -> list[str]:
    lines = []
    for table in halves:
        reference = table.reference()
        if reference is None:
            continue
        pairs = [
            (row.label, row, reference)
            for row in table.rows
            if row.method != FROZEN and row is not reference and shared_seeds(row, reference)
        ]
        if pairs:
            lines += [f"{table.one.data}:", ""]
            lines += [*_compared(f"minus {reference.label}", pairs, table.columns), ""]
    return lines[:-1] or ["No ablation has been run."]


def _compared(
    title: str, pairs: Iterable[tuple[str, Row, Row]], columns: Sequence[Column]
) -> list[str]:
    """A table of paired differences, and of the seeds that each is over."""
    rows = []
    for label, a, b in pairs:
        both = resampled(a, b)
        cells = [_signed(difference(*both, column)) for column in columns]
        rows.append([label, *cells, ", ".join(map(str, shared_seeds(a, b)))])
    return markdown([title, *(column.title for column in columns), "seeds compared"], rows)


def _pairs(table: Table, first: str, second: str) -> list[tuple[Row, Row]]:
    """The two rows of a question, at the settings of the reference; none or one pair."""
    reference = table.reference()
    a = table.partner(reference, first) if reference else _first(table, first)
    b = table.partner(a, second) if a else None
    return [(a, b)] if a and b else []


def _first(table: Table, method: str) -> Row | None:
    return next((row for row in table.rows if row.method == method), None)


def _signed(found: Difference) -> str:
    interval = found.interval()
    cells = (interval.estimate, interval.low, interval.high)
    estimate, low, high = (f"{round(cell, 2) + 0.0:+.2f}" for cell in cells)
    return f"{estimate} [{low}, {high}]"


_NOTHING = "no difference shown"


def _word(found: Difference) -> str:
    interval = found.interval()
    if interval.low > 0:
        return "better"
    return "worse" if interval.high < 0 else _NOTHING


def _verdict(merged: Difference, each: Mapping[str, Difference]) -> str:
    return "mixed" if {"better", "worse"} <= {*map(_word, each.values())} else _word(merged)


def _mean(values: np.ndarray) -> str:
    if len(values) < 2:
        return f"{values[0]:.2f}"
    return f"{values.mean():.2f} ± {values.std(ddof=1):.2f}"
