"""Rank correlation."""

from __future__ import annotations

import numpy as np
from scipy.stats import rankdata


def spearman(x: np.ndarray, y: np.ndarray) -> float | None:
    """Spearman's rank correlation of values (n,); None where one of them is constant."""
    ranks = [rankdata(one) for one in (x, y)]
    if min(rank.std() for rank in ranks) == 0:
        return None
    return float(np.corrcoef(*ranks)[0, 1])
