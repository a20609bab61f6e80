"""Predictions in numbers: a row a class."""

from __future__ import annotations

from app.figures.predictions import by_likelihood
from app.figures.theme import CONDITION_NAMES
from drople.analysis import Analysis


def predictions_table(analysis: Analysis) -> list[list[str]]:
    """Rows of numbers, likeliest class first: class, then each condition's probability, cosine."""
    rows = []
    for i in by_likelihood(analysis):
        row = [analysis.classes[i]]
        for said in analysis.predictions.values():
            row += [f"{said.probabilities[i]:.3f}", f"{said.cosines[i]:.4f}"]
        rows.append(row)
    return rows


def table_headers(analysis: Analysis) -> list[str]:
    """Headers of `predictions_table`."""
    headers = ["class"]
    for condition in analysis.conditions:
        headers += [f"{CONDITION_NAMES[condition]} p", f"{CONDITION_NAMES[condition]} cos"]
    return headers
