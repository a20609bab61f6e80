"""RESULTS.md and its pages from the finished runs: every number comes from a run's files."""

from __future__ import annotations

import io
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from zipfile import ZIP_DEFLATED, BadZipFile, ZipFile, ZipInfo

import numpy as np

from drople.errors import DataError
from drople.evaluation import markdown, sections
from drople.evaluation.answer import QUESTIONS, averages, by_task, forest_rows, headline, questions
from drople.evaluation.bootstrap import RESAMPLES, difference
from drople.evaluation.choice import ChoiceResult, read_choices
from drople.evaluation.choice_gain import choice_against_gain
from drople.evaluation.cost import StepCost, read_costs
from drople.evaluation.forest import forest
from drople.evaluation.markdown import blocks
from drople.evaluation.protocols import Column
from drople.evaluation.runs import FROZEN, read_results
from drople.evaluation.tables import Row, Table, resampled, shared_seeds, tabulate
from drople.evaluation.verdict import verdicts
from drople.storage.files import (
    check_folder,
    check_readable,
    check_writable,
    write_bytes,
    write_text,
)
from drople.storage.verdicts import write_verdicts
from drople.texts import read_text
from drople.training.config import TrainConfig

PAGES = Path("docs") / "results"  # beside the report; verdict.json and forest.svg lie there too


def write_report(
    runs: Path, out: Path, *, notes: Path | None = None, packed: Path | None = None
) -> None:
    """Writes the report of a folder of runs, or of a ZIP of one, and its pages in docs/results.

    Args:
        notes: Markdown about these runs, for the page of accuracies.
        packed: a ZIP to write, with what the report is made from and no more.

    Raises:
        DataError: there is no finished run, or one is there twice.
    """
    check_writable(out)
    if packed:
        check_writable(packed, "--zip")
    check_folder(out.parent / PAGES)
    if notes:
        check_readable(notes)
    with _unpacked(runs) as made:
        tables = tabulate(read_results(made))
        if not tables:
            raise DataError(f"No finished run lies in {runs}; `evaluate` makes them.")
        choices, costs = read_choices(made), read_costs(made)
        if packed:
            _pack(made, packed)
    tested = [table for table in tables if table.one.split == "test"]
    backbones = _by_backbone([t for t in tested if t.one.protocol == "base-to-novel"])
    pages = {
        "accuracies": _accuracies_page(tables, read_text(notes) if notes else ""),
        "differences": _differences_page(tested, backbones),
        "choices": blocks("# How far IWTD chooses", sections.choices(choices)),
        "methods": _methods_page(tables, costs),
    }
    folder = out.parent / PAGES
    for name, lines in pages.items():
        write_text(folder / f"{name}.md", "\n".join(lines) + "\n")
    rows = [row for alike in backbones for row in forest_rows(alike)]
    write_text(folder / "forest.svg", forest(rows, _PLOTTED))
    said = [one for alike in backbones for one in verdicts(alike, choices)]
    write_verdicts(folder / "verdict.json", said)
    write_text(out, "\n".join(_opening(tested, backbones, choices)) + "\n")
    print(f"wrote {out} and {folder}")


_PLOTTED = "Harmonic mean of base and novel accuracy: difference in percent points, 95 % interval"


@contextmanager
def _unpacked(runs: Path) -> Iterator[Path]:
    """The folder of runs; for a while, where they are a ZIP."""
    if runs.suffix != ".zip":
        yield runs
        return
    if runs.exists():
        check_readable(runs)
    with TemporaryDirectory() as folder:
        try:
            with ZipFile(runs) as zipped:
                zipped.extractall(folder)
        except (OSError, BadZipFile, RuntimeError, EOFError, zlib.error) as error:
            raise DataError(f"{runs} cannot be read as a ZIP of runs: {error}.") from None
        yield Path(folder)


