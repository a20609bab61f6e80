"""Rank correlation."""

from __future__ import annotations

import numpy as np


def ranks(x: np.ndarray) -> np.ndarray:
    """Ranks (n,) of values (n,), from 1; ties share their mean."""
    # Imported here: the package takes half a second of the app's start.
    from scipy.stats import rankdata

    return np.asarray(rankdata(x))


def spearman(x: np.ndarray, y: np.ndarray) -> float | None:
    """Spearman's rank correlation of values (n,); None where one of them is constant."""
    both = np.stack([ranks(x), ranks(y)])
    if both.std(axis=1).min() == 0:
        return None
    return float(np.corrcoef(both)[0, 1])
