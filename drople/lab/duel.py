"""Dropouts beside each other on one picture, with one shared u: what each keeps and changes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from drople.analysis import Analysis
from drople.branches import ADAPTED
from drople.lab.patch_maps import target_map
from drople.measures import agreement, drop_counts, top_kept

REFERENCE = "iwtd"  # whose dropped set the others are compared with


@dataclass(frozen=True)
class DuelRow:
    """One condition at one layer, in one draw."""

    condition: str
    probability: float  # of the class looked at
    answer: int  # index of the likeliest class
    dropped: int
    eligible: int
    rate: float  # mean p over the eligible tokens; 0 without dropout
    mass_kept: float  # of the importance in this run, in [0, 1]
    top_kept: float | None  # of the top tenth of undropped Grad-CAM patches; None without a map
    jaccard: float | None  # of the dropped set with IWTD's; None for IWTD itself, or undropped
    by_chance: float | None  # what the shared u alone would give


def duel_rows(
    analysis: Analysis, conditions: tuple[str, ...], layer: int, *, target: int
) -> list[DuelRow]:
    """One row a condition; `layer` and the class `target` count from 0."""
    return [_row(analysis, condition, layer, target=target) for condition in conditions]


def _row(analysis: Analysis, condition: str, layer: int, *, target: int) -> DuelRow:
    prediction = analysis.predictions[condition]
    one = analysis.images[condition].layers[layer]
    counts = drop_counts(one)
    map_ = target_map(analysis, ADAPTED, target)
    reference = analysis.images.get(REFERENCE)
    other = reference.layers[layer] if reference and condition != REFERENCE else None
    met = one.dropped is not None and other is not None and other.dropped is not None
    alike = agreement(one, other) if met and other else None
    return DuelRow(
        condition=condition,
        probability=float(prediction.probabilities[target]),
        answer=int(prediction.cosines.argmax()),
        dropped=counts.dropped,
        eligible=counts.eligible,
        rate=counts.rate if one.dropped is not None else 0.0,
        mass_kept=counts.mass_kept,
        top_kept=None if map_ is None else top_kept(one, map_),
        jaccard=alike.jaccard if alike else None,
        by_chance=alike.by_chance if alike else None,
    )


def map_difference(
    analysis: Analysis, first: str, second: str, *, target: int
) -> np.ndarray | None:
    """First minus second condition's map (G, G), NaN where a drop took either's value."""
    a, b = (target_map(analysis, condition, target) for condition in (first, second))
    if a is None or b is None:
        return None
    gone = analysis.maps.unavailable[first] | analysis.maps.unavailable[second]
    return np.where(gone, np.nan, a - b)
