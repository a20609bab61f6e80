"""Where two dropouts decide alike over many draws, where not, and why they coincide.

Arrays are (n, D, T): draws, layers after which dropout acts, tokens (see `DrawBatch`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

ALIKE = 0.05  # of the decisions differ at most where two dropouts are said to coincide
ONE_TOKEN = 0.5  # of the range from least to most important, taken by the very first token
FLAT = 0.05  # of an even share between the least and the most important token


@dataclass(frozen=True)
class LayerDecisions:
    """One layer's decisions over the draws, of tokens that both dropouts might still drop."""

    decisions: int
    differ: int  # exactly one of the two dropped the token
    dropped_a: int
    dropped_b: int
    both: int
    chance_both: float  # `both` as expected if the two drew independent random numbers
    only_a: int
    only_b: int


@dataclass(frozen=True)
class TokenDecisions:
    """Each token's decisions over the draws, (D, T); NaN where it was never eligible."""

    difference: np.ndarray  # mean p_A - p_B over the draws in which it was eligible under both
    differ: np.ndarray  # share of these draws in which exactly one dropped it, in [0, 1]
    rate_a: np.ndarray  # share of draws in which A dropped it, of those eligible under A
    rate_b: np.ndarray


@dataclass(frozen=True)
class Masks:
    """What one dropout did in n draws."""

    dropped: np.ndarray  # (n, D, T) bool
    eligible: np.ndarray  # (n, D, T) bool
    probability: np.ndarray  # (n, D, T)


def count_layers(a: Masks, b: Masks) -> list[LayerDecisions]:
    """Counts of every layer, D of them."""
    met = a.eligible & b.eligible
    drop_a, drop_b = a.dropped & met, b.dropped & met
    chance = np.where(met, a.probability.astype(np.float64) * b.probability, 0)
    counted = {
        "decisions": met, "differ": drop_a ^ drop_b, "dropped_a": drop_a, "dropped_b": drop_b,
        "both": drop_a & drop_b, "chance_both": chance,
        "only_a": drop_a & ~drop_b, "only_b": drop_b & ~drop_a,
    }  # fmt: skip
    totals = {name: values.sum(axis=(0, 2)).tolist() for name, values in counted.items()}
    return [
        LayerDecisions(**dict(zip(totals, layer, strict=True)))
        for layer in zip(*totals.values(), strict=True)
    ]


def count_tokens(a: Masks, b: Masks) -> TokenDecisions:
    """Counts of every layer and token."""
    met = a.eligible & b.eligible
    gap = np.where(met, a.probability.astype(np.float64) - b.probability, 0)
    return TokenDecisions(
        difference=_mean(gap, met),
        differ=_mean((a.dropped ^ b.dropped) & met, met),
        rate_a=_mean(a.dropped & a.eligible, a.eligible),
        rate_b=_mean(b.dropped & b.eligible, b.eligible),
    )


def mean_p(one: Masks) -> np.ndarray:
    """Mean p of each draw and layer over the eligible tokens, (n, D); NaN where there are none."""
    count = one.eligible.sum(axis=2)
    total = np.where(one.eligible, one.probability, 0).sum(axis=2)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _mean(values: np.ndarray, of: np.ndarray) -> np.ndarray:
    """Mean over the draws that count, (n, D, T) -> (D, T); NaN where none does."""
    count = of.sum(axis=0)
    return np.where(count > 0, values.sum(axis=0) / np.maximum(count, 1), np.nan)


@dataclass(frozen=True)
class Reason:
    """Why a weighted dropout decides like vanilla dropout at the same rate in one layer."""

    kind: Literal["narrow", "one_token", "flat"]
    # narrow: decisions that differ at most, on average; one_token: of the range; flat: between the
    # least and the most important, of an even share
    share: float
    token: int | None = None  # one_token: which


def reason_of(
    p: np.ndarray,
    importance: np.ndarray,
    *,
    p_min: float,
    p_max: float,
    rates: np.ndarray | None = None,
) -> Reason | None:
    """What in one layer's numbers makes a weighted dropout decide like vanilla; None: nothing.

    p differs from its mean m by at most 2 (m - p_min) (p_max - m) / (p_max - p_min) on average,
    reached where every token has p_min or p_max; that is the share of decisions that differ.

    Args:
        p: (T,) what the weighted dropout gives each token; NaN where it is not eligible.
        importance: (T,) what it weighs, as shares; NaN where there is none.
        rates: (n,) its mean p in each draw, where earlier drops may have moved it; else that of p.
    """
    known = np.flatnonzero(np.isfinite(p))
    if len(known) < 2:
        return None
    shares = importance[np.isfinite(importance)]
    if len(shares) and np.ptp(shares) < FLAT * shares.mean():
        return Reason("flat", float(np.ptp(shares) / shares.mean()))
    low = known[np.argsort(p[known], kind="stable")]
    width = float(p[low[-1]] - p[low[0]])
    taken = float(p[low[1]] - p[low[0]]) / width if width > 0 else 0.0
    if taken >= ONE_TOKEN:
        return Reason("one_token", taken, int(low[0]))
    means = p[known].mean(keepdims=True) if rates is None else rates
    most = float(np.mean([most_differing(float(mean), p_min, p_max) for mean in means]))
    return Reason("narrow", most) if most <= ALIKE else None


def most_differing(mean: float, p_min: float, p_max: float) -> float:
    """Largest mean distance of p in [p_min, p_max] from their own mean; see `reason_of`."""
    if p_max <= p_min:
        return 0.0
    return max(0.0, 2 * (mean - p_min) * (p_max - mean) / (p_max - p_min))