def _pack(runs: Path, out: Path) -> None:
    files = [file for part in _REPORTED for file in sorted((runs / part).rglob("*"))]
    buffer = io.BytesIO()
    with ZipFile(buffer, "w", ZIP_DEFLATED) as packed:
        for file in (file for file in files if file.suffix in (".json", ".npz")):
            undated = ZipInfo(file.relative_to(runs).as_posix())  # the same runs, the same ZIP
            packed.writestr(undated, file.read_bytes(), ZIP_DEFLATED)
    write_bytes(out, buffer.getvalue())


_REPORTED = ("results", "choices", "costs")


def _opening(
    tested: Sequence[Table], backbones: Sequence[Sequence[Table]], choices: Sequence[ChoiceResult]
) -> list[str]:
    """RESULTS.md: the verdict, the plot and four tables."""
    parts: list[str | Sequence[str]] = ["# Results"]
    for alike in backbones:
        parts += [f"With {alike[0].one.on}:"] if len(backbones) > 1 else []
        parts.append(headline(alike))
    if not backbones:
        parts.append("**No base-to-novel run has finished, so the main questions are open.**")
    parts.append(sections.difference_of_dropouts(choices))
    parts += [f"![{_PLOTTED}]({PAGES}/forest.svg)", _READING]
    for alike in backbones:
        columns = [column.title for column in alike[0].columns]
        parts.append(f"## Base-to-novel by task, {alike[0].one.on}")
        parts.append(f"{' / '.join(columns).capitalize()}, means over the seeds.")
        parts += [by_task(alike), averages(alike)]
        parts += [
            f"## Choice against gain, {alike[0].one.on}",
            *choice_against_gain(alike, choices),
        ]
    parts += ["## Other protocols", sections.other_protocols(tested)]
    return blocks(*parts, "## More", [f"- [{p}]({PAGES}/{p}.md): {what}" for p, what in _MORE])


_MORE = (
    ("accuracies", "about these runs; every row with its deviation and command, validation too"),
    ("differences", "every question by column, paired differences, ablations and rivals"),
    ("choices", "what IWTD protects, by normalisation and layer"),
    ("methods", "the methods as declared, costs, numbers that others published, what is missing"),
)


def _accuracies_page(tables: Sequence[Table], notes: str) -> list[str]:
    tested = [_accuracies(table) for table in tables if table.one.split == "test"]
    tried = [_accuracies(table, level="###") for table in tables if table.one.split == "val"]
    return blocks(
        "# Accuracies", _MEASURED, notes.strip(), *tested,
        "## What was tried, on validation data", *(tried or [["No runs with `--split val`."]]),
    )  # fmt: skip


def _differences_page(tested: Sequence[Table], backbones: Sequence[Sequence[Table]]) -> list[str]:
    parts: list[str | Sequence[str]] = ["# Differences", _COMPARED]
    for alike in backbones:
        parts += [f"## The questions, {alike[0].one.on}", questions(alike)]
    for table in tested:
        one = table.one
        parts += [f"## {one.protocol}, {one.data}, {one.on}", _differences(table)]
    parts.append("## Every row minus DroPLe: ablations, sensitivity, rivals")
    return blocks(*parts, *_ablations([table for alike in backbones for table in alike]))


def _methods_page(tables: Sequence[Table], costs: Sequence[Sequence[StepCost]]) -> list[str]:
    tested = [table for table in tables if table.one.split == "test"]
    return blocks(
        "# Methods", "## Methods as declared", sections.methods_as_declared(tables),
        "## Cost", sections.costs(costs, tested),
        "## Published numbers, not ours", sections.published(),
        "## What is missing", sections.missing(tested),
    )  # fmt: skip


