"""How likely each token is dropped: the strategies, and the rates they make.

To add a strategy: one small frozen dataclass here and one line of `STRATEGIES` in `dropout.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from drople.tokens.importance import SignalWeights, TokenImportance
from drople.tokens.normalise import NORMALISE, Normalisation


@dataclass(frozen=True)
class Evidence:
    """All that a strategy may look at, for one layer."""

    depth: int
    importance: TokenImportance | None  # None where nothing is scored
    content: Tensor  # (B, N) bool, rows that have an importance
    eligible: Tensor  # (B, N) bool, rows that may be dropped now: droppable and not hidden yet

    def scores(self) -> TokenImportance:
        """The importance, which this strategy cannot do without."""
        if self.importance is None:
            raise ValueError("this strategy needs token importance: run the layers with score=True")
        return self.importance

    def row(self, index: int) -> Evidence:
        """The evidence of one row of the batch, still batched (1, N)."""
        one = slice(index, index + 1)
        scored = self.importance
        if scored is not None:
            scored = TokenImportance(
                {name: share[one] for name, share in scored.shares.items()},
                {name: total[one] for name, total in scored.totals.items()},
            )
        return Evidence(self.depth, scored, self.content[one], self.eligible[one])


class DropStrategy(Protocol):
    """Decides how likely each token is to be dropped."""

    def probability(self, evidence: Evidence) -> Tensor:
        """Returns (B, N) in [0, 1]; rows that are not eligible are ignored by the caller."""


@dataclass(frozen=True)
class NoDropout:
    """No token is dropped."""

    def probability(self, evidence: Evidence) -> Tensor:
        return torch.zeros(evidence.eligible.shape, device=evidence.eligible.device)


@dataclass(frozen=True)
class Vanilla:
    """Every eligible token alike."""

    p: float = 0.3

    def probability(self, evidence: Evidence) -> Tensor:
        return torch.full(evidence.eligible.shape, self.p, device=evidence.eligible.device)


@dataclass(frozen=True)
class ImportanceWeighted:
    """IWTD: p = p_max - I~ (p_max - p_min), I~ the blend brought to [0, 1] (METHOD.md 3.1).

    The least important token drops with p_max, the most important with p_min; where all are
    equally important, all drop with p_max, as in the released code.
    """

    p_min: float = 0.1
    p_max: float = 0.5
    weights: SignalWeights = field(default_factory=SignalWeights)
    normalisation: Normalisation = "minmax"

    def probability(self, evidence: Evidence) -> Tensor:
        blend = evidence.scores().blend(self.weights)
        scope = evidence.eligible if self.normalisation == "minmax_eligible" else evidence.content
        level = NORMALISE[self.normalisation](blend, scope)
        return self.p_max - level.clamp(0, 1) * (self.p_max - self.p_min)


@dataclass(frozen=True)
class MeanRate:
    """Vanilla dropout at the rate of `of`: each row's mean p over its eligible tokens."""

    of: DropStrategy

    def probability(self, evidence: Evidence) -> Tensor:
        p = self.of.probability(evidence)
        return drop_rate(p, evidence.eligible)[:, None].expand_as(p)


@dataclass(frozen=True)
class Inverse:
    """A control: the very p of `of`, dealt out in reversed rank, so that the rate is the same."""

    of: DropStrategy

    def probability(self, evidence: Evidence) -> Tensor:
        p = self.of.probability(evidence)
        dealt = torch.zeros_like(p)
        for row, eligible in enumerate(evidence.eligible):
            index = eligible.nonzero().flatten()
            order = index[p[row, index].argsort(stable=True)]
            dealt[row, order] = p[row, order.flip(0)]
        return dealt


@dataclass(frozen=True)
class SideBySide:
    """One strategy for each row of a batch that holds the same image again and again.

    Matched rate (METHOD.md 3.7): a row named in `matched` takes, at every layer, mean p over the
    eligible tokens of its reference row; its own p are shifted by a constant, clipped to [0, 1].
    Vanilla dropout so gets one p for all tokens: the reference's mean.
    """

    rows: tuple[DropStrategy, ...]
    matched: Mapping[int, int] = field(default_factory=dict)  # row -> the row that sets its rate

    def probability(self, evidence: Evidence) -> Tensor:
        shares = [one.probability(evidence.row(i)) for i, one in enumerate(self.rows)]
        p = torch.cat(shares)  # (B, N)
        rate = drop_rate(p, evidence.eligible)  # (B,)
        for row, reference in self.matched.items():
            p[row] = shift_to_rate(p[row], evidence.eligible[row], float(rate[reference]))
        return p


def drop_rate(probability: Tensor, eligible: Tensor) -> Tensor:
    """Mean p over the eligible rows: (B, N), (B, N) -> (B,); 0 where no row is eligible."""
    return probability.where(eligible, 0).sum(dim=-1) / eligible.sum(dim=-1).clamp_min(1)


def shift_to_rate(p: Tensor, eligible: Tensor, rate: float) -> Tensor:
    """Adds one constant to p (N,) and clips to [0, 1], so that its mean over `eligible` is `rate`.

    The order of the tokens stays. The constant is found by bisection to 1e-9.
    """
    mine = p[eligible].double().cpu()  # a GPU would be waited for at each halving
    if not len(mine):
        return p
    low, high = -1.0, 1.0
    for _ in range(32):
        middle = (low + high) / 2
        below = float((mine + middle).clamp(0, 1).mean()) < rate
        low, high = (middle, high) if below else (low, middle)
    return (p.double() + (low + high) / 2).clamp(0, 1).to(p.dtype)
