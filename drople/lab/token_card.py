"""One token's way to its verdict, layer by layer, as numbers that can be worked out again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from drople.analysis import Analysis
from drople.branches import ADAPTED
from drople.tokens.draws import SeededDraws
from drople.traces import LayerTrace

Tower = Literal["image", "text"]


@dataclass(frozen=True)
class SignalPart:
    """One signal of one token: `raw / total` is `share`."""

    name: str
    raw: float
    total: float  # of all tokens of the layer
    share: float
    weight: float  # in the blend; the weights of a layer's signals sum to 1


@dataclass(frozen=True)
class TokenStep:
    """One layer's verdict on one token."""

    depth: int  # from 0
    parts: tuple[SignalPart, ...]
    blend: float  # sum of weight times share
    low: float  # smallest blend of the tokens that set the scale
    high: float  # largest
    level: float | None  # 0 at p_max, 1 at p_min; None where only p could tell and there is none
    p: float | None  # None where no dropout acts
    u: float | None  # None where nothing is drawn, or the token may not be dropped
    eligible: bool
    scored: bool  # whether the token has an importance; the readout token has none

    @property
    def dropped(self) -> bool | None:
        """Whether u < p; None where nothing is drawn."""
        return None if self.p is None or self.u is None else self.u < self.p


def token_card(analysis: Analysis, tower: Tower, token: int, *, row: int = 0) -> list[TokenStep]:
    """Every layer's verdict on one token under IWTD.

    Images: IWTD's own run, where a token that was hidden before is not drawn again. Text: the
    undropped run and the u its class would draw, since text is dropped only on request.

    Args:
        token: row of the token sequence, from 0.
        row: index of the class; 0 for images.
    """
    trace = analysis.images["iwtd"] if tower == "image" else analysis.texts[ADAPTED]
    return [_step(analysis, layer, tower, token=token, row=row) for layer in trace.layers]


def hidden_since(steps: list[TokenStep]) -> int | None:
    """The layer, from 0, after which a token stays hidden; None where it does not."""
    gone = next((step.depth for step in steps if step.dropped), None)
    later = [step for step in steps if gone is not None and step.depth > gone and step.scored]
    return gone if later and not any(step.eligible for step in later) else None


def _step(
    analysis: Analysis, layer: LayerTrace, tower: Tower, *, token: int, row: int
) -> TokenStep:
    dropout = analysis.settings.dropout
    weights = dropout.weights.shares(layer.shares)
    parts = []
    for name, shares in layer.shares.items():
        share, total = shares[row, token], layer.totals[name][row, 0]
        parts.append(
            SignalPart(name, float(share * total), float(total), float(share), weights[name])
        )
    own = dropout.normalisation == "minmax_eligible"
    scope = (layer.eligible if own else layer.content)[row]
    blends = layer.blend[row]
    blend = float(blends[token])
    low, high = (float(f(blends[scope])) if scope.any() else 0.0 for f in (np.min, np.max))
    eligible = bool(layer.eligible[row, token])
    p = u = None
    if layer.probability is not None and eligible:
        p = float(layer.probability[row, token])
        u = _uniform(analysis, layer, tower, row=row)[token]
    scored = bool(layer.content[row, token])
    level = None
    if p is not None and dropout.p_max > dropout.p_min:
        level = (dropout.p_max - p) / (dropout.p_max - dropout.p_min)
    elif scored and high > low and dropout.normalisation in ("minmax", "minmax_eligible"):
        level = (blend - low) / (high - low)
    return TokenStep(layer.depth, tuple(parts), blend, low, high, level, p, u, eligible, scored)


def _uniform(analysis: Analysis, layer: LayerTrace, tower: Tower, *, row: int) -> list[float]:
    """The u of a layer's tokens: drawn in this run, or what the seed would draw."""
    if layer.uniform is not None:
        return [float(u) for u in layer.uniform[row]]
    names = [analysis.classes[row]] if tower == "text" else None
    draws = SeededDraws([analysis.settings.seed], tower, names)
    drawn = draws.uniform(layer.depth, (1, layer.blend.shape[1]))
    return [float(u) for u in drawn.to(torch.float64)[0]]