_READING = (
    "Diamonds are over all tasks, circles on each; the thick line and the figures are the 95 %",
    "bootstrap interval of a paired difference, the thin line is corrected for the number of lines",
    "(Bonferroni). “better” and “worse” stand where the uncorrected one excludes 0, “mixed” where",
    "tasks contradict one another; “no difference shown” does not prove that there is none.",
    "Accuracies are percent of images after the last epoch, dropout off; `zero-shot` is the frozen",
    "branch.",
)
_MEASURED = (
    "Accuracies are in percent, mean ± standard deviation over the seeds, of the last epoch; test",
    "data select nothing. Base and novel classes are each classified against their own names; the",
    "harmonic mean is taken for each seed, and over tasks from the averaged accuracies, as the",
    "papers do. A seed decides the few-shot images, the first values, the order and the dropout.",
    "`zero-shot` is the frozen branch. In commands, DATA and ROOT stand for the folders that hold",
    "the packs and the named data sets.",
)
_COMPARED = (
    f"Brackets hold 95 % bootstrap intervals of paired differences ({RESAMPLES} resamples of the",
    "test images and, where there are several, of the seeds), in percent points. They are not",
    "corrected for how many there are, and take the tasks as given: nothing is said of others.",
)


def _by_backbone(tables: Sequence[Table]) -> list[list[Table]]:
    weights = dict.fromkeys(table.one.weights for table in tables)
    return [[table for table in tables if table.one.weights == one] for one in weights]


def _accuracies(table: Table, level: str = "##") -> list[str]:
    one = table.one
    head = [column.title for column in table.columns]
    rows = []
    for row in table.rows:
        cells = [_mean(row.figures(column)) for column in table.columns]
        seeds = "" if row.method == FROZEN else ", ".join(map(str, row.seeds))
        rows.append([row.label, *cells, seeds, f"`{row.command()}`"])
    # Of each distinct sample.
    sizes = {sample: one.images[test_set] for test_set, sample in one.samples.items()}
    counts = ", ".join(f"{name} {count}" for name, count in sizes.items())
    return blocks(
        f"{level} {one.protocol}, {one.data}, {one.on}",
        f"{_SPLITS[one.split]} images: {counts}. {_learnt(table)}",
        markdown.table(["method", *head, "seeds", "command"], rows),
    )


def _learnt(table: Table) -> str:
    """How the rows of a table were learnt, as far as they have it in common."""
    budget = {name: table.common.get(name, getattr(TrainConfig(), name)) for name in _BUDGET}
    if table.one.protocol in ("few-shot", "long-tail"):
        del budget["shots"]
    others = {name: value for name, value in table.common.items() if name not in _BUDGET}
    settings = ", ".join(f"{name} {value}" for name, value in (budget | others).items())
    return f"Every learnt row, unless it says otherwise: {settings}."


_SPLITS = {"test": "Test", "val": "Validation"}
_BUDGET = ("shots", "epochs", "batch", "lr")


def _differences(table: Table) -> list[str]:
    pairs = [
        (f"{first} minus {second}", *pair)
        for _, first, second in QUESTIONS
        if (pair := table.pair(first, second))
    ]
    if not pairs:
        return ["No pair of rows to compare yet."]
    return _compared("paired difference", pairs, table.columns)


def _ablations(base_to_novel: Sequence[Table]) -> list[str | Sequence[str]]:
    """All rows against the reference, then, where DroPLe has other settings, those set like it."""
    parts: list[str | Sequence[str]] = []
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
                parts.append(f"{table.one.data}, {table.one.on}:")
                parts.append(_compared(f"minus {against.label}", pairs, table.columns))
    return parts or ["No ablation has been run."]


def _compared(
    title: str, pairs: Iterable[tuple[str, Row, Row]], columns: Sequence[Column]
) -> list[str]:
    """A table of paired differences, and of the seeds that each is over."""
    rows = []
    for label, a, b in pairs:
        both = resampled(a, b)
        cells = [str(difference(*both, column)) for column in columns]
        rows.append([label, *cells, ", ".join(map(str, shared_seeds(a, b)))])
    return markdown.table([title, *(column.title for column in columns), "seeds compared"], rows)


def _mean(values: np.ndarray) -> str:
    if len(values) < 2:
        return f"{values[0]:.2f}"
    return f"{values.mean():.2f} ± {values.std(ddof=1):.2f}"
