"""The papers' tables as they came out here, beside the numbers that were published."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from statistics import mean, stdev

from drople.evaluation import markdown
from drople.evaluation.accuracy import harmonic_mean
from drople.evaluation.protocols import SHOTS
from drople.evaluation.published import (
    ACROSS_ORDER,
    AVERAGES,
    BASE_TO_NOVEL,
    CROSS_DATASET,
    DOMAINS,
    DOMAINS_ORDER,
    LONG_TAIL,
    LONG_TAIL_ORDER,
)
from drople.evaluation.runs import Result

OURS = "measured here"
Lines = list[str | Sequence[str]]
_OPENING = (
    "Rows whose source is “measured here” are of the runs that lie beside this page; mean ±",
    "standard deviation over the seeds. All others were copied as printed, from the source that",
    "the row names, and nobody ran them here. Accuracies in percent of all test images, after the",
    "last epoch. What differs from the released recipes is in docs/REPRODUCE.md.",
)


def beside_published(results: Mapping[str, Sequence[Result]]) -> list[str]:
    """The page, from the results of each table that was run, by the keys of `TABLES`."""
    made = dict.fromkeys(one.on for some in results.values() for one in some)
    parts: Lines = ["# The papers' tables", f"With {', '.join(made)}.", _OPENING]
    for table, some in results.items():
        parts += [f"## {table}", *_SECTIONS[table](some), _learnt_with(some)]
    return markdown.blocks(*parts)


def _base_to_novel(results: Sequence[Result]) -> Lines:
    head = ["method", "base", "novel", "harmonic mean", "source"]
    data, ours = _data(results), []
    for method in _methods(results):
        tasks = [_own(results, method, one) for one in data]
        halves = [mean(_means(tasks, half)) for half in ("base", "novel")]
        figures = [*halves, harmonic_mean(*halves)]
        ours.append([method, *(f"{value:.2f}" for value in figures), OURS])
    averages = markdown.table(head, [*ours, *AVERAGES])
    parts: Lines = [_averaged(data, len(BASE_TO_NOVEL)), averages]
    for one in data:
        rows = []
        for method in _methods(results):
            own = _own(results, method, one)
            pairs = [(r.accuracy["base"], r.accuracy["novel"]) for r in own]
            columns = [*zip(*pairs, strict=True), [harmonic_mean(*pair) for pair in pairs]]
            rows.append([method, *map(_shown, columns), OURS])
        parts += [f"{one}:", markdown.table(head, [*rows, *BASE_TO_NOVEL[one]])]
    return parts


def _few_shot(results: Sequence[Result]) -> Lines:
    names = [f"{shots} shots" for shots in SHOTS]
    head, data = ["method", *names, "source"], _data(results)
    ours = []
    for method in _methods(results):
        tasks = [_own(results, method, one) for one in data]
        ours.append([method, *(f"{mean(_means(tasks, name)):.2f}" for name in names), OURS])
    opening = "No published table of figures was found."
    averages = markdown.table(head, ours)
    parts: Lines = [opening, _averaged(data, len(BASE_TO_NOVEL)), averages]
    for one in data:
        rows = [
            [m, *(_shown(_figures(_own(results, m, one), name)) for name in names), OURS]
            for m in _methods(results)
        ]
        parts += [f"{one}:", markdown.table(head, rows)]
    return parts


def _cross_dataset(results: Sequence[Result]) -> Lines:
    printed = [[m, "", *figures.split(), average, s] for m, figures, average, s in CROSS_DATASET]
    return _learnt_once(results, ["source", *ACROSS_ORDER], printed)


def _domain(results: Sequence[Result]) -> Lines:
    printed = [[m, *figures.split(), average, s] for m, figures, average, s in DOMAINS]
    return _learnt_once(results, DOMAINS_ORDER, printed)


def _learnt_once(
    results: Sequence[Result], order: Sequence[str], printed: Sequence[Sequence[str]]
) -> Lines:
    """Accuracies on each test set of `order`, the source's first; the mean is over the others."""
    rows = []
    for method in _methods(results):
        own = [one for one in results if one.method == method]
        there = [name for name in order if name in own[0].accuracy]
        cells = [_shown(_figures(own, name)) if name in there else "" for name in order]
        average = [mean(one.accuracy[name] for name in there[1:]) for one in own]
        rows.append([method, *cells, _shown(average), OURS])
    head = ["method", *order, f"mean of {len(order) - 1}", "source of the row"]
    return [_averaged([*results[0].accuracy][1:], len(order) - 1),
            markdown.table(head, [*rows, *printed])]  # fmt: skip


def _long_tail(results: Sequence[Result]) -> Lines:
    rows, data = [], _data(results)
    for method in _methods(results):
        cells, means = [], []
        for one in LONG_TAIL_ORDER:
            own = _own(results, method, one)
            figures = [harmonic_mean(r.accuracy["base"], r.accuracy["novel"]) for r in own]
            cells.append(_shown(figures) if own else "")
            means += [mean(figures)] if own else []
        rows.append([method, *cells, f"{mean(means):.2f}", OURS])
    printed = [[m, *figures.split(), average, s] for m, figures, average, s in LONG_TAIL]
    head = ["method", *LONG_TAIL_ORDER, "mean", "source"]
    opening = "Harmonic mean of base and novel accuracy, learnt at an imbalance of 10."
    return [opening, _averaged(data, len(LONG_TAIL_ORDER)), markdown.table(head, [*rows, *printed])]


_SECTIONS = {
    "base-to-novel": _base_to_novel,
    "few-shot": _few_shot,
    "cross-dataset": _cross_dataset,
    "domain": _domain,
    "long-tail": _long_tail,
}


def _averaged(data: Sequence[str], whole: int) -> str:
    if len(data) == whole:
        return f"Averages are over all {whole} data sets."
    return (
        f"Averages of the rows measured here are over {', '.join(data)} alone: **not comparable** "
        f"with published ones, which are over {whole}."
    )


def _learnt_with(results: Sequence[Result]) -> list[str]:
    """What the rows were learnt with; several values are those of several data sets."""
    lines = []
    for method in _methods(results):
        configs = [one.config for one in results if one.method == method and one.cost]
        values = {name: sorted({config[name] for config in configs}) for name in _RECIPE}
        said = (f"{name} {', '.join(map(str, some))}" for name, some in values.items())
        lines += [f"- {method}: {'; '.join(said)}"] if configs else []
    return lines


_RECIPE = ("epochs", "batch", "optimiser", "lr", "precision")


def _data(results: Iterable[Result]) -> list[str]:
    return [*dict.fromkeys(one.data for one in results)]


def _methods(results: Iterable[Result]) -> list[str]:
    return [*dict.fromkeys(one.method for one in results)]


def _own(results: Iterable[Result], method: str, data: str) -> list[Result]:
    return [one for one in results if (one.method, one.data) == (method, data)]


def _figures(own: Iterable[Result], test_set: str) -> list[float]:
    return [one.accuracy[test_set] for one in own]


def _means(tasks: Iterable[Sequence[Result]], test_set: str) -> list[float]:
    """Of each task, over its seeds."""
    return [mean(_figures(own, test_set)) for own in tasks]


def _shown(values: Sequence[float]) -> str:
    return f"{mean(values):.2f}" + (f" ± {stdev(values):.2f}" if len(values) > 1 else "")
