"""Numbers beside the pictures, as functions of traces."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from drople.traces import LayerTrace


@dataclass(frozen=True)
class Agreement:
    """How alike two sets of dropped tokens are."""

    jaccard: float  # size of the intersection over size of the union; 1 where both are empty
    by_chance: float  # the same, expected where both draw with the one u they share


def agreement(a: LayerTrace, b: LayerTrace) -> Agreement:
    """Compares two runs' drops in one layer of one image.

    A token is in both sets with probability min(p_a, p_b) and in either with max(p_a, p_b), since
    both compare the same u; the chance value is the ratio of the expected sizes.
    """
    assert a.dropped is not None and b.dropped is not None
    assert a.probability is not None and b.probability is not None
    both, either = (a.dropped & b.dropped).sum(), (a.dropped | b.dropped).sum()
    p_a, p_b = a.probability, b.probability
    expected = np.maximum(p_a, p_b).sum()
    return Agreement(
        float(both / either) if either else 1.0,
        float(np.minimum(p_a, p_b).sum() / expected) if expected else 1.0,
    )


@dataclass(frozen=True)
class Selectivity:
    """How far IWTD's p differ from one p for all, in one layer."""

    spread: float  # standard deviation of p over the eligible tokens
    near_top: float  # share of eligible tokens within 5 % of the range below p_max
    sink: int | None  # row of the token that alone sets the scale; None where none does
    sink_share: float  # that token's share of the importance


def selectivity(
    layer: LayerTrace, p_min: float, p_max: float, *, row: int = 0
) -> Selectivity | None:
    """Whether IWTD is vanilla dropout in disguise (METHOD.md 3.6); None without p.

    One token sets the scale where without it the largest blend would be less than half as large.
    """
    if layer.probability is None or not layer.eligible[row].any():
        return None
    eligible = layer.eligible[row]
    p = layer.probability[row, eligible]
    near = float((p > p_max - 0.05 * (p_max - p_min)).mean()) if p_max > p_min else 1.0
    blend = np.where(layer.content[row], layer.blend[row], -np.inf)
    second, first = np.sort(blend)[-2:]
    sink = int(blend.argmax()) if first > 2 * second else None
    return Selectivity(float(p.std()), near, sink, float(first))
