"""Checkpoints beside each other: the map each gives without dropout, and what it says."""

from __future__ import annotations

from collections.abc import Sequence

from app.figures.cams import cam_scale
from app.figures.patches import overlay
from app.figures.sheets import sheet_of
from app.figures.theme import Picture
from app.lab.display.tables import Table, table_of
from drople.analysis import Analysis, ClassMaps
from drople.branches import FROZEN
from drople.lab.trained_with import TRAINED_WITH, Answer, Comparison

COLOURS = {
    FROZEN: FROZEN,
    "drople-none": "adapted",
    "drople-vanilla": "vanilla",
    "drople": "iwtd",
    "drople-rank": "ranked",
    "mpl": "mpl",
}


def trained_sheet(analysis: Analysis, target: int, answers: Sequence[Answer]) -> Picture:
    """A tile an answer, its prediction beneath, all on one scale; RGBA."""
    known = analysis.maps
    values = {one.name: one.map[None] for one in answers}
    scale = cam_scale(ClassMaps(known.method, known.layer, (target,), values, {}), 0)
    columns = []
    for one in answers:
        panel = overlay(analysis.pixels, one.map, scale, opacity=0.65)
        cosines = one.prediction.cosines
        rank = 1 + int((cosines > cosines[target]).sum())
        title = "Frozen" if one.method == FROZEN else f"B: {TRAINED_WITH[one.method]}"
        said = f"p = {one.prediction.probabilities[target]:.3f}, place {rank} of {len(cosines)}"
        columns.append((COLOURS[one.method], f"{title}\n{said}", [panel]))
    return Picture(sheet_of(columns, across=3), (scale,))


def trained_table(
    comparison: Comparison, classes: tuple[str, ...], target: int, *, answers: Sequence[Answer]
) -> Table:
    """What each answers; accuracies are those the cards hold."""
    rows = []
    for one in answers:
        card, said = comparison.cards.get(one.name), one.prediction
        measured = {key: f"{value:.2f} %" for key, value in one.accuracy.items()}
        rows.append({
            "trained with": "nothing (frozen)" if card is None else TRAINED_WITH[one.method],
            "p of the class looked at": f"{said.probabilities[target]:.3f}",
            "cosine": f"{said.cosines[target]:.4f}",
            "answer": classes[int(said.cosines.argmax())],
            "base accuracy": measured.get("base", "–"),
            "novel accuracy": measured.get("novel", "–"),
            "harmonic mean": measured.get("harmonic_mean", "–"),
            "learnt for (epochs)": "–" if card is None else f"{card.training.get('epochs', '–')}",
            "prompts": "–" if card is None else one.name,
        })  # fmt: skip
    return table_of(rows)


def trained_sentence(
    comparison: Comparison, classes: tuple[str, ...], target: int, *, answers: Sequence[Answer]
) -> str:
    """What each gives the class looked at, who says something else, and what else differs."""
    trained = [one for one in answers if one.method != FROZEN]
    chances = [one.prediction.probabilities[target] for one in trained]
    others = [
        f"{TRAINED_WITH[one.method]} says {classes[int(one.prediction.cosines.argmax())]}"
        for one in trained
        if one.prediction.cosines.argmax() != target
    ]
    said = (
        "One picture, one training run each, dropout off: they give "
        f"{classes[target]} {min(chances):.2f} to {max(chances):.2f}"
    )
    said += f"; {', '.join(others)}." if others else "; all name it."
    said += f" Accuracies are measured on the test images of {comparison.data}, dropout off."
    if "mpl" in {one.method for one in trained}:
        said += " MPL differs in its prompts and losses too."
    if len(comparison.epochs) > 1:
        said += " ⚠ They were not trained for equally many epochs; see the table."
    return said
