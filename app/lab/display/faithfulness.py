"""Faithfulness: deletion and insertion curves beside baselines, and which maps they support."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from app.figures.names import map_name, short_name
from app.figures.theme import CONDITION_COLOURS, CONDITION_NAMES, IMPORTANCE_COLOUR, band, plain
from app.lab.display.tables import Table, table_under
from drople.analysis import Analysis
from drople.lab.faithfulness import DIRECTIONS, MEASURES, Curve, Faithfulness, Measure, Quantity
from drople.lab.patch_maps import CENTRE, EDGES, IMPORTANCE, RANDOM
from drople.statistics.intervals import prediction_interval
from drople.statistics.sparsity import gini_index

BASELINE_COLOUR = "#a16207"
_DASHES = {IMPORTANCE: "longdash", CENTRE: "dash", EDGES: "dot"}


def curves_figure(
    analysis: Analysis, found: Faithfulness, replacement: str, *, quantity: Quantity
) -> go.Figure:
    """Deletion above, insertion below; a line a map, a band where 95 % of random orders lie."""
    figure = make_subplots(rows=2, cols=1, shared_xaxes=True, vertical_spacing=0.06)
    for row, direction in enumerate(DIRECTIONS, start=1):
        measure = Measure(direction, replacement)
        _add_random(figure, row, found.random.get(measure, ()), quantity=quantity)
        for name, curve in found.curves.get(measure, {}).items():
            figure.add_scatter(
                x=curve.shares, y=curve.values(quantity), mode="lines", row=row, col=1,
                name=short_name(name), legendgroup=name, showlegend=row == 1,
                line={"color": _colour(name), "width": 2.5, "dash": _DASHES.get(name, "solid")},
                hovertemplate=(
                    f"<b>{map_name(analysis, name)}</b><br>%{{x:.0%}} of the patches: "
                    "%{y:.3f}<extra></extra>"
                ),
            )  # fmt: skip
        figure.update_yaxes(title=f"{quantity}, {direction}", row=row, col=1)
    figure.update_xaxes(tickformat=".0%")
    figure.update_xaxes(title="patches deleted, or inserted", row=2, col=1)
    return plain(figure, height=620, legend=True)


def _colour(name: str) -> str:
    if name == IMPORTANCE:
        return IMPORTANCE_COLOUR
    return CONDITION_COLOURS.get(name, BASELINE_COLOUR)


def _add_random(
    figure: go.Figure, row: int, curves: tuple[Curve, ...], *, quantity: Quantity
) -> None:
    if not curves:
        return
    shares = curves[0].shares
    values = np.stack([curve.values(quantity) for curve in curves])  # (n, T)
    known = [prediction_interval(column) for column in values.T]
    group = {"legendgroup": RANDOM, "showlegend": row == 1, "row": row, "col": 1}
    if known[0] is not None:
        low, high = np.array(known, dtype=float).T
        if quantity == "probability":  # the t-interval knows no bounds
            low, high = low.clip(0, 1), high.clip(0, 1)
        figure.add_scatter(
            **band(shares, low, high), **group,
            name="95 % of random orders", fillcolor="rgba(120,113,108,0.25)",
        )  # fmt: skip
    figure.add_scatter(
        x=shares, y=values.mean(axis=0), name=f"Random, mean of {len(curves)}", mode="lines",
        line={"color": "#78716c", "width": 1.5},
        hovertemplate="<b>random</b><br>%{x:.0%} of the patches: %{y:.3f}<extra></extra>", **group,
    )  # fmt: skip


_BETTER = {"deletion": "lower", "insertion": "higher"}
_AREAS = tuple(
    f"{m.direction}, {m.replacement} ({_BETTER[m.direction]} is better)" for m in MEASURES
)
HEADERS = ("map", *_AREAS, "beats every baseline in", "sparsity (Gini)")


def faithfulness_table(
    analysis: Analysis, maps: Mapping[str, np.ndarray], found: Faithfulness, *, quantity: Quantity
) -> Table:
    """The areas of the maps and baselines measured so far."""
    areas = {measure: found.areas(measure, quantity) for measure in MEASURES}
    names = [name for name in maps if any(name in of for of in areas.values())]
    rows = []
    for name in names:
        cells = [f"{of[name]:.3f}" if name in of else "–" for of in areas.values()]
        (wins, known), sparse = _wins(found, name, quantity), gini_index(maps[name])
        beaten = "–" if name in (CENTRE, EDGES) or not known else f"{wins} of {known}"
        rows.append(
            [map_name(analysis, name), *cells, beaten, "–" if sparse is None else f"{sparse:.2f}"]
        )
    random = [_random_cell(found.random_areas(measure, quantity)) for measure in MEASURES]
    if rows:
        rows.append([map_name(analysis, RANDOM), *random, "–", "–"])
    return table_under(HEADERS, rows)


def _random_cell(areas: np.ndarray) -> str:
    if not areas.size:
        return "–"
    interval = prediction_interval(areas)
    around = f" ({interval[0]:.3f} to {interval[1]:.3f})" if interval else " (one order)"
    return f"{areas.mean():.3f}{around}"


def _wins(found: Faithfulness, name: str, quantity: Quantity) -> tuple[int, int]:
    """In how many measures a map beats every baseline, and of how many that is known."""
    known = [found.beats_baselines(name, measure, quantity) for measure in MEASURES]
    return sum(one is True for one in known), sum(one is not None for one in known)


def faithfulness_sentence(
    analysis: Analysis,
    maps: Mapping[str, np.ndarray],
    found: Faithfulness,
    *,
    target: int,
    quantity: Quantity,
) -> str:
    """Which maps are evidence at all, and where the measures contradict each other."""
    branch = CONDITION_NAMES[analysis.branch]
    first = {m: next(iter(of.values())) for m, of in found.curves.items() if of}
    ends = [
        f"{curve.values(quantity)[-1]:.2f} wholly replaced by the {measure.replacement}"
        for measure, curve in first.items()
        if measure.direction == "deletion"
    ]
    whole = next(curve.values(quantity)[0] for m, curve in first.items() if m.sign < 0)
    said = (
        f"{analysis.classes[target]}, {branch} branch: {quantity} {whole:.2f} for the whole "
        f"picture, {', '.join(ends)}."
    )
    names = {name for of in found.curves.values() for name in of} - {CENTRE, EDGES}
    wins = {name: _wins(found, name, quantity) for name in sorted(names)}
    if not any(known for _, known in wins.values()):
        return said + " No map can be judged before the baselines are there."
    gaps = {name: int(np.isnan(maps[name]).sum()) for name in wins if name in maps}
    said += "".join(
        f" ⚠ {map_name(analysis, name)} has no value at {count} of {maps[name].size} patches, "
        "which come last and in random order."
        for name, count in gaps.items()
        if count
    )
    return f"{said} {_verdict(analysis, wins)} {_disagreement(found, quantity)}"


def _verdict(analysis: Analysis, wins: Mapping[str, tuple[int, int]]) -> str:
    def named(names: list[str]) -> str:
        return "; ".join(map_name(analysis, name) for name in names)

    always = [name for name, (won, known) in wins.items() if known and won == known]
    never = [name for name, (won, known) in wins.items() if known and not won]
    mixed = [name for name, (won, known) in wins.items() if 0 < won < known]
    said = {"every measure": always, "some measures only": mixed, "no measure": never}
    parts = [f"In {where}: {named(names)}." for where, names in said.items() if names]
    verdict = f"Better than random, the centre and the edges? {' '.join(parts)}"
    if not (never or mixed):
        return verdict
    return (
        f"{verdict} ⚠ Where a map does not beat the baselines, it is no evidence of what the model "
        "uses."
    )


def _disagreement(found: Faithfulness, quantity: Quantity) -> str:
    """How many pairs of maps two measures rank differently."""
    parts = []
    for first, second in combinations(MEASURES, 2):
        alike = first.direction == second.direction
        if alike == (first.replacement == second.replacement):
            continue  # they differ in both
        swapped, count = found.swapped_pairs(first, second, quantity)
        if swapped:
            what = "the two replacements" if alike else "deletion and insertion"
            where = first.direction if alike else first.replacement
            parts.append(f"{what} rank {swapped} of {count} pairs differently ({where})")
    if not parts:
        return "So far deletion and insertion, and both replacements, rank the maps alike."
    said = "; ".join(parts)
    return f"⚠ The measures disagree: {said}. Such ranks are not settled by this picture."
