"""How unevenly values are spread."""

from __future__ import annotations

import numpy as np


def gini_index(values: np.ndarray) -> float | None:
    """The Gini index of |values|: 0 where all are alike, near 1 where one holds all.

    Sparsity as in Chalasani et al., ICML 2020. None for a map of zeros or NaN.
    """
    sorted_ = np.sort(np.abs(values[np.isfinite(values)]).ravel())
    n, total = sorted_.size, sorted_.sum()
    if not total > 0:
        return None
    rank = np.arange(1, n + 1)
    return float(1 - 2 * (sorted_ * (n - rank + 0.5)).sum() / (n * total))
