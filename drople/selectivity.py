"""How far IWTD chooses: its p against one p for all, and against other normalisations.

Everything is worked out from a finished trace; no model runs.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.special import entr

from drople.tokens.dropout import DropoutSettings
from drople.tokens.normalise import Normalisation
from drople.tokens.strategies import ImportanceWeighted
from drople.traces import LayerTrace


@dataclass(frozen=True)
class Meter:
    """One layer's p over the tokens that may be dropped."""

    depth: int  # from 0
    eligible: int
    mean: float
    spread: float  # standard deviation of p
    low: float
    high: float
    protected: float  # effective number of protected tokens, 0 to `eligible`
    divergence: float  # Jensen-Shannon, bits a token, from one p for all at the same rate
    differing: float  # share of decisions that differ from that, with one shared u


def meter(layer: LayerTrace, p_max: float, row: int = 0) -> Meter | None:
    """Measures one layer; None where no dropout acts or nothing may be dropped."""
    if layer.probability is None or not layer.eligible[row].any():
        return None
    p = layer.probability[row, layer.eligible[row]].astype(np.float64)
    return Meter(
        depth=layer.depth,
        eligible=len(p),
        mean=float(p.mean()),
        spread=float(p.std()),
        low=float(p.min()),
        high=float(p.max()),
        protected=effective_number(p_max - p),
        divergence=vanilla_divergence(p),
        differing=float(np.abs(p - p.mean()).mean()),
    )


def effective_number(protection: np.ndarray) -> float:
    """Exp of the entropy of the shares of `protection` (T,): Hill number of order 1.

    T tokens protected alike count as T, one token alone as 1, none at all as 0.
    """
    given = np.where(protection > 1e-9, protection, 0)
    return float(np.exp(entr(given / given.sum()).sum())) if given.any() else 0.0


def vanilla_divergence(p: np.ndarray) -> float:
    """Mean over tokens of the Jensen-Shannon divergence of keep/drop from mean p; bits, 0 to 1."""
    mean = np.full_like(p, p.mean())
    middle = (p + mean) / 2
    return float((_entropy(middle) - (_entropy(p) + _entropy(mean)) / 2).mean().clip(0, 1))


def _entropy(p: np.ndarray) -> np.ndarray:
    """Entropy of a drop with probability p, in bits."""
    return (entr(p) + entr(1 - p)) / np.log(2)


def what_if(
    layer: LayerTrace, dropout: DropoutSettings, normalisation: Normalisation
) -> LayerTrace:
    """The same layer with the p that IWTD would give under another normalisation."""
    if layer.probability is None:
        return layer
    strategy = ImportanceWeighted(dropout.p_min, dropout.p_max, dropout.weights, normalisation)
    evidence = layer.evidence()
    p = strategy.probability(evidence).where(evidence.eligible, 0)
    return replace(layer, probability=p.numpy())
