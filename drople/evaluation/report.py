"""RESULTS.md from the finished runs: every number comes from a run's files, or is labelled."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from zipfile import ZIP_DEFLATED, BadZipFile, ZipFile, ZipInfo

import numpy as np

from drople.errors import DataError
from drople.evaluation import markdown, sections
from drople.evaluation.answer import QUESTIONS, answer, averages
from drople.evaluation.bootstrap import RESAMPLES, difference
from drople.evaluation.choice import ChoiceResult, read_choices
from drople.evaluation.cost import StepCost, read_costs
from drople.evaluation.protocols import Column
from drople.evaluation.runs import FROZEN, read_results
from drople.evaluation.tables import Row, Table, resampled, shared_seeds, tables
from drople.training.config import TrainConfig


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
        folder = runs
        if runs.suffix == ".zip":
            folder = Path(unpacked)
            with _open_zip(runs) as zipped:
                zipped.extractall(folder)
        found = tables(read_results(folder))
        if not found:
            raise DataError(f"No finished run lies in {runs}; `evaluate` makes them.")
        choices, costs = read_choices(folder), read_costs(folder)
        if packed:
            _pack(folder, packed)
    said = notes.read_text().strip().splitlines() if notes else []
    out.write_text("\n".join(compose(found, choices, costs, said)) + "\n")
    print(f"wrote {out}")


def _open_zip(file: Path) -> ZipFile:
    try:
        return ZipFile(file)
    except (OSError, BadZipFile) as error:
        raise DataError(f"{file} cannot be read as a ZIP of runs: {error}") from None


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
    base_to_novel = [table for table in tested if table.one.protocol == "base-to-novel"]
    lines = ["# Results", ""]
    backbones = _by_backbone(base_to_novel)
    for alike in backbones:
        lines += ["", f"With {alike[0].one.on}:", ""] if len(backbones) > 1 else []
        lines += answer(alike)
    if not base_to_novel:
        lines += ["**No base-to-novel run has finished, so the main questions are open.**"]
    lines += [*sections.difference_of_dropouts(choices), "", *_READING, ""]
    lines += [*notes, ""] if notes else []
    for alike in backbones:
        lines += [*averages(alike), ""]
    for table in tested:
        lines += [*_accuracies(table), "", *_differences(table), ""]
    lines += [
        "## Every row minus DroPLe: ablations, sensitivity, rivals",
        "",
        *_ablations(base_to_novel),
        "",
    ]
    lines += ["## How far IWTD chooses", "", *sections.choices(choices), ""]
    lines += ["## What was tried, on validation data", ""]
    lines += [line for table in tried for line in (*_accuracies(table, level="###"), "")]
    if not tried:
        lines += ["No runs with `--split val`.", ""]
    lines += ["## Methods as declared", "", *sections.methods_as_declared(found), ""]
    lines += ["## Cost", "", *sections.costs(costs, tested), ""]
    lines += ["## Published numbers, not ours", "", *sections.published(), ""]
    return [*lines, "## What is missing", "", *sections.missing(tested)]


_READING = (
    "Accuracies are in percent, mean ± standard deviation over the seeds, of the last epoch; test",
    "data select nothing. Base and novel classes are each classified against their own names; the",
    "harmonic mean is taken for each seed, and over tasks from the averaged accuracies, as the",
    "papers do. A seed decides the few-shot images, the first values, the order and the dropout.",
    f"Brackets hold 95 % bootstrap intervals of paired differences ({RESAMPLES} resamples of the",
    "test images and, where there are several, of the seeds). They are not corrected for how many",
    "there are, and take the tasks as given: nothing is said of others. “better” and “worse” stand",
    "where an interval excludes 0, “mixed” where tasks contradict one another; “no difference",
    "shown” does not prove that there is none. `zero-shot` is the frozen branch. In commands, DATA",
    "and ROOT stand for the folders that hold the packs and the named data sets.",
)


def _by_backbone(found: Sequence[Table]) -> list[list[Table]]:
    weights = dict.fromkeys(table.one.weights for table in found)
    return [[table for table in found if table.one.weights == one] for one in weights]


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
        f"{level} {one.protocol}, {one.data}, {one.on}",
        "",
        f"{_SPLITS[one.split]} images: {sizes}. {_learnt(table)}",
        "",
        *markdown.table(["method", *head, "seeds", "command"], rows),
    ]


def _learnt(table: Table) -> str:
    """How the rows of a table were learnt, as far as they have it in common."""
    budget = {name: table.common.get(name, getattr(TrainConfig(), name)) for name in _BUDGET}
    if table.one.protocol in ("few-shot", "long-tail"):
        del budget["shots"]
    others = {name: value for name, value in table.common.items() if name not in _BUDGET}
    said = ", ".join(f"{name} {value}" for name, value in (budget | others).items())
    return f"Every learnt row, unless it says otherwise: {said}."


_SPLITS = {"test": "Test", "val": "Validation"}
_BUDGET = ("shots", "epochs", "batch", "lr")


def _sizes(table: Table) -> dict[str, int]:
    """Test images of each distinct sample."""
    one = table.one
    return {sample: one.images[exam] for exam, sample in one.samples.items()}


def _differences(table: Table) -> list[str]:
    pairs = [
        (f"{first} minus {second}", *pair)
        for _, first, second in QUESTIONS
        if (pair := table.pair(first, second))
    ]
    if not pairs:
        return ["No pair of rows to compare yet."]
    return _compared("paired difference", pairs, table.columns)


def _ablations(base_to_novel: Sequence[Table]) -> list[str]:
    """All rows against the reference, then, where DroPLe has other settings, those set like it."""
    lines = []
    for table in base_to_novel:
        reference = table.reference()
        if reference is None:
            continue
        others = [row for row in table.rows if row.method == "drople" and row is not reference]
        rivals = [(reference, table.rows), *((row, table.like(row)) for row in others)]
        for against, rows in rivals:
            pairs = [
                (row.label, row, against)
                for row in rows
                if row.method != FROZEN and row is not against and shared_seeds(row, against)
            ]
            if pairs:
                lines += [f"{table.one.data}, {table.one.on}:", ""]
                lines += [*_compared(f"minus {against.label}", pairs, table.columns), ""]
    return lines[:-1] or ["No ablation has been run."]


def _compared(
    title: str, pairs: Iterable[tuple[str, Row, Row]], columns: Sequence[Column]
) -> list[str]:
    """A table of paired differences, and of the seeds that each is over."""
    rows = []
    for label, a, b in pairs:
        both = resampled(a, b)
        cells = [markdown.signed(difference(*both, column)) for column in columns]
        rows.append([label, *cells, ", ".join(map(str, shared_seeds(a, b)))])
    return markdown.table([title, *(column.title for column in columns), "seeds compared"], rows)


def _mean(values: np.ndarray) -> str:
    if len(values) < 2:
        return f"{values[0]:.2f}"
    return f"{values.mean():.2f} ± {values.std(ddof=1):.2f}"
