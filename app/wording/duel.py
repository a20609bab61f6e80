"""The duel in numbers: a row a dropout, and who changes the answer."""

from __future__ import annotations

from app.figures.duel import column_name
from app.wording.sentences import hidden_sentence
from drople.analysis import Analysis
from drople.branches import ADAPTED
from drople.lab.duel import DuelRow, duel_rows

HEADERS = (
    "dropout", "whole run: class looked at", "answer", "this layer: dropped", "mean p",
    "importance kept", "top Grad-CAM patches kept", "overlap with IWTD (by chance)",
)  # fmt: skip


def duel_table(
    analysis: Analysis, conditions: tuple[str, ...], layer: int, target: int
) -> list[list[str]]:
    """The rows under `HEADERS`."""
    rows = duel_rows(analysis, conditions, layer, target=target)
    return [_cells(analysis, row) for row in rows]


def _cells(analysis: Analysis, row: DuelRow) -> list[str]:
    overlap = "–"
    if row.jaccard is not None and row.by_chance is not None:
        overlap = f"{row.jaccard:.2f} ({row.by_chance:.2f})"
    return [
        column_name(row.condition),
        f"{row.probability:.3f}",
        analysis.classes[row.answer],
        f"{row.dropped} of {row.eligible}",
        f"{row.rate:.3f}",
        f"{100 * row.mass_kept:.1f} %",
        "–" if row.top_kept is None else f"{100 * row.top_kept:.0f} %",
        overlap,
    ]


def duel_sentence(analysis: Analysis, conditions: tuple[str, ...], layer: int, target: int) -> str:
    """What the columns have in common, and who changes the answer in this draw."""
    rows = duel_rows(analysis, conditions, layer, target=target)
    plain = int(analysis.predictions[ADAPTED].cosines.argmax())
    flips = [
        f"{column_name(row.condition)} to {analysis.classes[row.answer]}"
        for row in rows
        if row.answer != plain
    ]
    rate = "at IWTD's rate, layer by layer" if analysis.settings.matched else "each at its own rate"
    said = f"One draw (seed {analysis.settings.seed}), one random number per token for all, {rate}."
    acts = analysis.images["iwtd"].layers[layer].dropped is not None
    if not acts:
        said += f" No dropout acts after layer {layer + 1}."
    changed = "; ".join(flips)
    said += f" The answer changes: {changed}." if flips else " No column changes the answer."
    return f"{said} {hidden_sentence(analysis, layer)}".strip()
